package main_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// company is a network as companies have them: names that only a proxy can resolve, and certificates of its own authority.
// There is an MCP server at https://mcp.corp.test/mcp, and an identity provider at https://login.corp.test.
type company struct {
	t      *testing.T
	caFile string // the root certificate
	root   *x509.Certificate
	key    *ecdsa.PrivateKey

	hosts map[string]string // address by host:port; constant after newCompany

	proxyLogin string // what the proxy wants as Proxy-Authorization; "" for nothing. Constant once it runs.

	mu      sync.Mutex
	seen    []string // requests: "host method path"; guarded by mu
	headers []http.Header
	certs   []string // hosts that a client certificate was shown to
	dialled []string // what the proxies were asked to connect to

	mcp http.HandlerFunc // guarded by mu; answers requests that carry the token; nil: a server of initialize and echo
}

const (
	corpURL   = "https://mcp.corp.test/mcp"
	corpToken = canary + "-access-token-of-the-company"
)

func newCompany(t *testing.T, adjust func(*company, *tls.Config)) *company {
	t.Helper()
	c := &company{t: t, hosts: map[string]string{}}
	c.makeRoot()
	for host, h := range map[string]http.HandlerFunc{"mcp.corp.test": c.server, "login.corp.test": c.idp, "elsewhere.corp.test": c.elsewhere} {
		web := httptest.NewUnstartedServer(c.watch(host, h))
		web.EnableHTTP2 = true
		web.TLS = &tls.Config{Certificates: []tls.Certificate{c.issue(host)}, ClientAuth: tls.RequestClientCert}
		web.Config.ErrorLog = discardLog()
		if adjust != nil && host == "mcp.corp.test" {
			adjust(c, web.TLS)
		}
		web.StartTLS()
		t.Cleanup(web.Close)
		c.hosts[host+":443"] = web.Listener.Addr().String()
	}
	return c
}

func (c *company) makeRoot() {
	c.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp Inspection Root", Organization: []string{"Corp"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, c.key.Public(), c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	c.root, _ = x509.ParseCertificate(der)
	c.caFile = filepath.Join(c.t.TempDir(), "root.pem")
	c.write(c.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (c *company) write(name string, text []byte) {
	c.t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// issue makes a certificate for a host, or of a person.
func (c *company) issue(name string) tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv6loopback, net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.root, key.Public(), c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// person writes the files of a client certificate.
func (c *company) person() (certFile, keyFile string) {
	pair := c.issue("laptop of ada")
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		c.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(c.t.TempDir(), "cert.pem"), filepath.Join(c.t.TempDir(), "key.pem")
	c.write(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
	c.write(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return certFile, keyFile
}

// watch keeps what h is asked.
func (c *company) watch(host string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.seen, c.headers = append(c.seen, host+" "+r.Method+" "+r.URL.Path), append(c.headers, r.Header.Clone())
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && !slices.Contains(c.certs, host) {
			c.certs = append(c.certs, host)
		}
		c.mu.Unlock()
		h(w, r)
	})
}

// requests returns how often each request was made.
func (c *company) requests() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := map[string]int{}
	for _, s := range c.seen {
		n[s]++
	}
	return n
}

// carried returns which requests had a header.
func (c *company) carried(name string) (requests []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, h := range c.headers {
		if h.Get(name) != "" && !slices.Contains(requests, c.seen[i]) {
			requests = append(requests, c.seen[i])
		}
	}
	slices.Sort(requests)
	return requests
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (c *company) server(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/.well-known/oauth-protected-resource"):
		reply(w, map[string]any{"resource": corpURL, "authorization_servers": []string{"https://login.corp.test"}})
	case r.URL.Path != "/mcp":
		http.NotFound(w, r)
	case c.ownMCP() != nil:
		c.ownMCP()(w, r)
	case r.Header.Get("Authorization") != "Bearer "+corpToken:
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	default:
		plainMCP(w, r)
	}
}

func (c *company) ownMCP() http.HandlerFunc {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mcp
}

func (c *company) setMCP(h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mcp = h
}

// plainMCP is an MCP server with nothing but the method echo.
func plainMCP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params json.RawMessage
	}
	if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&m) != nil {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	switch {
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "initialize":
		reply(w, map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": map[string]any{"protocolVersion": "2025-06-18", "capabilities": struct{}{}, "serverInfo": map[string]string{"name": "corp", "version": r.Proto}}})
	default:
		reply(w, map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": m.Params})
	}
}

func (c *company) idp(w http.ResponseWriter, r *http.Request) {
	const base = "https://login.corp.test"
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		reply(w, map[string]any{"issuer": base, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token",
			"registration_endpoint": base + "/register", "revocation_endpoint": base + "/revoke", "code_challenge_methods_supported": []string{"S256"},
			"response_types_supported": []string{"code"}})
	case "/register":
		var m map[string]any
		_ = json.NewDecoder(r.Body).Decode(&m)
		m["client_id"] = "laptop"
		w.WriteHeader(http.StatusCreated)
		reply(w, m)
	case "/authorize":
		q := r.URL.Query()
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {canary + "-code"}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	case "/token":
		reply(w, map[string]any{"access_token": corpToken, "token_type": "Bearer", "expires_in": 3600, "refresh_token": canary + "-refresh-token-of-the-company"})
	case "/revoke":
	default:
		http.NotFound(w, r)
	}
}

func (c *company) elsewhere(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }

// open connects to a name of the company, which is what its proxies do.
func (c *company) open(ctx context.Context, hostPort string) (net.Conn, error) {
	c.mu.Lock()
	c.dialled = append(c.dialled, hostPort)
	c.mu.Unlock()
	addr := c.hosts[hostPort]
	if addr == "" {
		return nil, fmt.Errorf("no such host: %s", hostPort)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
}

// browse does what a browser does with the address of a sign-in.
func (c *company) browse(address string) error {
	pool := x509.NewCertPool()
	pool.AddCert(c.root)
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "127.0.0.1:") {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		return c.open(ctx, addr)
	}}
	defer way.CloseIdleConnections()
	req, err := http.NewRequestWithContext(within(c.t), http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: way}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the page after the sign-in: %s", resp.Status)
	}
	return nil
}

