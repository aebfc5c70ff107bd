package guard_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/auth/guard"
)

// byName is a policy for tests: the name of a tool says what becomes of its call.
func byName(_ context.Context, q *guard.Request) guard.Decision {
	switch q.Call.Name {
	case "deploy":
		return guard.Decision{Outcome: guard.Deny, Reason: "needs group release", Rule: "r1"}
	case "write":
		return guard.Decision{Outcome: guard.NeedScopes, Scopes: []string{"mcp:read", "mcp:write"}, Reason: "needs more scopes"}
	case "audit":
		return guard.Decision{Outcome: guard.NeedScopes, Scopes: []string{"mcp:read", "mcp:audit"}, Reason: "needs more scopes"}
	case "pay":
		return guard.Decision{Outcome: guard.StepUp, ACR: []string{"phr", "phrh"}, MaxAge: 5 * time.Minute, Reason: "needs a newer sign-in"}
	}
	switch q.HTTP.Header.Get("Mcp-Session-Id") {
	case "foreign":
		return guard.Decision{Outcome: guard.NoSession, Reason: "no such session"}
	case "busy":
		return guard.Decision{Outcome: guard.Busy, RetryAfter: 1500 * time.Millisecond, Reason: "too many requests"}
	}
	if q.Call.Method == "" && q.HTTP.Method == http.MethodGet {
		return guard.Decision{Reason: "no streams"}
	}
	return guard.Decision{Outcome: guard.Allow, Rule: "all"}
}

