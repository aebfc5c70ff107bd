package demo_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
)

// document is the metadata as far as faults change it.
type document struct {
	Issuer       string   `json:"issuer"`
	Registration string   `json:"registration_endpoint"`
	PKCE         []string `json:"code_challenge_methods_supported"`
	Documents    bool     `json:"client_id_metadata_document_supported"`
	Iss          bool     `json:"authorization_response_iss_parameter_supported"`
}

func TestMetadataFaults(t *testing.T) {
	w := start(t, demo.Config{})
	good := document{w.Issuer(), w.Issuer() + "/register", []string{"S256"}, true, true}
	for _, tt := range []struct {
		name   string
		faults demo.Faults
		want   func(*document)
	}{
		{"none", demo.Faults{}, func(*document) {}},
		{"issuer", demo.Faults{MetadataIssuer: "https://other.example"}, func(d *document) { d.Issuer = "https://other.example" }},
		{"no PKCE", demo.Faults{NoPKCEMethods: true}, func(d *document) { d.PKCE = nil }},
		{"no registration", demo.Faults{NoRegistration: true}, func(d *document) { d.Registration = "" }},
		{"no documents", demo.Faults{NoClientDocuments: true}, func(d *document) { d.Documents = false }},
		{"iss not advertised", demo.Faults{NoIssAdvertised: true}, func(d *document) { d.Iss = false }},
	} {
		w.IdP.SetFaults(tt.faults)
		want := good
		tt.want(&want)
		got := getJSON[document](t, w.Issuer()+"/.well-known/oauth-authorization-server")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	w.IdP.SetFaults(demo.Faults{MetadataStatus: http.StatusBadGateway})
	resp, body := get(t, w.Issuer()+"/.well-known/openid-configuration", nil)
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(string(body), "<h1>") {
		t.Errorf("a broken proxy: %d %q", resp.StatusCode, body)
	}
}

// TestIssuerPath: an issuer with a path publishes in three places (RFC 8414 §3.1, OpenID Connect Discovery §4), and
// not at the root.
func TestIssuerPath(t *testing.T) {
	w := start(t, demo.Config{IdP: demo.IdPConfig{Path: "/tenant1"}})
	base := origin(w.Issuer())
	got := map[string]int{}
	for _, path := range []string{"/.well-known/oauth-authorization-server/tenant1", "/.well-known/openid-configuration/tenant1",
		"/tenant1/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		resp, _ := get(t, base+path, nil)
		got[path] = resp.StatusCode
	}
	want := map[string]int{"/.well-known/oauth-authorization-server/tenant1": 200, "/.well-known/openid-configuration/tenant1": 200,
		"/tenant1/.well-known/openid-configuration": 200, "/.well-known/oauth-authorization-server": 404, "/.well-known/openid-configuration": 404}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	a := registered(t, w)
	if have := a.signIn(demo.Ada()); whoami(t, w, have.Access) == nil {
		t.Error("no answer from whoami")
	}
}

func TestTokenFaults(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	have := a.signIn(demo.Ada())
	send := func() (int, string, string) {
		resp, body := a.post("/token", "application/x-www-form-urlencoded", strings.NewReader(a.refreshForm(have.Refresh, nil).Encode()))
		return resp.StatusCode, resp.Header.Get("Content-Type"), between(string(body), `"error":"`, `"`)
	}
	for _, tt := range []struct {
		name              string
		faults            demo.Faults
		status            int
		contentType, code string
	}{
		{"status", demo.Faults{TokenStatus: 503}, 503, "", ""},
		{"error", demo.Faults{TokenError: "temporarily_unavailable"}, 400, "application/json", "temporarily_unavailable"},
		{"error with status", demo.Faults{TokenError: "slow_down", TokenStatus: 429}, 429, "application/json", "slow_down"},
		{"HTML", demo.Faults{TokenHTML: true}, 200, "text/html; charset=utf-8", ""},
		{"HTML with status", demo.Faults{TokenHTML: true, TokenStatus: 502}, 502, "text/html; charset=utf-8", ""},
		{"redirect", demo.Faults{TokenRedirect: "https://evil.example/token"}, 307, "", ""},
	} {
		w.IdP.SetFaults(tt.faults)
		status, contentType, code := send()
		if status != tt.status || contentType != tt.contentType || code != tt.code {
			t.Errorf("%s: got %d %q %q", tt.name, status, contentType, code)
		}
	}
	w.IdP.SetFaults(demo.Faults{})
	a.mustToken(a.refreshForm(have.Refresh, nil)) // no fault has spent the token
	if got := w.IdP.Counts().TokenRequests["refresh_token"]; got != 7 {
		t.Errorf("%d refreshes counted, want 7", got)
	}
}

// TestDelays: what is held back is held back until the caller leaves.
func TestDelays(t *testing.T) {
	w := start(t, demo.Config{})
	w.IdP.SetFaults(demo.Faults{MetadataDelay: time.Hour, TokenDelay: time.Hour})
	for method, path := range map[string]string{http.MethodGet: "/.well-known/oauth-authorization-server", http.MethodPost: "/token"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		req := newRequest(t, method, w.Issuer()+path, "", nil).WithContext(ctx)
		if resp, err := http.DefaultClient.Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v %v", path, resp, err)
		}
		cancel()
	}
}

