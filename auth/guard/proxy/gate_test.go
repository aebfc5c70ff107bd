package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"drawbridge/auth/guard/proxy"
)

func TestGate(t *testing.T) {
	g, err := proxy.NewGate(proxy.GateConfig{
		Resource: "https://mcp.example.com/mcp", Hosts: []string{"10.0.0.1:8080"}, Origins: []string{"https://inspector.example.com"},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	const own, foreign = "mcp.example.com", "evil.example"
	for _, tt := range []struct {
		method, host, origin string
		status               int
	}{
		{"POST", own, "", 418},
		{"GET", own, "", 418},
		{"DELETE", own, "", 418},
		{"POST", "MCP.example.com:443", "", 418},
		{"POST", "10.0.0.1:8080", "", 418},
		{"POST", "10.0.0.1", "", 421},
		{"POST", foreign, "", 421},
		{"POST", "mcp.example.com.evil.example", "", 421},
		{"POST", "", "", 421},
		{"PUT", own, "", 405},
		{"HEAD", own, "", 405},
		{"OPTIONS", own, "", 405},
		{"TRACE", own, "", 405},
		{"POST", own, "https://mcp.example.com", 418},
		{"POST", own, "https://mcp.example.com:443", 418},
		{"POST", own, "https://inspector.example.com", 418},
		{"OPTIONS", own, "https://inspector.example.com", 204},
		{"POST", own, "http://mcp.example.com", 403},
		{"POST", own, "https://mcp.example.com.evil.example", 403},
		{"POST", own, "null", 403},
		{"GET", own, "https://evil.example", 403},
		{"OPTIONS", own, "https://evil.example", 403},
	} {
		r := httptest.NewRequest(tt.method, "/mcp", strings.NewReader(ping))
		r.Host = tt.host
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s for %q from %q: %d, want %d", tt.method, tt.host, tt.origin, w.Code, tt.status)
		}
		want := ""
		if tt.status == 418 || tt.status == 204 {
			want = tt.origin
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s from %q: Access-Control-Allow-Origin %q", tt.method, tt.origin, got)
		}
	}
}

func TestGateOrigins(t *testing.T) {
	for _, origin := range []string{"*", "null", "https://a/", "a.example"} {
		if _, err := proxy.NewGate(proxy.GateConfig{Resource: "https://a", Origins: []string{origin}}); err == nil {
			t.Errorf("origin %q: no error", origin)
		}
	}
}

// TestGateLimit: more requests at once than an instance takes are told to come again; places are given back.
func TestGateLimit(t *testing.T) {
	g, err := proxy.NewGate(proxy.GateConfig{Resource: "https://mcp.example.com", MaxConcurrent: 2})
	if err != nil {
		t.Fatal(err)
	}
	inside, leave := make(chan struct{}), make(chan struct{})
	h := g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-leave
	}))
	ask := func() *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "https://mcp.example.com/", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	done := make(chan int, 2)
	for range 2 {
		go func() { done <- ask().Code }()
		<-inside
	}
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("third request: %d %v", w.Code, w.Header())
	}
	close(leave)
	if a, b := <-done, <-done; a != 200 || b != 200 {
		t.Errorf("first two: %d, %d", a, b)
	}
	go func() { <-inside }()
	if w := ask(); w.Code != http.StatusOK {
		t.Errorf("after they left: %d", w.Code)
	}
}
