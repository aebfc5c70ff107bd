package demo_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
)

// TestAuthorizationRefusals: errors that the client may know go to its redirect URI, with state and iss.
func TestAuthorizationRefusals(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	for _, tt := range []struct {
		name   string
		change url.Values
		want   string
	}{
		{"no PKCE", url.Values{"code_challenge": {""}}, "invalid_request"},
		{"plain PKCE", url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		{"no PKCE method", url.Values{"code_challenge_method": {""}}, "invalid_request"},
		{"short challenge", url.Values{"code_challenge": {"abc"}}, "invalid_request"},
		{"repeated state", url.Values{"state": {"st", "st"}}, "invalid_request"},
		{"implicit grant", url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		{"no resource", url.Values{"resource": {""}}, "invalid_target"},
		{"unknown resource", url.Values{"resource": {"https://elsewhere.example/mcp"}}, "invalid_target"},
		{"two resources", url.Values{"resource": {w.URL(), w.URL()}}, "invalid_target"},
		{"unknown scope", url.Values{"scope": {"mcp everything"}}, "invalid_scope"},
		{"nobody may be asked", url.Values{"prompt": {"none"}}, "interaction_required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := a.authorize(demo.Human{}, demo.Ada(), tt.change)
			got.Del("error_description")
			if diff := cmp.Diff(url.Values{"error": {tt.want}, "state": {"st"}, "iss": {w.Issuer()}}, got); diff != "" {
				t.Errorf("authorization response (-want +got):\n%s", diff)
			}
		})
	}
	if got := w.IdP.Counts().AuthorizationRequests; got != 0 {
		t.Errorf("%d refused requests were counted as valid", got)
	}
}

// TestAuthorizationDeadEnds: without a redirect URI to trust, nobody is redirected.
func TestAuthorizationDeadEnds(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	for name, change := range map[string]url.Values{
		"unknown client":      {"client_id": {"stranger"}},
		"no client":           {"client_id": {""}},
		"two clients":         {"client_id": {a.id, "stranger"}},
		"no redirect URI":     {"redirect_uri": {""}},
		"two redirect URIs":   {"redirect_uri": {a.redirect, "https://evil.example/"}},
		"other redirect URI":  {"redirect_uri": {"https://evil.example/"}},
		"longer redirect URI": {"redirect_uri": {a.redirect + "/more"}},
		"other port":          {"redirect_uri": {"http://127.0.0.1:1/callback"}},
		"unreachable CIMD":    {"client_id": {"http://127.0.0.1:1/client.json"}},
	} {
		resp, body := get(t, a.authorizationURL(change), nil)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "This cannot go on") {
			t.Errorf("%s: got %d %s", name, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
}

// TestLoopbackPorts is RFC 8252 §7.3, where it is switched on.
func TestLoopbackPorts(t *testing.T) {
	w := start(t, demo.Config{IdP: demo.IdPConfig{AnyLoopbackPort: true, Clients: []demo.Client{
		{ID: "loopback", RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "web", RedirectURIs: []string{"https://app.example/callback", "http://app.example/callback", "https://127.0.0.1/callback"}},
	}}})
	a := newApp(t, w)
	got := map[string]int{}
	for _, to := range []string{"http://127.0.0.1:5000/callback", "http://127.0.0.1:5000/other", "http://[::1]:5000/callback",
		"http://localhost:5000/callback", "https://127.0.0.1:5000/callback", "http://127.0.0.1:5000/callback?x"} {
		resp, _ := get(t, a.authorizationURL(url.Values{"client_id": {"loopback"}, "redirect_uri": {to}}), nil)
		got[to] = resp.StatusCode
	}
	want := map[string]int{"http://127.0.0.1:5000/callback": 303, "http://127.0.0.1:5000/other": 400,
		"http://[::1]:5000/callback": 400, "http://localhost:5000/callback": 400, "https://127.0.0.1:5000/callback": 400,
		"http://127.0.0.1:5000/callback?x": 400}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	for _, to := range []string{"https://app.example:5000/callback", "http://app.example:5000/callback", "https://127.0.0.1:5000/callback"} {
		resp, _ := get(t, a.authorizationURL(url.Values{"client_id": {"web"}, "redirect_uri": {to}}), nil)
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("the port varied in %s: %d", to, resp.StatusCode)
		}
	}
}

// TestTokenRefusals: each wrong request is refused, and none of them spends the code.
func TestTokenRefusals(t *testing.T) {
	clock := newClock()
	w := start(t, demo.Config{Now: clock.Now})
	a := registered(t, w)
	other := registered(t, w)
	code := a.authorize(demo.Human{}, demo.Ada(), nil).Get("code")
	for _, tt := range []struct {
		name   string
		change url.Values
		want   string
	}{
		{"wrong verifier", url.Values{"code_verifier": {strings.Repeat("x", 43)}}, "Bad Request invalid_grant"},
		{"no verifier", url.Values{"code_verifier": {""}}, "Bad Request invalid_grant"},
		{"other redirect URI", url.Values{"redirect_uri": {"https://evil.example/"}}, "Bad Request invalid_grant"},
		{"other client", url.Values{"client_id": {other.id}}, "Bad Request invalid_grant"},
		{"unknown code", url.Values{"code": {"guess"}}, "Bad Request invalid_grant"},
		{"no resource", url.Values{"resource": {""}}, "Bad Request invalid_target"},
		{"other resource", url.Values{"resource": {w.Server.Origin()}}, "Bad Request invalid_target"},
		{"unknown client", url.Values{"client_id": {"stranger"}}, "Unauthorized invalid_client"},
		{"needless secret", url.Values{"client_secret": {"x"}}, "Unauthorized invalid_client"},
		{"other grant", url.Values{"grant_type": {"password"}}, "Bad Request unsupported_grant_type"},
		{"repeated parameter", url.Values{"code": {code, code}}, "Bad Request invalid_request"},
	} {
		if got := a.refused(a.codeForm(code, tt.change)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	have := a.mustToken(a.codeForm(code, nil))
	for _, tt := range []struct {
		name   string
		change url.Values
		want   string
	}{
		{"other client", url.Values{"client_id": {other.id}}, "Bad Request invalid_grant"},
		{"unknown token", url.Values{"refresh_token": {"guess"}}, "Bad Request invalid_grant"},
		{"no resource", url.Values{"resource": {""}}, "Bad Request invalid_target"},
		{"more scope", url.Values{"scope": {"mcp mcp:admin"}}, "Bad Request invalid_scope"},
	} {
		if got := a.refused(a.refreshForm(have.Refresh, tt.change)); got != tt.want {
			t.Errorf("refresh, %s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := a.mustToken(a.refreshForm(have.Refresh, url.Values{"scope": {"mcp"}})); got.Scope != "mcp" {
		t.Errorf("a narrower refresh got scope %q", got.Scope)
	}
	late := a.authorize(demo.Human{}, demo.Ada(), nil).Get("code")
	clock.advance(61 * time.Second)
	if got := a.refused(a.codeForm(late, nil)); got != "Bad Request invalid_grant" {
		t.Errorf("an old code: %s", got)
	}
	w.IdP.RemoveClient(a.id)
	if got := a.refused(a.refreshForm("any", nil)); got != "Unauthorized invalid_client" {
		t.Errorf("a forgotten client: %s", got)
	}
}

// TestClientAuthentication: a client authenticates in its one way and in no other.
func TestClientAuthentication(t *testing.T) {
	clients := []demo.Client{
		{ID: "basic app", Secret: secret.New("s:1/ü"), RedirectURIs: []string{"https://app.example/"}},
		{ID: "post app", Secret: secret.New("s2"), AuthMethod: "client_secret_post", RedirectURIs: []string{"https://app.example/"}},
	}
	w := start(t, demo.Config{IdP: demo.IdPConfig{Clients: clients}})
	a := newApp(t, w)
	send := func(form url.Values, basic string) string {
		h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		if basic != "" {
			h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(basic)))
		}
		_, body := do(t, newRequest(t, http.MethodPost, a.issuer+"/token", form.Encode(), h))
		return between(string(body), `"error":"`, `"`)
	}
	form := func(id, text string) url.Values {
		return changed(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}},
			url.Values{"client_id": {id}, "client_secret": {text}})
	}
	for _, tt := range []struct {
		name, want string
		form       url.Values
		basic      string
	}{
		// invalid_grant is what comes after the client was believed.
		{"basic, encoded", "invalid_grant", form("", ""), "basic+app:s%3A1%2F%C3%BC"},
		{"basic with client_id", "invalid_grant", form("basic app", ""), "basic+app:s%3A1%2F%C3%BC"},
		{"post", "invalid_grant", form("post app", "s2"), ""},
		{"wrong secret", "invalid_client", form("", ""), "basic+app:wrong"},
		{"basic client by post", "invalid_client", form("basic app", "s:1/ü"), ""},
		{"post client by basic", "invalid_client", form("", ""), "post+app:s2"},
		{"no secret", "invalid_client", form("post app", ""), ""},
		{"both ways", "invalid_request", form("", "s2"), "post+app:s2"},
		{"two clients", "invalid_request", form("post app", ""), "basic+app:s%3A1%2F%C3%BC"},
	} {
		if got := send(tt.form, tt.basic); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestRegistrationRefusals(t *testing.T) {
	w := start(t, demo.Config{})
	a := newApp(t, w)
	for _, tt := range []struct {
		name string
		body map[string]any
		want string
	}{
		{"loopback without native", map[string]any{"redirect_uris": []string{a.redirect}}, "invalid_redirect_uri"},
		{"loopback for web", map[string]any{"redirect_uris": []string{a.redirect}, "application_type": "web"}, "invalid_redirect_uri"},
		{"http elsewhere", map[string]any{"redirect_uris": []string{"http://app.example/"}, "application_type": "native"}, "invalid_redirect_uri"},
		{"script", map[string]any{"redirect_uris": []string{"javascript:alert(1)"}, "application_type": "native"}, "invalid_redirect_uri"},
		{"fragment", map[string]any{"redirect_uris": []string{"https://app.example/#"}}, "invalid_redirect_uri"},
		{"relative", map[string]any{"redirect_uris": []string{"/callback"}}, "invalid_redirect_uri"},
		{"none", map[string]any{}, "invalid_redirect_uri"},
		{"unknown scope", map[string]any{"redirect_uris": []string{"https://app.example/"}, "scope": "mcp root"}, "invalid_client_metadata"},
		{"unknown method", map[string]any{"redirect_uris": []string{"https://app.example/"}, "token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"},
		{"unknown grant", map[string]any{"redirect_uris": []string{"https://app.example/"}, "grant_types": []string{"implicit"}}, "invalid_client_metadata"},
		{"unknown type", map[string]any{"redirect_uris": []string{"https://app.example/"}, "application_type": "toaster"}, "invalid_client_metadata"},
	} {
		status, answer := a.postJSON("/register", tt.body)
		if status != http.StatusBadRequest || answer["error"] != tt.want {
			t.Errorf("%s: got %d %v, want %s", tt.name, status, answer, tt.want)
		}
	}
	resp, _ := a.post("/register", "application/json", strings.NewReader("not json"))
	if resp.StatusCode != http.StatusBadRequest || w.IdP.Counts().Registrations != 0 {
		t.Errorf("nonsense got %d; %d registrations", resp.StatusCode, w.IdP.Counts().Registrations)
	}
}

// TestRegistrationBinds: what a client registers is what it is held to (RFC 7591 §2).
func TestRegistrationBinds(t *testing.T) {
	w := start(t, demo.Config{})
	a := newApp(t, w)
	status, answer := a.postJSON("/register", map[string]any{"application_type": "native", "scope": "mcp",
		"redirect_uris": []string{a.redirect}, "token_endpoint_auth_method": "none"})
	if status != http.StatusCreated {
		t.Fatalf("registration answered %d %v", status, answer)
	}
	a.id = answer["client_id"].(string)
	if got := a.authorize(demo.Human{}, demo.Ada(), nil).Get("error"); got != "invalid_scope" {
		t.Errorf("a scope that was not registered: %q", got)
	}
	a.scope = "mcp"
	if have := a.signIn(demo.Ada()); have.Refresh != "" {
		t.Error("a client that did not register for refresh_token got one")
	}
	if got := a.refused(a.refreshForm("x", nil)); got != "Bad Request unauthorized_client" {
		t.Errorf("refresh: %s", got)
	}
}

// TestClientDocuments is draft-ietf-oauth-client-id-metadata-document-00.
func TestClientDocuments(t *testing.T) {
	w := start(t, demo.Config{})
	a := newApp(t, w)
	var document string
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/client.json", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(document))
	}))
	defer host.Close()
	a.id = host.URL + "/client.json"
	good := `{"client_id":"` + a.id + `","client_name":"Doc","redirect_uris":["` + a.redirect +
		`"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"]}`
	const unusable, unregistered = "metadata document cannot be used", "redirect URI is not registered"
	moved := url.Values{"client_id": {host.URL + "/moved"}}
	for name, tt := range map[string]struct {
		document string
		change   url.Values
		want     string
	}{
		"other id":      {strings.Replace(good, "client.json", "other.json", 1), nil, unusable},
		"no redirects":  {strings.Replace(good, `"`+a.redirect+`"`, "", 1), nil, unusable},
		"confidential":  {strings.Replace(good, `"none"`, `"client_secret_basic"`, 1), nil, unusable},
		"script":        {strings.Replace(good, a.redirect, "javascript:alert(1)", 1), nil, unusable},
		"too long":      {strings.Replace(good, "Doc", strings.Repeat("D", 6000), 1), nil, unusable},
		"not json":      {"<html>", nil, unusable},
		"redirected":    {strings.Replace(good, "client.json", "moved", 1), moved, unusable},
		"other address": {strings.Replace(good, a.redirect, "http://127.0.0.1:1/callback", 1), nil, unregistered},
	} {
		document = tt.document
		resp, body := get(t, a.authorizationURL(tt.change), nil)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), tt.want) {
			t.Errorf("%s: got %d %s", name, resp.StatusCode, body)
		}
	}
	document = good
	if have := a.signIn(demo.Ada()); have.Refresh == "" {
		t.Error("no refresh token for a client with a document")
	}
	w.IdP.SetFaults(demo.Faults{NoClientDocuments: true})
	w.IdP.RemoveClient(a.id)
	if resp, _ := get(t, a.authorizationURL(nil), nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without support: got %d", resp.StatusCode)
	}
}
