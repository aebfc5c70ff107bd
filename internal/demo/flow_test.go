package demo_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"drawbridge/internal/demo"
)

// TestWholeFlow is the main job without drawbridge: discovery, registration, sign-in, a call, a refresh, another call.
func TestWholeFlow(t *testing.T) {
	clock := newClock()
	w := start(t, demo.Config{Now: clock.Now, TokenLifetime: time.Minute})
	resp, _ := post(t, w.URL(), "", initialize)
	prm := getJSON[map[string]any](t, between(resp.Header.Get("WWW-Authenticate"), `resource_metadata="`, `"`))
	if diff := cmp.Diff([]any{w.Issuer()}, prm["authorization_servers"]); diff != "" {
		t.Fatalf("authorization_servers (-want +got):\n%s", diff)
	}
	a := registered(t, w)
	first := a.signIn(demo.Ada())
	want := tokens{Type: "Bearer", ExpiresIn: 60, Scope: "mcp offline_access"}
	if diff := cmp.Diff(want, first, cmpopts.IgnoreFields(tokens{}, "Access", "Refresh")); diff != "" {
		t.Errorf("token answer (-want +got):\n%s", diff)
	}
	if got, want := whoami(t, w, first.Access), adaThrough(a.id); !cmp.Equal(got, want) {
		t.Errorf("whoami (-want +got):\n%s", cmp.Diff(want, got))
	}

	clock.advance(time.Minute)
	if resp, _ := post(t, w.URL(), first.Access, initialize); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("an expired token got %d", resp.StatusCode)
	}
	second := a.mustToken(a.refreshForm(first.Refresh, nil))
	if second.Refresh == "" || second.Refresh == first.Refresh {
		t.Error("the refresh token was not rotated")
	}
	if got, want := whoami(t, w, second.Access), adaThrough(a.id); !cmp.Equal(got, want) {
		t.Errorf("whoami after the refresh (-want +got):\n%s", cmp.Diff(want, got))
	}
	wantCounts := demo.Counts{SignIns: 1, AuthorizationRequests: 1, Refreshes: 1, Registrations: 1,
		TokenRequests: map[string]int{"authorization_code": 1, "refresh_token": 1}}
	if diff := cmp.Diff(wantCounts, w.IdP.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

func adaThrough(client string) map[string]any {
	return map[string]any{"subject": "ada", "name": "Ada Lovelace", "email": "ada@example.com", "client_id": client,
		"groups": []any{"engineering", "deployers"}, "scopes": []any{"mcp", "offline_access"}, "expires_in_seconds": 60.0}
}

func whoami(t *testing.T, w *demo.World, token string) any {
	t.Helper()
	session := connect(t, w.URL(), token, nil)
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"})
	if err != nil {
		t.Fatal(err)
	}
	return result.StructuredContent
}

// bearer adds a token to every request.
type bearer struct{ token string }

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if b.token != "" {
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	return http.DefaultTransport.RoundTrip(req)
}

func connect(t *testing.T, address, token string, options *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, options)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: address,
		HTTPClient: &http.Client{Transport: bearer{token}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() }) // the server may have gone first
	return session
}

// post sends one message as a client without a session does.
func post(t *testing.T, address, token, body string) (*http.Response, []byte) {
	t.Helper()
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	return do(t, newRequest(t, http.MethodPost, address, body, h))
}

// TestReuse: whoever presents a spent token or code ends the family, because one of two holders is a thief.
func TestReuse(t *testing.T) {
	w := start(t, demo.Config{})
	for _, tt := range []struct {
		name  string
		spend func(a *app, answer url.Values) (spent url.Values, live tokens)
	}{
		{"refresh token", func(a *app, answer url.Values) (url.Values, tokens) {
			first := a.mustToken(a.codeForm(answer.Get("code"), nil))
			return a.refreshForm(first.Refresh, nil), a.mustToken(a.refreshForm(first.Refresh, nil))
		}},
		{"code", func(a *app, answer url.Values) (url.Values, tokens) {
			form := a.codeForm(answer.Get("code"), nil)
			return form, a.mustToken(form)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := w.IdP.Counts().Reuses
			a := registered(t, w)
			spent, live := tt.spend(a, a.authorize(demo.Human{}, demo.Ada(), nil))
			if resp, _ := post(t, w.URL(), live.Access, initialize); resp.StatusCode != http.StatusOK {
				t.Fatalf("the live token got %d", resp.StatusCode)
			}
			got := []string{a.refused(spent), a.refused(a.refreshForm(live.Refresh, nil))}
			if diff := cmp.Diff([]string{"Bad Request invalid_grant", "Bad Request invalid_grant"}, got); diff != "" {
				t.Errorf("spent, then live (-want +got):\n%s", diff)
			}
			if resp, _ := post(t, w.URL(), live.Access, initialize); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("an access token of the family got %d", resp.StatusCode)
			}
			if got := w.IdP.Counts().Reuses - before; got != 1 {
				t.Errorf("%d reuses counted, want 1", got)
			}
		})
	}
}

