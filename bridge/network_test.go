package bridge

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestWayFault: what lies between here and the server is named, and never taken for a request that may have run.
func TestWayFault(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	inspected := []*x509.Certificate{{Issuer: pkix.Name{CommonName: "Middle"}}, {Issuer: pkix.Name{CommonName: "Corp \x1b[31mRoot"}}}
	untrusted := &tls.CertificateVerificationError{UnverifiedCertificates: inspected, Err: x509.UnknownAuthorityError{}}
	for name, test := range map[string]struct {
		err                   error
		kind, contains, hints string
	}{
		"proxy away":          {&net.OpError{Op: "proxyconnect", Err: &ProxyError{Proxy: "p:1", Err: refused}}, "proxy", "proxy p:1: dial tcp: connection refused", "HTTPS_PROXY"},
		"proxy away, untyped": {&net.OpError{Op: "proxyconnect", Err: refused}, "proxy", "connection refused", "HTTPS_PROXY"},
		"proxy says 407":      {&ProxyError{Proxy: "p:1", Status: 407}, "proxy", "proxy p:1 answered HTTP 407 Proxy Authentication Required", "NAME:PASSWORD"},
		"proxy says 403":      {&ProxyError{Proxy: "p:1", Status: 403}, "proxy", "HTTP 403", "NO_PROXY"},
		"proxy says 504":      {&ProxyError{Proxy: "p:1", Status: 504}, "proxy", "HTTP 504", "host name"},
		"SOCKS":               {&net.OpError{Op: "socks connect", Net: "tcp", Err: errors.New("unknown error host unreachable")}, "proxy", "host unreachable", "host name"},
		"unknown issuer":      {untrusted, "untrusted_certificate", `issued by "CN=Corp  [31mRoot"`, "--ca-file"},
		"proxy's certificate": {&net.OpError{Op: "proxyconnect", Err: untrusted}, "untrusted_certificate", "certificate of the proxy", "--ca-file"},
		"other host":          {&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: inspected[0], Host: "mcp"}}, "untrusted_certificate", "mcp", "check the URL"},
		"expired":             {&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, "untrusted_certificate", "expired", "clock"},
		"no client cert":      {fmt.Errorf("broken: %w", &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}), "client_certificate", "certificate required", "--client-cert"},
		"other alert":         {&net.OpError{Op: "remote error", Err: errors.New("tls: internal error")}, "outcome_unknown", "internal error", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := networkFault("mcp.example.com", &url.Error{Op: "Post", URL: "https://mcp.example.com/?key=CANARY", Err: test.err})
			var f *fault
			if !errors.As(err, &f) || f.kind != test.kind || !strings.Contains(f.Error(), test.contains) || !strings.Contains(f.hint, test.hints) || strings.Contains(f.Error(), "CANARY") {
				t.Errorf("got %v, %+v; want kind %q, text %q, hint %q", err, f, test.kind, test.contains, test.hints)
			}
			if test.kind != "outcome_unknown" && f.code != codeUnreachable {
				t.Errorf("code %d: the server has not seen the request", f.code)
			}
		})
	}
}

// TestEchoedKey: a server that shows what it received does not bring a key of any header into an error.
func TestEchoedKey(t *testing.T) {
	req, err := http.NewRequest(http.MethodPost, "https://mcp.example.com/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Accept": {"application/json"}, "Authorization": {"Basic CANARY-one"}, "X-Api-Key": {"CANARY-two"}, "Cookie": {"lb=CANARY-three"}, "X-Team": {"a"}}
	for _, body := range []string{"you sent CANARY-one", "you sent CANARY-two", "Cookie: lb=CANARY-three", "CANARY-two and CANARY-one"} {
		if got := string(withoutToken([]byte(body), &http.Response{Request: req})); strings.Contains(got, "CANARY") || !strings.HasSuffix(got, "[secret]") {
			t.Errorf("%q becomes %q", body, got)
		}
	}
	const plain = "a plain application/json answer"
	if got := string(withoutToken([]byte(plain), &http.Response{Request: req})); got != plain {
		t.Errorf("%q becomes %q", plain, got)
	}
}
