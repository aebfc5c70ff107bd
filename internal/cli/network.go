package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/pflag"

	"drawbridge/bridge"
)

// networkOptions are the flags for networks that need more than an address: whom to trust, and who this machine is.
type networkOptions struct {
	caFiles               []string
	clientCert, clientKey string
}

func (o *networkOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.caFiles, "ca-file", nil, "trust the certificates in this PEM file too, for every request (repeatable)")
	f.StringVar(&o.clientCert, "client-cert", "", "PEM file with a client certificate for the MCP server")
	f.StringVar(&o.clientKey, "client-key", "", "PEM file with the key of --client-cert (default: the same file)")
}

const (
	dialLimit, tlsLimit = 20 * time.Second, 20 * time.Second
	idleLimit           = 90 * time.Second
	maxIdle             = 64       // connections kept, so that a burst of calls does not dial again
	readBuffer          = 16 << 10 // of a connection: a burst of events takes one system call
)

// transport is the way to everybody: proxies of the environment, the system's trust store and --ca-file, HTTP/2.
func (o *networkOptions) transport(env Env) (*http.Transport, error) {
	p, err := readProxies(env)
	if err != nil {
		return nil, err
	}
	roots, err := trusted(o.caFiles)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                  p.forRequest,
		OnProxyConnectResponse: proxyAnswered,
		DialContext:            p.dial(bridge.Dialer(dialLimit).DialContext),
		ForceAttemptHTTP2:      true,
		HTTP2:                  bridge.HTTP2(),
		ReadBufferSize:         readBuffer,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleLimit,
		TLSHandshakeTimeout:    tlsLimit,
		ExpectContinueTimeout:  time.Second,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}, nil
}

// trusted is the system's trust store with the certificates of files; nil, which means the system's, where there are none.
func trusted(files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // a system without a trust store still has the user's
		pool = x509.NewCertPool()
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, hinted{fmt.Errorf("--ca-file: %w", err), "name a file with the certificates to trust, in PEM form"}
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, hinted{fmt.Errorf("--ca-file %s: it holds no certificate in PEM form", name),
				`a PEM file has lines "-----BEGIN CERTIFICATE-----"; convert a DER file with: openssl x509 -inform der -in FILE`}
		}
	}
	return pool, nil
}

// readTrustStore makes the standard library parse the system's trust store, which takes ten milliseconds and more and would
// otherwise begin when the server's certificate is there.
func readTrustStore() { _, _ = x509.SystemCertPool() } // without one, connecting fails and says why

// toServer is the way to the MCP server's origin, which alone gets to see the client certificate. Without one it is shared,
// the way to everybody.
func (o *networkOptions) toServer(shared *http.Transport, server string) (*http.Transport, error) {
	switch u, err := url.Parse(server); {
	case o.clientCert == "" && o.clientKey == "":
		return shared, nil
	case o.clientCert == "":
		return nil, usageError{errors.New("--client-key needs --client-cert")}
	case err != nil || u.Scheme != "https":
		return nil, usageError{errors.New("--client-cert needs a server URL with https")}
	}
	pair, err := tls.LoadX509KeyPair(o.clientCert, firstOf(o.clientKey, o.clientCert))
	if err != nil {
		return nil, hinted{fmt.Errorf("--client-cert: %w", err), "want a certificate and its key in PEM form; a key with a passphrase has to be decrypted first"}
	}
	t := shared.Clone()
	t.TLSClientConfig.Certificates = []tls.Certificate{pair}
	if req, err := http.NewRequest(http.MethodGet, server, nil); err == nil {
		if proxy, err := t.Proxy(req); err == nil && proxy != nil && proxy.Scheme == "https" {
			t.DialTLSContext = dialProxyTLS(t.DialContext, shared.TLSClientConfig)
		}
	}
	return t, nil
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// dialProxyTLS speaks TLS with a proxy, to which net/http would show the server's client certificate. It is used for nothing
// but the proxy: net/http makes the TLS connection inside a tunnel itself.
func dialProxyTLS(dial dialFunc, cfg *tls.Config) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, tlsLimit)
		defer cancel()
		own := cfg.Clone()
		own.ServerName, _, _ = net.SplitHostPort(addr)
		conn := tls.Client(raw, own)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close() // nothing was sent on it but a part of the handshake
			return nil, err
		}
		return conn, nil
	}
}