func call(id, tool string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"` + tool + `"}}`
}

// harness is a guard with the policy byName.
type harness struct {
	events    []guard.Event
	forwarded []string // bodies
	handler   http.Handler
}

func newHarness(t *testing.T, change func(*guard.Config)) *harness {
	t.Helper()
	h := &harness{}
	cfg := phasedOut(time.Now().Add(time.Hour))
	cfg.Authorize = byName
	cfg.Audit = func(_ context.Context, e guard.Event) error {
		h.events = append(h.events, e)
		return nil
	}
	if change != nil {
		change(&cfg)
	}
	h.handler = newGuard(t, cfg).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || int64(len(body)) != r.ContentLength && r.Method == http.MethodPost {
			t.Errorf("forwarded body: %d bytes, announced %d, %v", len(body), r.ContentLength, err)
		}
		h.forwarded = append(h.forwarded, string(body))
	}))
	return h
}

func (h *harness) send(method, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/mcp", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer CANARY-static")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
		if headers[i] == "Content-Type" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

func TestAuthorize(t *testing.T) {
	const metadata = `resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`
	denied := func(id, why string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"error":{"code":-32003,"message":"` + why + `"}}`
	}
	const release, beside = "not allowed: needs group release", "not run, because another message of the same batch is not allowed"
	big := call("1", strings.Repeat("x", 200))
	tests := []struct {
		name, method, body string
		headers            []string
		status             int
		challenge, answer  string // "" if forwarded
		verdicts           string
	}{
		{name: "allowed", body: call("1", "read"), status: 200, verdicts: "allow"},
		{name: "denied", body: call("1", "deploy"), status: 200, answer: denied("1", release), verdicts: "deny"},
		{name: "denied, id is text", body: call(`"a\u0062"`, "deploy"), status: 200, answer: denied(`"a\u0062"`, release), verdicts: "deny"},
		{name: "denied, big id", body: call("12345678901234567890", "deploy"), status: 200, answer: denied("12345678901234567890", release), verdicts: "deny"},
		{name: "denied without an id", body: `{"method":"tools/call","params":{"name":"deploy"}}`, status: 403, answer: `{"error_description":"` + release + `"}`, verdicts: "deny"},
		{name: "denied stream", method: http.MethodGet, status: 403, answer: `{"error_description":"not allowed: no streams"}`, verdicts: "deny"},
		{name: "session's end", method: http.MethodDelete, status: 200, verdicts: "allow"},
		{name: "scope", body: call("1", "write"), status: 403, verdicts: "insufficient_scope",
			challenge: `Bearer error="insufficient_scope", error_description="needs more scopes", scope="mcp:read mcp:write", ` + metadata,
			answer:    `{"error":"insufficient_scope","error_description":"needs more scopes"}`},
		{name: "stronger sign-in", body: call("1", "pay"), status: 401, verdicts: "step_up",
			challenge: `Bearer error="insufficient_user_authentication", error_description="needs a newer sign-in", acr_values="phr phrh", max_age="300", ` + metadata,
			answer:    `{"error":"insufficient_user_authentication","error_description":"needs a newer sign-in"}`},
		{name: "batch", body: `[` + call("1", "read") + `,` + call("2", "list") + `]`, status: 200, verdicts: "allow allow"},
		{name: "batch, one denied", body: `[` + call("1", "read") + `,` + call("2", "deploy") + `,{"method":"notifications/x"}]`, status: 200,
			answer: `[` + denied("2", release) + `,` + denied("1", beside) + `]`, verdicts: "deny deny deny"},
		{name: "batch, one denied and one without scope", body: `[` + call("1", "write") + `,` + call("2", "deploy") + `]`, status: 200,
			answer: `[` + denied("2", release) + `,` + denied("1", "not allowed: needs more scopes") + `]`, verdicts: "insufficient_scope deny"},
		{name: "batch, the scopes of all", body: `[` + call("1", "write") + `,` + call("2", "audit") + `]`, status: 403, verdicts: "insufficient_scope insufficient_scope",
			challenge: `Bearer error="insufficient_scope", error_description="needs more scopes", scope="mcp:read mcp:write mcp:audit", ` + metadata,
			answer:    `{"error":"insufficient_scope","error_description":"needs more scopes"}`},
		{name: "batch, scope and sign-in", body: `[` + call("1", "write") + `,` + call("2", "pay") + `]`, status: 401, verdicts: "insufficient_scope step_up",
			challenge: `Bearer error="insufficient_user_authentication", error_description="needs a newer sign-in", scope="mcp:read mcp:write", acr_values="phr phrh", max_age="300", ` + metadata,
			answer:    `{"error":"insufficient_user_authentication","error_description":"needs a newer sign-in"}`},
		{name: "foreign session", body: `[` + call("1", "deploy") + `,` + call("2", "read") + `]`, headers: []string{"Mcp-Session-Id", "foreign"}, status: 404,
			answer: `{"error_description":"no such session"}`, verdicts: "deny foreign_session"},
		{name: "too many", body: call("1", "read"), headers: []string{"Mcp-Session-Id", "busy"}, status: 429,
			answer: `{"error_description":"too many requests"}`, verdicts: "limited"},
		{name: "no JSON", body: `{`, status: 400, verdicts: "malformed",
			answer: `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"drawbridge-guard: not JSON: at byte 1: the text ends where a key should be"}}`},
		{name: "two readings", body: `{"id":1,"method":"tools/list","Method":"tools/call","params":{"name":"deploy"}}`, status: 400, verdicts: "malformed",
			answer: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"drawbridge-guard: member \"method\" stands twice or in another case (\"Method\"): servers differ in what they read"}}`},
		{name: "header says another tool", body: call("1", "deploy"), headers: []string{"Mcp-Name", "read"}, status: 400, verdicts: "malformed",
			answer: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"drawbridge-guard: header Mcp-Name is \"read\", the message says \"deploy\""}}`},
		{name: "new revision without its headers", body: call("1", "read"), headers: []string{"Mcp-Protocol-Version", "2026-07-28"}, status: 400, verdicts: "malformed",
			answer: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"drawbridge-guard: header Mcp-Method is missing, the message says \"tools/call\""}}`},
		{name: "compressed", body: call("1", "read"), headers: []string{"Content-Encoding", "gzip"}, status: 415, verdicts: "malformed",
			answer: `{"error_description":"send the body without a content encoding"}`},
		{name: "another character set", body: call("1", "read"), headers: []string{"Content-Type", "application/json; charset=utf-16"}, status: 415, verdicts: "malformed",
			answer: `{"error_description":"send application/json in UTF-8"}`},
		{name: "UTF-8 by name", body: call("1", "read"), headers: []string{"Content-Type", "application/json; charset=UTF-8"}, status: 200, verdicts: "allow"},
		{name: "a form", body: call("1", "read"), headers: []string{"Content-Type", "text/plain"}, status: 415, verdicts: "malformed",
			answer: `{"error_description":"send application/json in UTF-8"}`},
		{name: "too large", body: big, status: 413, verdicts: "malformed",
			answer: `{"error_description":"the message is larger than the 250 bytes that are accepted here"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t, func(c *guard.Config) { c.MaxBody = 250 })
			if tt.method == "" {
				tt.method = http.MethodPost
			}
			w := h.send(tt.method, tt.body, tt.headers...)
			if got := strings.TrimSpace(w.Body.String()); w.Code != tt.status || got != tt.answer {
				t.Errorf("got %d %s\nwant %d %s", w.Code, got, tt.status, tt.answer)
			}
			if got := w.Header().Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("challenge:\n got %s\nwant %s", got, tt.challenge)
			}
			var want []string
			if tt.answer == "" {
				want = []string{tt.body}
			}
			if diff := cmp.Diff(want, h.forwarded); diff != "" {
				t.Errorf("forwarded (-want +got):\n%s", diff)
			}
			var verdicts []string
			for _, e := range h.events {
				verdicts = append(verdicts, string(e.Verdict))
			}
			if got := strings.Join(verdicts, " "); got != tt.verdicts {
				t.Errorf("verdicts %q, want %q", got, tt.verdicts)
			}
		})
	}
}

