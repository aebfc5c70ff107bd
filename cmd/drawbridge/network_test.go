package main_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

const callEcho = `{"jsonrpc":"2.0","id":"echo","method":"tools/call","params":{"name":"echo","big":12345678901234567890}}`

// echoes fails the test unless a call passes through a bridge; it returns the answer to initialize.
func (p *place) echoes(args ...string) message {
	p.t.Helper()
	w := p.start(args...)
	w.send(initialize)
	first := w.answer("0")
	w.send(initialized, callEcho)
	if got := string(w.answer(`"echo"`).Result); got != `{"name":"echo","big":12345678901234567890}` {
		p.t.Errorf("the call was answered %s", got)
	}
	w.hangUp()
	w.wantExit(0)
	return first
}

// failsWith returns the error that a call ends with.
func (p *place) failsWith(kind string, args ...string) (cause, hint string) {
	p.t.Helper()
	w := p.start(args...)
	w.send(initialize, initialized, callEcho)
	m := w.answer(`"echo"`)
	w.hangUp()
	w.wantExit(0)
	if m.Error == nil || m.Error.Data.Kind != kind {
		p.t.Fatalf("the call was answered %+v, error %+v; want an error of kind %s", m, m.Error, kind)
	}
	return m.Error.Data.Cause, m.Error.Data.Hint
}

var signInAddress = regexp.MustCompile(`https://login\.corp\.test/authorize\S+`)

// signInAt signs in to the company's server in a browser of the test's.
func (p *place) signInAt(c *company, args ...string) {
	p.t.Helper()
	args = append([]string{"login", "--no-browser", corpURL}, args...)
	cmd := p.command(args...)
	said := p.hear("standard error of drawbridge " + strings.Join(args, " "))
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	eventually(p.t, "an address to sign in at", func() bool { return signInAddress.MatchString(said.String()) })
	if err := c.browse(signInAddress.FindString(said.String())); err != nil {
		p.t.Error(err)
	}
	if err := <-ended; err != nil {
		p.t.Fatalf("login: %v\n%s", err, said)
	}
}

// TestProxies: every request of a sign-in, a call and a logout goes through the proxy of the environment, which alone can
// resolve the names; and every one trusts --ca-file.
func TestProxies(t *testing.T) {
	for name, set := range map[string]func(*company, *place){
		"CONNECT":    func(c *company, p *place) { p.vars["HTTPS_PROXY"] = c.connectProxy(0, nil) },
		"lower case": func(c *company, p *place) { p.vars["https_proxy"] = c.connectProxy(0, nil) },
		"without scheme": func(c *company, p *place) {
			p.vars["HTTPS_PROXY"] = strings.TrimPrefix(c.connectProxy(0, nil), "http://")
		},
		"with a password": func(c *company, p *place) {
			c.proxyLogin = "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:"+canary+"-password"))
			p.vars["HTTPS_PROXY"] = withPassword(c.connectProxy(0, nil))
		},
		"SOCKS":     func(c *company, p *place) { p.vars["HTTPS_PROXY"] = c.socksProxy() },
		"ALL_PROXY": func(c *company, p *place) { p.vars["ALL_PROXY"] = c.socksProxy() },
		"proxy over TLS": func(c *company, p *place) {
			p.vars["HTTPS_PROXY"] = c.connectProxy(0, &tls.Config{Certificates: []tls.Certificate{c.issue("127.0.0.1")}})
		},
		"HTTPS_PROXY won": func(c *company, p *place) {
			p.vars["ALL_PROXY"], p.vars["HTTPS_PROXY"] = "http://127.0.0.1:1", c.connectProxy(0, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := newCompany(t, nil), newPlace(t, demo.Config{})
			set(c, p)
			p.signInAt(c, "--ca-file", c.caFile)
			first := p.echoes(corpURL, "--ca-file", c.caFile)
			if got := string(first.Result); !strings.Contains(got, "HTTP/2.0") {
				t.Errorf("the server was spoken to as %s, want HTTP/2", got)
			}
			p.do("logout", corpURL, "--ca-file", c.caFile)
			seen := c.requests()
			for _, want := range []string{
				"mcp.corp.test GET /.well-known/oauth-protected-resource/mcp", "login.corp.test GET /.well-known/oauth-authorization-server",
				"login.corp.test POST /register", "login.corp.test POST /token", "mcp.corp.test POST /mcp", "login.corp.test POST /revoke",
			} {
				if seen[want] == 0 {
					t.Errorf("no request %s in %v", want, seen)
				}
			}
		})
	}
}

