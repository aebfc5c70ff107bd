package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAuditArguments: arguments are in the audit for those who asked, and then no more of them than is of use.
func TestAuditArguments(t *testing.T) {
	p := startIDP(t)
	behind := serveFunc(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	const short = `{"a": "CANARY", "a": 12345678901234567890}`
	long := `{"a":"` + strings.Repeat("x", 1<<20) + `"}`
	for _, tt := range []struct {
		name, extra, arguments, tool, want string
	}{
		{"not asked", "", short, "read", ""},
		{"asked not to", "arguments: false, ", short, "read", ""},
		{"asked", "arguments: true, ", short, "read", `"arguments":"{\"a\": \"CANARY\", \"a\": 12345678901234567890}"`},
		{"of a refused call", "arguments: true, ", short, "deploy", `"arguments":"{\"a\": \"CANARY\", \"a\": 12345678901234567890}"`},
		{"long", "arguments: true, ", long, "read", fmt.Sprintf(`xxx... (%d bytes)"`, len(long))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			yaml, audit := setup(t, p, behind)
			g := startGuard(t, strings.Replace(yaml, "audit: {", "audit: {"+tt.extra, 1)+rules)
			message := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tt.tool, tt.arguments)
			_, _ = raw(t, balance(p.token(t, "ada", []string{"staff"}, nil), g), message)
			lines := read(t, audit)
			if !strings.Contains(lines, fmt.Sprintf(`"name":%q`, tt.tool)) || !strings.Contains(lines, tt.want) || len(lines) > 32<<10 {
				t.Errorf("want %q in %d bytes:\n%.2000s", tt.want, len(lines), lines)
			}
			if tt.want == "" && (strings.Contains(lines, "CANARY") || strings.Contains(lines, `"arguments"`)) {
				t.Errorf("arguments that nobody asked for:\n%s", lines)
			}
		})
	}
}

// held is a server behind that keeps its first request until leave is called, which has to be before the guard drains.
func held(t *testing.T) (url string, inside chan struct{}, leave func()) {
	t.Helper()
	inside = make(chan struct{})
	left := make(chan struct{})
	var taken atomic.Bool
	url = serveFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		if taken.CompareAndSwap(false, true) {
			inside <- struct{}{}
			<-left
		}
		w.WriteHeader(http.StatusAccepted)
	})
	return url, inside, func() { close(left) }
}

const readCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}`

// TestAuditBusy: a request beyond what one person, or the instance, may have under way is refused, and the audit says so;
// it does not say that it was allowed.
func TestAuditBusy(t *testing.T) {
	for _, tt := range []struct {
		limits string
		status int
		want   string
	}{
		{"{concurrent: 1}", http.StatusTooManyRequests, `"name":"read","id":"1","decision":"limited","reason":"too many requests of yours are under way","status":429`},
		{"{max_concurrent: 1}", http.StatusServiceUnavailable, `"decision":"limited","reason":"too many requests are under way","status":503`},
	} {
		t.Run(tt.limits, func(t *testing.T) {
			p := startIDP(t)
			behind, inside, leave := held(t)
			defer leave()
			yaml, audit := setup(t, p, behind)
			g := startGuard(t, yaml+"limits: "+tt.limits+"\n"+rules)
			ada := balance(p.token(t, "ada", []string{"staff"}, nil), g)
			go func() {
				r, err := http.NewRequest(http.MethodPost, "http://mcp.example.com/mcp", strings.NewReader(readCall))
				if err != nil {
					return // the test waits in vain, and says where
				}
				r.Header.Set("Content-Type", "application/json")
				if resp, err := ada.RoundTrip(r); err == nil {
					_ = resp.Body.Close()
				}
			}()
			<-inside
			resp, body := raw(t, ada, readCall)
			if resp.StatusCode != tt.status || resp.Header.Get("Retry-After") != "1" {
				t.Errorf("second request: %s %v %s", resp.Status, resp.Header, body)
			}
			lines := read(t, audit)
			if !strings.Contains(lines, tt.want) || strings.Count(lines, `"decision":"allow"`) != 1 {
				t.Errorf("want one allow, and %s:\n%s", tt.want, lines)
			}
		})
	}
}

// TestAuditGate: what is refused before the token is looked at is in the audit too.
func TestAuditGate(t *testing.T) {
	p := startIDP(t)
	yaml, audit := setup(t, p, "http://127.0.0.1:1/nothing-is-here")
	g := startGuard(t, yaml+rules)
	ada := balance(p.token(t, "ada", []string{"staff"}, nil), g)
	for _, tt := range []struct {
		method, host, origin string
		status               int
		want                 string
	}{
		{http.MethodPost, "rebound.example", "", 421, `"decision":"deny","reason":"this server has another name: [\"rebound.example\"]","status":421`},
		{http.MethodPost, "", "https://evil.example", 403, `"decision":"deny","reason":"pages of this origin may not use this server: [\"https://evil.example\"]","status":403`},
		{http.MethodPut, "", "", 405, `"http_method":"PUT","remote":`},
		{http.MethodPut, "", "", 405, `"decision":"malformed","reason":"MCP uses POST, GET and DELETE","status":405`},
	} {
		r, err := http.NewRequest(tt.method, "http://mcp.example.com/mcp", strings.NewReader(readCall))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = tt.host
		r.Header.Set("Content-Type", "application/json")
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		resp, err := ada.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // what it says is for others to test
		resp.Body.Close()
		if lines := read(t, audit); resp.StatusCode != tt.status || !strings.Contains(lines, tt.want) {
			t.Errorf("%s for %q from %q: %s, and the audit does not say %s:\n%s", tt.method, tt.host, tt.origin, resp.Status, tt.want, lines)
		}
	}
}

// TestAuditElsewhere: where nothing is, nothing is allowed, and the audit does not say so of a call that was sent there.
func TestAuditElsewhere(t *testing.T) {
	p := startIDP(t)
	yaml, audit := setup(t, p, "http://127.0.0.1:1/nothing-is-here")
	g := startGuard(t, yaml+rules)
	ada := balance(p.token(t, "ada", []string{"staff"}, nil), g)
	for _, path := range []string{"/mcp/", "/other", "/mcp%2F"} {
		r, err := http.NewRequest(http.MethodPost, "http://mcp.example.com"+path, strings.NewReader(readCall))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := ada.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if lines := read(t, audit); strings.Contains(lines, `"event":"decision"`) {
		t.Errorf("the audit:\n%s", lines)
	}
}