// TestCalls: what is judged, written down and told to the handler is what the message asks for.
func TestCalls(t *testing.T) {
	h := newHarness(t, nil)
	h.send(http.MethodPost, `{"id":"x","method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["a://1","a://2"]}}}`)
	h.send(http.MethodPost, `{"id":5,"result":{}}`)
	h.send(http.MethodPost, call("1", "deploy"))
	h.send(http.MethodPost, `[`+call("1", "deploy")+`,{"id":2,"method":"ping"}]`)
	denied := guard.Event{HTTPMethod: "POST", Verdict: guard.Denied, Rule: "r1", Reason: "needs group release", Status: 200, Call: guard.Call{ID: "1", Method: "tools/call", Type: "tool", Name: "deploy"}}
	want := []guard.Event{
		{HTTPMethod: "POST", Verdict: guard.Allowed, Rule: "all", Call: guard.Call{ID: `"x"`, Method: "subscriptions/listen", Type: "resource", Name: "a://1"}},
		{HTTPMethod: "POST", Verdict: guard.Allowed, Rule: "all", Call: guard.Call{ID: `"x"`, Method: "subscriptions/listen", Type: "resource", Name: "a://2"}},
		{HTTPMethod: "POST", Verdict: guard.Allowed, Rule: "all"},
		denied, denied,
		{HTTPMethod: "POST", Verdict: guard.Denied, Reason: "not run, because another message of the same batch is not allowed", Status: 200, Call: guard.Call{ID: "2", Method: "ping"}},
	}
	for i := range h.events {
		if h.events[i].Identity == nil || h.events[i].Time.IsZero() || h.events[i].RemoteAddr == "" {
			t.Errorf("event %d: %+v", i, h.events[i])
		}
		h.events[i].Identity, h.events[i].Time, h.events[i].Took, h.events[i].RemoteAddr = nil, time.Time{}, 0, ""
	}
	if diff := cmp.Diff(want, h.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestRetryAfter(t *testing.T) {
	if got := newHarness(t, nil).send(http.MethodPost, call("1", "read"), "Mcp-Session-Id", "busy").Header().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After for 1.5 s: %q, want 2", got)
	}
}

// TestAuditFails: what cannot be written down does not happen, and a refusal is not told either.
func TestAuditFails(t *testing.T) {
	for _, tool := range []string{"read", "deploy", "write"} {
		h := newHarness(t, func(c *guard.Config) {
			c.Audit = func(context.Context, guard.Event) error { return errors.New("disk full") }
		})
		w := h.send(http.MethodPost, call("1", tool))
		if w.Code != http.StatusServiceUnavailable || len(h.forwarded) > 0 || strings.Contains(w.Body.String(), "disk") {
			t.Errorf("%s: %d %s, forwarded %q", tool, w.Code, w.Body, h.forwarded)
		}
	}
}