// TestNoProxyOnLoopback: what runs on this machine is reached directly, whatever the variables say.
func TestNoProxyOnLoopback(t *testing.T) {
	p := newPlace(t, demo.Config{})
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		p.vars[name] = "http://127.0.0.1:1"
	}
	p.do("login", p.world.URL())
	wantEcho(t, p.connect(nil), "direct")
}

// TestProxyFailures: it was the proxy, says the error, and the password in its address stays out of it.
func TestProxyFailures(t *testing.T) {
	for name, test := range map[string]struct {
		proxy       func(*company) string
		url         string
		kind        string
		cause, hint string
	}{
		"wants a password": {func(c *company) string { return withPassword(c.connectProxy(407, nil)) }, corpURL, "proxy", `proxy 127\.0\.0\.1:\d+ answered HTTP 407`, "name and password"},
		"forbids":          {func(c *company) string { return c.connectProxy(403, nil) }, corpURL, "proxy", `proxy 127\.0\.0\.1:\d+ answered HTTP 403`, "NO_PROXY"},
		"cannot":           {func(c *company) string { return c.connectProxy(0, nil) }, "https://unknown.corp.test/mcp", "proxy", `answered HTTP 502`, "host name"},
		"is away":          {func(*company) string { return withPassword("http://127.0.0.1:1") }, corpURL, "proxy", `proxy 127\.0\.0\.1:1: .*refused`, "HTTPS_PROXY"},
		"SOCKS is away":    {func(*company) string { return "socks5://127.0.0.1:1" }, corpURL, "proxy", `proxy 127\.0\.0\.1:1: .*refused`, "HTTPS_PROXY"},
		"SOCKS cannot":     {func(c *company) string { return c.socksProxy() }, "https://unknown.corp.test/mcp", "proxy", `host unreachable`, "host name"},
		"no address":       {func(*company) string { return "gopher://" + canary + "@proxy" }, corpURL, "not_authorized", `HTTPS_PROXY holds no address of a proxy`, "socks5://"},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := newCompany(t, nil), newPlace(t, demo.Config{})
			p.vars["HTTPS_PROXY"] = test.proxy(c)
			cause, hint := p.failsWith(test.kind, test.url)
			if !regexp.MustCompile(test.cause).MatchString(cause) || !strings.Contains(hint, test.hint) {
				t.Errorf("cause %q, hint %q; want %q and %q", cause, hint, test.cause, test.hint)
			}
			if out, err := p.try("login", "--no-browser", test.url); err == nil {
				t.Errorf("login: no error: %s", out)
			}
			said := p.hear("standard error of drawbridge login --no-browser " + test.url).String()
			if !regexp.MustCompile(test.cause).MatchString(said) || !strings.Contains(said, "drawbridge: hint: ") {
				t.Errorf("login says %q, want %q and a hint", said, test.cause)
			}
		})
	}
}

func withPassword(proxy string) string {
	return strings.Replace(proxy, "http://", "http://ada:"+canary+"-password@", 1)
}

