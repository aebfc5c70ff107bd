package guard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"drawbridge/auth/guard"
	"drawbridge/internal/secret"
)

// TestMetadata asks at the places of RFC 9728, as a page in a browser would.
func TestMetadata(t *testing.T) {
	const path, root = "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"
	const document = `{"resource":"https://mcp.example.com/mcp","authorization_servers":["https://idp.example.com"],` +
		`"scopes_supported":["mcp:tools"],"bearer_methods_supported":["header"]}`
	protected := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := newGuard(t, phasedOut(time.Now().Add(time.Hour))).Wrap(protected)
	for _, test := range []struct {
		method, path string
		status       int
		body         string
	}{
		{http.MethodGet, path, 200, document},
		{http.MethodGet, root, 200, document},
		{http.MethodHead, path, 200, document}, // net/http drops the body
		{http.MethodOptions, path, 204, ""},
		{http.MethodPost, path, 405, ""},
		{http.MethodGet, path + "/", 401, `{"error_description":"this server needs an access token"}`},
		{http.MethodGet, root + "/other", 401, `{"error_description":"this server needs an access token"}`},
		{http.MethodGet, "/mcp", 401, `{"error_description":"this server needs an access token"}`},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
		if got := strings.TrimSpace(w.Body.String()); w.Code != test.status || got != test.body {
			t.Errorf("%s %s: got %d %s\nwant %d %s", test.method, test.path, w.Code, got, test.status, test.body)
		}
		if public := w.Header().Get("Access-Control-Allow-Origin") == "*"; public != (test.status != 401) {
			t.Errorf("%s %s: readable by pages of any origin: %v", test.method, test.path, public)
		}
	}
}

// TestResourceWithoutPath: the metadata of a server that is a whole origin is at the root.
func TestResourceWithoutPath(t *testing.T) {
	cfg := phasedOut(time.Now().Add(time.Hour))
	cfg.Resource = "https://mcp.example.com"
	w := ask(newGuard(t, cfg).Wrap(http.NotFoundHandler()), "Basic QTpC")
	const want = `Bearer scope="mcp:tools", resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource"`
	if got := w.Header().Get("WWW-Authenticate"); w.Code != http.StatusUnauthorized || got != want {
		t.Errorf("got %d %s\nwant 401 %s", w.Code, got, want)
	}
}

// TestConfig lists what cannot be configured.
func TestConfig(t *testing.T) {
	good := phasedOut(time.Now().Add(time.Hour))
	for want, change := range map[string]func(*guard.Config){
		"no issuer":                          func(c *guard.Config) { c.Issuers = nil },
		"issuer \"http://idp\": want https":  func(c *guard.Config) { c.Issuers[0].URL = "http://idp" },
		"it is there twice":                  func(c *guard.Config) { c.Issuers = append(c.Issuers, c.Issuers[0]) },
		"needs a client id":                  func(c *guard.Config) { c.Issuers[0].Opaque = true },
		"want at least 1s":                   func(c *guard.Config) { c.Issuers[0] = fresh(time.Millisecond) },
		"several issuers of opaque tokens":   func(c *guard.Config) { c.Issuers = []guard.Issuer{opaque("https://a"), opaque("https://b")} },
		"resource \"\": not a URL":           func(c *guard.Config) { c.Resource = "" },
		"want the host in lower case":        func(c *guard.Config) { c.Resource = "https://MCP.example.com" },
		"want no user and no fragment":       func(c *guard.Config) { c.Resource = "https://mcp.example.com/#" },
		"want no query":                      func(c *guard.Config) { c.Resource = "https://mcp.example.com/mcp?a" },
		"scope offline_access":               func(c *guard.Config) { c.Scopes = []string{"offline_access"} },
		"scope \"a b\"":                      func(c *guard.Config) { c.Scopes = []string{"a b"} },
		"clock skew 1h0m0s: want 0s to 5m0s": func(c *guard.Config) { c.Skew = time.Hour },
		"documentation \"x\"":                func(c *guard.Config) { c.Documentation = "x" },
	} {
		cfg := good
		cfg.Issuers = append([]guard.Issuer(nil), good.Issuers...)
		change(&cfg)
		if _, err := guard.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", want, err)
		}
	}
}

func opaque(url string) guard.Issuer {
	return guard.Issuer{URL: url, Opaque: true, ClientID: "guard", ClientSecret: secret.New("CANARY-secret")}
}

func fresh(every time.Duration) guard.Issuer {
	i := opaque("https://idp.example.com")
	i.Opaque, i.Freshness = false, every
	return i
}
