package demo_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"drawbridge/internal/demo"
	"drawbridge/internal/demo/sdk"
)

// start runs a world for one test.
func start(t *testing.T, cfg demo.Config) *demo.World {
	t.Helper()
	cfg.Server.Engine = sdk.New
	w, err := demo.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return w
}

// app is a client application, written by hand after the RFCs: it knows the provider only through HTTP.
type app struct {
	t        *testing.T
	issuer   string
	resource string
	id       string
	redirect string
	scope    string
	verifier string
	answers  chan url.Values // what arrived at the redirect URI
}

// newApp starts the redirect URI of an application that has no client id yet.
func newApp(t *testing.T, w *demo.World) *app {
	t.Helper()
	a := &app{t: t, issuer: w.Issuer(), resource: w.URL(), scope: "mcp offline_access",
		verifier: oauth2.GenerateVerifier(), answers: make(chan url.Values, 10)}
	callback := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.answers <- r.URL.Query()
		_, _ = io.WriteString(w, "<h1>Back in the program</h1>")
	}))
	t.Cleanup(callback.Close)
	a.redirect = callback.URL + "/callback"
	return a
}

// registered is an application that has registered itself as a native public client.
func registered(t *testing.T, w *demo.World) *app {
	t.Helper()
	a := newApp(t, w)
	status, answer := a.postJSON("/register", map[string]any{
		"client_name": "Test program", "application_type": "native", "token_endpoint_auth_method": "none",
		"redirect_uris": []string{a.redirect}, "grant_types": []string{"authorization_code", "refresh_token"}})
	if status != http.StatusCreated {
		t.Fatalf("registration answered %d %v", status, answer)
	}
	a.id = answer["client_id"].(string)
	return a
}

// authorizationURL is a good request, with changes: an empty value removes a parameter.
func (a *app) authorizationURL(changes url.Values) string {
	q := url.Values{"response_type": {"code"}, "client_id": {a.id}, "redirect_uri": {a.redirect}, "state": {"st"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(a.verifier)}, "code_challenge_method": {"S256"},
		"resource": {a.resource}, "scope": {a.scope}}
	return a.issuer + "/authorize?" + changed(q, changes).Encode()
}

func changed(q, changes url.Values) url.Values {
	for name, values := range changes {
		q[name] = values
		if len(values) == 1 && values[0] == "" {
			q.Del(name)
		}
	}
	return q
}

// authorize lets a human answer an authorization request, and returns what the application was told.
func (a *app) authorize(h demo.Human, u demo.User, changes url.Values) url.Values {
	a.t.Helper()
	page, err := h.SignIn(a.t.Context(), a.authorizationURL(changes), u.Name, u.Password)
	if err != nil {
		a.t.Fatal(err)
	}
	if page != "Back in the program" {
		a.t.Errorf("the human ended on %q", page)
	}
	return <-a.answers
}

// signIn is the whole code flow.
func (a *app) signIn(u demo.User) tokens {
	a.t.Helper()
	answer := a.authorize(demo.Human{}, u, nil)
	return a.mustToken(a.codeForm(answer.Get("code"), nil))
}

func (a *app) codeForm(code string, changes url.Values) url.Values {
	return changed(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {a.id},
		"redirect_uri": {a.redirect}, "code_verifier": {a.verifier}, "resource": {a.resource}}, changes)
}

func (a *app) refreshForm(token string, changes url.Values) url.Values {
	return changed(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {a.id},
		"resource": {a.resource}}, changes)
}

// tokens is the answer of the token endpoint.
type tokens struct {
	Access           string `json:"access_token"`
	Type             string `json:"token_type"`
	ExpiresIn        int    `json:"expires_in"`
	Refresh          string `json:"refresh_token"`
	Scope            string `json:"scope"`
	ID               string `json:"id_token"`
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

func (a *app) token(form url.Values) (int, tokens) {
	a.t.Helper()
	resp, body := a.post("/token", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	var got tokens
	if err := json.Unmarshal(body, &got); err != nil {
		a.t.Fatalf("token endpoint answered %d %q: %v", resp.StatusCode, body, err)
	}
	return resp.StatusCode, got
}

func (a *app) mustToken(form url.Values) tokens {
	a.t.Helper()
	status, got := a.token(form)
	if status != http.StatusOK {
		a.t.Fatalf("token endpoint answered %d %q %q", status, got.Error, got.ErrorDescription)
	}
	return got
}

// refused sends a form that must be refused, and returns "status error".
func (a *app) refused(form url.Values) string {
	a.t.Helper()
	status, got := a.token(form)
	return http.StatusText(status) + " " + got.Error
}

func (a *app) postJSON(path string, v any) (int, map[string]any) {
	a.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		a.t.Fatal(err)
	}
	resp, raw := a.post(path, "application/json", bytes.NewReader(body))
	var answer map[string]any
	if err := json.Unmarshal(raw, &answer); err != nil {
		a.t.Fatalf("%s answered %q: %v", path, raw, err)
	}
	return resp.StatusCode, answer
}

func (a *app) post(path, contentType string, body io.Reader) (*http.Response, []byte) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.issuer+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	return do(a.t, req)
}

// do sends a request and follows no redirect.
func do(t *testing.T, req *http.Request) (*http.Response, []byte) {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second, CheckRedirect: stay}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func get(t *testing.T, address string, header http.Header) (*http.Response, []byte) {
	t.Helper()
	return do(t, newRequest(t, http.MethodGet, address, "", header))
}

func newRequest(t *testing.T, method, address, body string, header http.Header) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	return req
}

func getJSON[T any](t *testing.T, address string) (v T) {
	t.Helper()
	resp, body := get(t, address, nil)
	if err := json.Unmarshal(body, &v); resp.StatusCode != http.StatusOK || err != nil {
		t.Fatalf("GET %s answered %d %q: %v", address, resp.StatusCode, body, err)
	}
	return v
}

// clock is a clock that tests move.
type clock struct{ now chan time.Time }

func newClock() *clock {
	c := &clock{make(chan time.Time, 1)}
	c.now <- time.Now()
	return c
}

func (c *clock) Now() time.Time {
	now := <-c.now
	c.now <- now
	return now
}

func (c *clock) advance(d time.Duration) { c.now <- (<-c.now).Add(d) }

func randomText() string { return rand.Text() }
