package bridge

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"drawbridge/bridge/httpsse"
)

// ProxyError is a failure of the proxy on the way to the server: nothing reached the server. The transport of Config.HTTP
// returns it, so that the client is told that it was not the server.
type ProxyError struct {
	Proxy  string // host:port
	Status int    // what it answered to CONNECT; 0 if it did not answer
	Err    error  // why it did not; nil if it did
}

// Error implements error.
func (e *ProxyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("proxy %s: %v", e.Proxy, e.Err)
	}
	return fmt.Sprintf("proxy %s answered %s", e.Proxy, httpStatus(e.Status))
}

// Unwrap returns why the proxy did not answer.
func (e *ProxyError) Unwrap() error { return e.Err }

// Hint says what a person can do.
func (e *ProxyError) Hint() string {
	switch {
	case e.Err != nil:
		return "check that the proxy runs and that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY name it; hosts that need no proxy belong into NO_PROXY"
	case e.Status == http.StatusProxyAuthRequired:
		return "the proxy wants a name and password: http://NAME:PASSWORD@HOST:PORT in the proxy variable; other ways to log in to a proxy are not supported"
	case e.Status == http.StatusForbidden:
		return "the proxy does not let you connect to this server; whoever runs it can allow that, or the server belongs into NO_PROXY"
	}
	return "the proxy could not connect to the server: check the host name in the URL, or ask whoever runs the proxy"
}

// wayFault explains failures of what lies between here and the server, before a request got through: the proxy, and TLS.
// It returns nil for others.
func wayFault(host string, err error) *fault {
	var proxy *ProxyError
	var op *net.OpError
	var untrusted *tls.CertificateVerificationError
	switch isOp := errors.As(err, &op); {
	case errors.Is(err, httpsse.ErrNoEndpoint), errors.Is(err, httpsse.ErrForeignEndpoint):
		return &fault{code: codeBadAnswer, kind: "bad_endpoint", text: host + " does not speak HTTP+SSE as it should", cause: errors.New(cut(unwrapURL(err).Error())),
			hint: "check that the URL is that of the event stream, often https://host/sse; if it is, the fault is the server's"}
	case errors.As(err, &proxy):
		return &fault{code: codeUnreachable, kind: "proxy", text: "cannot reach " + host, cause: proxy, hint: proxy.Hint()}
	case errors.As(err, &untrusted):
		if isOp && op.Op == "proxyconnect" {
			host = "the proxy"
		}
		return certificateFault(host, untrusted)
	case isOp && op.Op == "socks connect":
		return &fault{code: codeUnreachable, kind: "proxy", text: "cannot reach " + host + " through the SOCKS proxy", cause: bare(op),
			hint: "check the host name in the URL, and that the proxy may connect to it"}
	case isOp && op.Op == "proxyconnect":
		return &fault{code: codeUnreachable, kind: "proxy", text: "cannot reach " + host + " through the proxy", cause: bare(op.Err),
			hint: (&ProxyError{Err: op.Err}).Hint()}
	case isOp && op.Op == "remote error" && wantsCertificate(op.Err.Error()):
		return &fault{code: codeUnreachable, kind: "client_certificate", text: host + " does not accept this machine", cause: op,
			hint: "the server wants a client certificate that it knows: give one with --client-cert and --client-key"}
	}
	return nil
}

// unwrapURL takes off what net/http puts around a cause.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// wantsCertificate knows the TLS alerts (RFC 8446 section 6.2) of a server that refuses the client's certificate or the lack
// of one; a handshake failure is what TLS 1.2 says of the latter, and hardly means anything else between modern peers. With
// TLS 1.3 they come after the request left, which the server then has not looked at.
func wantsCertificate(alert string) bool {
	for _, text := range [...]string{"handshake failure", "certificate required", "bad certificate", "unknown certificate", "unsupported certificate", "expired certificate", "revoked certificate"} {
		if strings.Contains(alert, text) {
			return true
		}
	}
	return false
}

// certificateFault names who issued a certificate that is not trusted here: that tells a proxy that inspects TLS from a
// server with a certificate of its own.
func certificateFault(host string, e *tls.CertificateVerificationError) *fault {
	f := &fault{code: codeUnreachable, kind: "untrusted_certificate", text: "the TLS certificate of " + host + " is not accepted", cause: errors.New(cut(e.Err.Error()))}
	if n := len(e.UnverifiedCertificates); n > 0 {
		f.cause = fmt.Errorf("%s; issued by %q", cut(e.Err.Error()), cut(e.UnverifiedCertificates[n-1].Issuer.String()))
	}
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(e.Err, &name):
		f.hint = "the certificate is for another host name: check the URL; a sign-in portal of the network may be in between"
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired:
		f.hint = "check this machine's clock; if it is right, tell the server's operator that the certificate has expired"
	default:
		f.hint = "if that is your company's proxy, which inspects TLS, or your own certificate authority, trust its root certificate with --ca-file FILE (PEM) or in the system's trust store"
	}
	return f
}