// TestUntrustedCertificate: the error names who issued the certificate, which tells an intercepting proxy, and --ca-file.
func TestUntrustedCertificate(t *testing.T) {
	c, p := newCompany(t, nil), newPlace(t, demo.Config{})
	p.vars["HTTPS_PROXY"] = c.connectProxy(0, nil)
	cause, hint := p.failsWith("untrusted_certificate", corpURL)
	if !strings.Contains(cause, `issued by "CN=Corp Inspection Root,O=Corp"`) || !strings.Contains(hint, "--ca-file") {
		t.Errorf("cause %q, hint %q", cause, hint)
	}
	if _, err := p.try("login", corpURL); err == nil {
		t.Error("login: no error")
	}
	if said := p.hear("standard error of drawbridge login " + corpURL).String(); !strings.Contains(said, "Corp Inspection Root") || !strings.Contains(said, "hint: if that is your company's proxy") {
		t.Errorf("login says %q", said)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	c.write(empty, []byte("no certificate"))
	if cause, _ := p.failsWith("not_authorized", corpURL, "--ca-file", empty); !strings.Contains(cause, "no certificate in PEM form") {
		t.Errorf("cause %q", cause)
	}
	if cause, _ := p.failsWith("untrusted_certificate", "https://elsewhere.corp.test/mcp", "--ca-file", c.otherRoot()); !strings.Contains(cause, "unknown authority") {
		t.Errorf("cause %q", cause)
	}
}

// otherRoot is the file of an authority that issued none of the certificates.
func (c *company) otherRoot() string {
	other := &company{t: c.t}
	other.makeRoot()
	return other.caFile
}

// TestClientCertificate: the server that asks gets it; identity providers and proxies that ask as well do not.
func TestClientCertificate(t *testing.T) {
	for name, overTLS := range map[string]bool{"http proxy": false, "https proxy": true} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, func(c *company, cfg *tls.Config) {
				cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, c.pool()
				cfg.MaxVersion = tls.VersionTLS12 // with 1.3 the refusal comes after the handshake and may be lost with the connection
			})
			p := newPlace(t, demo.Config{})
			shown := &atomic.Bool{}
			p.vars["HTTPS_PROXY"] = c.connectProxy(0, c.curiousTLS(overTLS, shown))
			certFile, keyFile := c.person()
			flags := []string{"--ca-file", c.caFile, "--client-cert", certFile, "--client-key", keyFile}
			p.signInAt(c, flags...)
			p.echoes(append(flags, corpURL)...)
			if diff := cmp.Diff([]string{"mcp.corp.test"}, c.certs); diff != "" {
				t.Errorf("who saw the certificate (-want +got):\n%s", diff)
			}
			if shown.Load() {
				t.Error("the proxy saw the certificate")
			}
			cause, hint := p.failsWith("client_certificate", corpURL, "--ca-file", c.caFile)
			if !regexp.MustCompile("tls: handshake failure").MatchString(cause) || !strings.Contains(hint, "--client-cert") {
				t.Errorf("cause %q, hint %q", cause, hint)
			}
			if cause, _ := p.failsWith("not_authorized", corpURL, "--client-cert", keyFile); !strings.Contains(cause, "--client-cert") {
				t.Errorf("cause %q", cause)
			}
		})
	}
}

func (c *company) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.root)
	return pool
}

// curiousTLS asks for a client certificate and notes whether it gets one.
func (c *company) curiousTLS(use bool, shown *atomic.Bool) *tls.Config {
	if !use {
		return nil
	}
	return &tls.Config{Certificates: []tls.Certificate{c.issue("127.0.0.1")}, ClientAuth: tls.RequestClientCert, VerifyConnection: func(s tls.ConnectionState) error {
		shown.Store(shown.Load() || len(s.PeerCertificates) > 0)
		return nil
	}}
}

// TestHeadersStayAtTheServer: not at metadata and token endpoints, not where a redirect leads.
func TestHeadersStayAtTheServer(t *testing.T) {
	c, p := newCompany(t, nil), newPlace(t, demo.Config{})
	p.vars["HTTPS_PROXY"] = c.connectProxy(0, nil)
	file := filepath.Join(t.TempDir(), "headers")
	c.write(file, []byte("# ours\n\nX-From-File: "+canary+"\n"))
	flags := []string{"--ca-file", c.caFile, "--header", "X-Team: platform", "--header-file", file}
	p.signInAt(c, flags...)
	p.echoes(append(flags, corpURL)...)
	for _, name := range []string{"X-Team", "X-From-File"} {
		if diff := cmp.Diff([]string{"mcp.corp.test GET /mcp", "mcp.corp.test POST /mcp"}, c.carried(name)); diff != "" {
			t.Errorf("requests with %s (-want +got):\n%s", name, diff)
		}
	}
	c.setMCP(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.corp.test/mcp", http.StatusTemporaryRedirect)
	})
	p.failsWith("http_status", append(flags, corpURL)...)
	for request := range c.requests() {
		if strings.HasPrefix(request, "elsewhere") {
			t.Errorf("the redirect to another origin was followed: %s", request)
		}
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		if cause, hint := p.failsWith("not_authorized", append(flags, corpURL)...); !strings.Contains(cause, "mode 0644 lets other users at it") || hint == "" {
			t.Errorf("cause %q, hint %q", cause, hint)
		}
	}
}