// TestLostAnswer: the provider has rotated, the client has not heard of it.
func TestLostAnswer(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	have := a.signIn(demo.Ada())
	w.IdP.SetFaults(demo.Faults{TokenLost: true})
	form := a.refreshForm(have.Refresh, nil)
	req := newRequest(t, http.MethodPost, a.issuer+"/token", form.Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	if resp, err := http.DefaultClient.Do(req); err == nil {
		t.Fatalf("got an answer: %d", resp.StatusCode)
	}
	w.IdP.SetFaults(demo.Faults{})
	if got := a.refused(form); got != "Bad Request invalid_grant" {
		t.Errorf("the spent token: %s", got)
	}
}

func TestRefreshFaults(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	w.IdP.SetFaults(demo.Faults{NoRotation: true})
	have := a.signIn(demo.Ada())
	for range 2 {
		if got := a.mustToken(a.refreshForm(have.Refresh, nil)); got.Refresh != "" || got.Access == have.Access {
			t.Errorf("without rotation: refresh token %t, new access token %t", got.Refresh != "", got.Access != have.Access)
		}
	}
	w.IdP.SetFaults(demo.Faults{NoRefreshTokens: true})
	if got := a.signIn(demo.Ada()); got.Refresh != "" {
		t.Error("a refresh token in spite of NoRefreshTokens")
	}
	w.IdP.SetFaults(demo.Faults{OfflineAccessOnly: true})
	if got := a.signIn(demo.Ada()); got.Refresh == "" {
		t.Error("no refresh token in spite of offline_access")
	}
	a.scope = "mcp"
	if got := a.signIn(demo.Ada()); got.Refresh != "" {
		t.Error("a refresh token without offline_access")
	}
}

func TestIssFaults(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	for name, tt := range map[string]struct {
		faults demo.Faults
		want   []string
	}{
		"right":   {demo.Faults{}, []string{w.Issuer()}},
		"wrong":   {demo.Faults{WrongIss: "https://evil.example"}, []string{"https://evil.example"}},
		"missing": {demo.Faults{NoIss: true}, nil},
	} {
		w.IdP.SetFaults(tt.faults)
		success, failure := a.authorize(demo.Human{}, demo.Ada(), nil), a.authorize(demo.Human{Deny: true}, demo.Ada(), nil)
		if diff := cmp.Diff([][]string{tt.want, tt.want}, [][]string{success["iss"], failure["iss"]}); diff != "" {
			t.Errorf("%s: iss of success and failure (-want +got):\n%s", name, diff)
		}
	}
}

func TestRegistrationFaults(t *testing.T) {
	w := start(t, demo.Config{})
	a := newApp(t, w)
	body := map[string]any{"redirect_uris": []string{"https://app.example/"}}
	w.IdP.SetFaults(demo.Faults{RegistrationError: "invalid_redirect_uri"})
	if status, answer := a.postJSON("/register", body); status != http.StatusBadRequest || answer["error"] != "invalid_redirect_uri" {
		t.Errorf("refused: %d %v", status, answer)
	}
	w.IdP.SetFaults(demo.Faults{NoRegistration: true})
	if resp, _ := a.post("/register", "application/json", strings.NewReader("{}")); resp.StatusCode != http.StatusNotFound {
		t.Errorf("absent: %d", resp.StatusCode)
	}
}

// TestTokenLifetime changes while the provider runs.
func TestTokenLifetime(t *testing.T) {
	clock := newClock()
	w := start(t, demo.Config{Now: clock.Now})
	a := registered(t, w)
	first := a.signIn(demo.Ada())
	w.IdP.SetTokenLifetime(time.Millisecond) // a second is the least
	second := a.mustToken(a.refreshForm(first.Refresh, nil))
	if diff := cmp.Diff([]int{300, 1}, []int{first.ExpiresIn, second.ExpiresIn}); diff != "" {
		t.Errorf("expires_in (-want +got):\n%s", diff)
	}
	statuses := func() (got []int) {
		for _, token := range []string{first.Access, second.Access} {
			resp, _ := post(t, w.URL(), token, initialize)
			got = append(got, resp.StatusCode)
		}
		return got
	}
	clock.advance(900 * time.Millisecond)
	if diff := cmp.Diff([]int{200, 200}, statuses()); diff != "" {
		t.Errorf("after 0.9 s (-want +got):\n%s", diff)
	}
	clock.advance(100 * time.Millisecond)
	if diff := cmp.Diff([]int{200, 401}, statuses()); diff != "" {
		t.Errorf("after 1 s (-want +got):\n%s", diff)
	}
}

func TestAddresses(t *testing.T) {
	for _, cfg := range []demo.Config{
		{IdP: demo.IdPConfig{Addr: "0.0.0.0:0"}}, {IdP: demo.IdPConfig{Addr: "127.0.0.1"}}, {IdP: demo.IdPConfig{Path: "tenant"}},
		{IdP: demo.IdPConfig{Path: "/a/"}}, {IdP: demo.IdPConfig{Path: "/{x}"}}, {Server: demo.ServerConfig{Path: "/{x"}},
		{Server: demo.ServerConfig{Path: "/.well-known/x"}}, {Server: demo.ServerConfig{Path: "/broken/x"}},
		{Server: demo.ServerConfig{Addr: "example.com:0"}},
	} {
		if w, err := demo.Start(t.Context(), cfg); err == nil {
			t.Errorf("started at %s and %s", w.Issuer(), w.URL())
			_ = w.Close()
		}
	}
	if s, err := demo.StartServer(t.Context(), demo.ServerConfig{}); err == nil {
		t.Errorf("a server that trusts nobody started at %s", s.URL())
	}
}

// TestForeignHost: a page whose name points here (DNS rebinding) is not answered.
func TestForeignHost(t *testing.T) {
	w := start(t, demo.Config{})
	for _, address := range []string{w.Issuer() + "/jwks", w.URL()} {
		req := newRequest(t, http.MethodGet, address, "", nil)
		req.Host = "evil.example:80"
		if resp, _ := do(t, req); resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s answered %d", address, resp.StatusCode)
		}
	}
}