// TestDeactivation is the story that drawbridge exists for.
func TestDeactivation(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	have := a.signIn(demo.Ada())
	w.IdP.Deactivate("ada")
	status, got := a.token(a.refreshForm(have.Refresh, nil))
	if status != http.StatusBadRequest || got.Error != "invalid_grant" || got.ErrorDescription != "this account is deactivated" {
		t.Errorf("refresh: %d %q %q", status, got.Error, got.ErrorDescription)
	}
	if resp, _ := post(t, w.URL(), have.Access, initialize); resp.StatusCode != http.StatusOK {
		t.Errorf("an access token must end by itself, got %d", resp.StatusCode)
	}
	want := url.Values{"error": {"access_denied"}, "error_description": {"this account is deactivated"},
		"state": {"st"}, "iss": {w.Issuer()}}
	if diff := cmp.Diff(want, a.authorize(demo.Human{}, demo.Ada(), nil)); diff != "" {
		t.Errorf("authorization response (-want +got):\n%s", diff)
	}
	w.IdP.Activate("ada")
	if got := a.refused(a.refreshForm(have.Refresh, nil)); got != "Bad Request invalid_grant" {
		t.Errorf("refresh after activation: %s", got)
	}
	a.signIn(demo.Ada())
}

// TestDeactivatedNeedsPassword: only who knows the password learns that an account is deactivated.
func TestDeactivatedNeedsPassword(t *testing.T) {
	w := start(t, demo.Config{})
	w.IdP.Deactivate("ada")
	a := registered(t, w)
	page, err := demo.Human{}.SignIn(t.Context(), a.authorizationURL(nil), "ada", demo.Grace().Password)
	if err == nil || !strings.Contains(page, "Wrong user or password.") {
		t.Errorf("got page %q and error %v", page, err)
	}
}

func TestRevocation(t *testing.T) {
	w := start(t, demo.Config{})
	for _, tt := range []struct {
		name   string
		revoke func(a *app, have tokens)
		want   []string // a refresh, then a call
	}{
		{"refresh token takes the family", func(a *app, have tokens) { a.revoke(have.Refresh) },
			[]string{"Bad Request invalid_grant", "Unauthorized"}},
		{"access token goes alone", func(a *app, have tokens) { a.revoke(have.Access) }, []string{"OK ", "Unauthorized"}},
		{"unknown token", func(a *app, _ tokens) { a.revoke("never issued") }, []string{"OK ", "OK"}},
		{"forged access token", func(a *app, have tokens) {
			a.revoke(tamper(a.signIn(demo.Ada()).Access, have.Access))
		}, []string{"OK ", "OK"}},
		{"of another client", func(a *app, have tokens) {
			b := *a
			b.id = registered(a.t, w).id
			b.revoke(have.Refresh)
			b.revoke(have.Access)
		}, []string{"OK ", "OK"}},
		{"by the administrator", func(*app, tokens) { w.IdP.RevokeUser("ada") },
			[]string{"Bad Request invalid_grant", "OK"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := registered(t, w)
			have := a.signIn(demo.Ada())
			tt.revoke(a, have)
			resp, _ := post(t, w.URL(), have.Access, initialize)
			got := []string{a.refused(a.refreshForm(have.Refresh, nil)), http.StatusText(resp.StatusCode)}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("refresh, call (-want +got):\n%s", diff)
			}
		})
	}
	if got := w.IdP.Counts().Revocations; got != 2 {
		t.Errorf("%d revocations counted, want 2", got)
	}
}

func (a *app) revoke(token string) {
	a.t.Helper()
	form := url.Values{"token": {token}, "client_id": {a.id}}
	resp, body := a.post("/revoke", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	if resp.StatusCode != http.StatusOK || len(body) != 0 {
		a.t.Errorf("revocation answered %d %q", resp.StatusCode, body)
	}
}

// TestIssued: a test that looks for these words finds every secret, also inside of a JWT.
func TestIssued(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	a.scope = "mcp openid"
	answer := a.authorize(demo.Human{}, demo.Ada(), nil)
	have := a.mustToken(a.codeForm(answer.Get("code"), nil))
	_, confidential := a.postJSON("/register", map[string]any{"redirect_uris": []string{"https://app.example/cb"}})
	issued := w.IdP.Issued()
	for name, s := range map[string]string{"code": answer.Get("code"), "access": have.Access, "refresh": have.Refresh,
		"id token": have.ID, "client secret": confidential["client_secret"].(string)} {
		if s == "" || !slices.Contains(issued, s) {
			t.Errorf("the %s is not listed", name)
		}
	}
	for _, s := range issued {
		if !strings.HasPrefix(s, "CANARY-") && claims(t, s)["canary"] != "CANARY" {
			t.Error("a secret without CANARY was issued")
		}
	}
	if jti, _ := claims(t, have.Access)["jti"].(string); !strings.HasPrefix(jti, "CANARY-") || !slices.Contains(issued, jti) {
		t.Error("the jti of the access token is not listed")
	}
	if diff := cmp.Diff(map[string]any{"email": "ada@example.com", "sub": "ada", "aud": a.id},
		keep(claims(t, have.ID), "email", "sub", "aud")); diff != "" {
		t.Errorf("id token (-want +got):\n%s", diff)
	}
}

func keep(m map[string]any, names ...string) map[string]any {
	kept := map[string]any{}
	for _, name := range names {
		kept[name] = m[name]
	}
	return kept
}

func claims(t *testing.T, token string) (c map[string]any) {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal("not a JWT")
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCountsAreCopies: a caller that changes what it was given changes nothing else.
func TestCountsAreCopies(t *testing.T) {
	w := start(t, demo.Config{})
	before, err := json.Marshal([]any{w.IdP.Counts(), w.Server.Counts().Requests})
	if err != nil {
		t.Fatal(err)
	}
	w.IdP.Counts().TokenRequests["refresh_token"] = 99
	w.Server.Counts().Requests["tools/call"] = 99
	after, err := json.Marshal([]any{w.IdP.Counts(), w.Server.Counts().Requests})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