// connectProxy starts a proxy that knows CONNECT. refuse, if not 0, is what it answers. It returns its URL.
func (c *company) connectProxy(refuse int, cfg *tls.Config) string {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if want := c.proxyLogin; want != "" && r.Header.Get("Proxy-Authorization") != want {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if refuse != 0 || r.Method != http.MethodConnect {
			w.WriteHeader(refuse)
			return
		}
		out, err := c.open(r.Context(), r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusOK)
		in, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = out.Close() // the client is gone
			return
		}
		join(in, buffered.Reader, out)
	})
	proxy := httptest.NewUnstartedServer(h)
	proxy.Config.ErrorLog = discardLog()
	if proxy.TLS = cfg; cfg != nil {
		proxy.StartTLS()
	} else {
		proxy.Start()
	}
	c.t.Cleanup(proxy.Close)
	return proxy.URL
}

// join copies both ways until one side ends.
func join(in net.Conn, fromIn io.Reader, out net.Conn) {
	go func() {
		_, _ = io.Copy(out, fromIn)
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out)
	_ = in.Close()
}

// socksProxy starts a SOCKS 5 proxy (RFC 1928) that resolves names and knows no login.
func (c *company) socksProxy() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.socks(conn)
		}
	}()
	return "socks5://" + l.Addr().String()
}

func (c *company) socks(in net.Conn) {
	defer in.Close()
	r := bufio.NewReader(in)
	head := make([]byte, 2) // version, number of methods
	if _, err := io.ReadFull(r, head); err != nil || head[0] != 5 {
		return
	}
	_, _ = r.Discard(int(head[1]))
	_, _ = in.Write([]byte{5, 0})
	ask := make([]byte, 5) // version, CONNECT, 0, name, its length
	if _, err := io.ReadFull(r, ask); err != nil || ask[3] != 3 {
		return
	}
	rest := make([]byte, int(ask[4])+2)
	if _, err := io.ReadFull(r, rest); err != nil {
		return
	}
	name, port := rest[:ask[4]], int(rest[ask[4]])<<8|int(rest[ask[4]+1])
	out, err := c.open(context.Background(), fmt.Sprintf("%s:%d", name, port))
	if err != nil {
		_, _ = in.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0}) // host unreachable
		return
	}
	_, _ = in.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	join(in, r, out)
}