// TestEndOfContext: a world ends with the context it was started with, also while a request hangs, and closing it
// again is harmless.
func TestEndOfContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := demo.Start(ctx, demo.Config{})
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	arrived := make(chan struct{})
	w.Server.SetIntercept(func(http.ResponseWriter, *http.Request) bool { close(arrived); return false })
	go func() {
		_, err := http.Post(w.Server.BrokenURL("hang"), "application/json", strings.NewReader("{}"))
		failed <- err
	}()
	<-arrived
	cancel()
	if err := <-failed; err == nil {
		t.Error("a request was answered after the end")
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Errorf("close after the end: %v", err)
	}
	if _, err := http.Get(w.Issuer() + "/jwks"); err == nil {
		t.Error("the provider still answers")
	}
}

// TestAdministration is what tests and the demo command change while a provider runs.
func TestAdministration(t *testing.T) {
	w := start(t, demo.Config{IdP: demo.IdPConfig{Users: []demo.User{}, Scopes: []string{"mcp"}, Resources: []string{"https://other.example/mcp"}}})
	a := registered(t, w)
	a.scope = ""
	u := demo.User{Name: "x", Password: demo.Ada().Password}
	w.IdP.AddUser(u)
	for _, resource := range []string{"https://other.example/mcp", w.URL(), w.Server.Origin()} {
		a.resource = resource
		var got struct{ Aud, Sub, Scope string }
		raw, err := json.Marshal(claims(t, a.signIn(u).Access))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if want := (struct{ Aud, Sub, Scope string }{resource, "x", "mcp"}); got != want {
			t.Errorf("claims (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
	if _, err := (demo.Human{}).SignIn(t.Context(), a.authorizationURL(url.Values{"state": {""}}), "ada", u.Password); err == nil {
		t.Error("a user who was not configured signed in")
	}
}