// TestRoughServer: a server whose load balancer pins sessions with cookies, which compresses its answers, on IPv6.
func TestRoughServer(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	var lost, plain atomic.Int32
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("lb"); err == nil && c.Value == "machine-7" {
			plain.Add(1)
		} else if lost.Add(1) > 1 {
			http.Error(w, "no session here: another machine has it", http.StatusInternalServerError)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "lb", Value: "machine-7", Path: "/"})
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			http.Error(w, "only gzip", http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		zip := &zipped{w, gzip.NewWriter(w)}
		defer zip.gz.Close()
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "tools/call") { // as a stream that goes on
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(zip, "data: {\"jsonrpc\":\"2.0\",\"id\":\"echo\",\"result\":{\"name\":\"echo\",\"big\":12345678901234567890}}\n\n")
			_ = zip.gz.Flush()
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		} else {
			r.Body = io.NopCloser(bytes.NewReader(body))
			plainMCP(zip, r)
		}
	}))
	web.Listener = l
	web.Start()
	t.Cleanup(web.Close)
	p := newPlace(t, demo.Config{})
	p.echoes(fmt.Sprintf("http://%s/mcp", l.Addr()))
	if plain.Load() == 0 {
		t.Error("no request carried the cookie")
	}
}

type zipped struct {
	http.ResponseWriter
	gz *gzip.Writer
}

func (z *zipped) Write(b []byte) (int, error) { return z.gz.Write(b) }

// TestStaticKey: a stored key is a bearer token of the server's origin. Neither discovery nor another origin gets it, a refusal
// of it asks no person, and a new one is found by a bridge that runs.
func TestStaticKey(t *testing.T) {
	c, p := newCompany(t, nil), newPlace(t, demo.Config{})
	p.vars["HTTPS_PROXY"] = c.connectProxy(0, nil)
	ca := []string{"--ca-file", c.caFile}
	p.keep(corpToken, append(ca, corpURL)...)
	p.echoes(append(ca, corpURL)...)
	if diff := cmp.Diff([]string{"mcp.corp.test GET /mcp", "mcp.corp.test POST /mcp"}, c.carried("Authorization")); diff != "" {
		t.Errorf("requests with the key (-want +got):\n%s", diff)
	}
	w := p.start(append(ca, corpURL)...)
	w.send(initialize)
	w.answer("0")
	w.send(initialized, callEcho)
	w.answer(`"echo"`)
	var accepted atomic.Value
	accepted.Store("Bearer " + canary + "-second-key")
	c.setMCP(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != accepted.Load() {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "you sent "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		plainMCP(w, r)
	})
	w.send(strings.ReplaceAll(callEcho, `"echo"`, `"refused"`))
	m := w.answer(`"refused"`)
	if m.Error == nil || m.Error.Data.Kind != "not_authorized" || !strings.Contains(m.Error.Data.Cause, "the server refused the stored key") || !strings.Contains(m.Error.Data.Hint, "--key-stdin") {
		t.Errorf("refused: %+v", m.Error)
	}
	p.keep(canary+"-second-key", append(ca, corpURL)...)
	w.send(callEcho)
	if m := w.answer(`"echo"`); m.Error != nil {
		t.Errorf("after a new key was stored: %+v", m.Error)
	}
	w.hangUp()
	w.wantExit(0)
	c.setMCP(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.corp.test/mcp", http.StatusTemporaryRedirect)
	})
	p.failsWith("http_status", append(ca, corpURL)...)
	for request := range c.requests() {
		if strings.HasPrefix(request, "elsewhere") || strings.HasPrefix(request, "login") || strings.Contains(request, "well-known") {
			t.Errorf("request %s", request)
		}
	}
	p.wantTabs(0, "static key")
}

// keep stores a key.
func (p *place) keep(key string, args ...string) {
	p.t.Helper()
	cmd := p.command(append([]string{"login", "--key-stdin"}, args...)...)
	cmd.Stdin = strings.NewReader(key + "\n")
	if out, err := cmd.Output(); err != nil {
		p.t.Fatalf("login --key-stdin: %v\n%s", err, out)
	}
}
