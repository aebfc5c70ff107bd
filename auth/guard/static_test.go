package guard_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/auth/guard"
)

func sha(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// phasedOut is a configuration with one static token.
func phasedOut(until time.Time) guard.Config {
	return guard.Config{
		Resource: "https://mcp.example.com/mcp", Scopes: []string{"mcp:tools"},
		Issuers: []guard.Issuer{{URL: "https://idp.example.com"}},
		StaticTokens: []guard.StaticToken{
			{Name: "ci", SHA256: sha("CANARY-static"), Until: until, Scopes: []string{"mcp:tools"}, Groups: []string{"robots"}},
		},
	}
}

// TestStaticToken follows a static token until its end: who used it is written down, and the answer says when it ends.
func TestStaticToken(t *testing.T) {
	until := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	now := until.Add(-time.Second)
	var events []guard.Event
	var seen *guard.Identity
	cfg := phasedOut(until)
	cfg.Now = func() time.Time { return now }
	cfg.Observe = func(_ context.Context, e guard.Event) { events = append(events, e) }
	g := newGuard(t, cfg)
	h := g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = guard.FromContext(r.Context()) }))

	w := ask(h, "Bearer CANARY-static")
	if w.Code != http.StatusOK || seen == nil {
		t.Fatalf("before its end: %d %s", w.Code, w.Body)
	}
	const notice = `the static token "ci" is accepted until 2026-12-31: sign in instead`
	for name, want := range map[string]string{
		"Sunset": "Thu, 31 Dec 2026 00:00:00 GMT", "Deprecation-Notice": notice, "Deprecation": "@1798675199",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff([]string{"static", "ci", "static", notice, "robots"},
		[]string{seen.Issuer, seen.Subject, string(seen.Via), seen.Deprecated, seen.Groups[0]}); diff != "" {
		t.Errorf("identity: -want +got\n%s", diff)
	}

	now = until
	w = ask(h, "Bearer CANARY-static")
	const challenge = `Bearer error="invalid_token", error_description="the static token 'ci' ended on 2026-12-31: sign in instead", ` +
		`scope="mcp:tools", resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`
	if got := w.Header().Get("WWW-Authenticate"); w.Code != http.StatusUnauthorized || got != challenge {
		t.Errorf("at its end: %d\n got %s\nwant %s", w.Code, got, challenge)
	}
	if len(events) != 2 || events[0].Verdict != guard.Allowed || events[0].Identity.Deprecated == "" || events[1].Verdict != guard.Unauthenticated {
		t.Errorf("events: %+v", events)
	}
}

// TestStaticTokenConfig lists what cannot be a static token.
func TestStaticTokenConfig(t *testing.T) {
	until := time.Now().Add(time.Hour)
	for want, broken := range map[string]guard.StaticToken{
		"want a name":                     {SHA256: sha("x"), Until: until},
		"64 hexadecimal digits":           {Name: "x", SHA256: "CANARY", Until: until},
		"want the date on which it ends":  {Name: "x", SHA256: sha("x")},
		"its name or hash is there twice": {Name: "ci", SHA256: sha("x"), Until: until},
		"all zeros":                       {Name: "x", SHA256: strings.Repeat("0", 64), Until: until},
	} {
		cfg := phasedOut(until)
		cfg.StaticTokens = append(cfg.StaticTokens, broken)
		if _, err := guard.New(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: got %v", want, err)
		}
	}
}

// ask sends an MCP request with an Authorization header.
func ask(h http.Handler, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	r.Header.Set("Authorization", authorization)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func newGuard(t *testing.T, cfg guard.Config) *guard.Guard {
	t.Helper()
	g, err := guard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
