package auth

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// registration returns the client registration in the store.
func (st *stage) registration() (tokenstore.Registration, error) {
	return tokenstore.LoadRegistration(st.t.Context(), st.store, tokenstore.RegistrationName(st.Issuer()))
}

// TestRegistrationRequest checks every member of what is sent.
func TestRegistrationRequest(t *testing.T) {
	st := newStage(t)
	bodies := make(chan []byte, 1)
	st.IdP.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/register" {
			body, _ := io.ReadAll(r.Body) // compared below
			bodies <- body
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}
		return false
	})
	_, redirect, _ := st.pending(st.session())
	var got object
	if err := json.Unmarshal(<-bodies, &got); err != nil {
		t.Fatal(err)
	}
	want := object{
		"client_name": "Drawbridge", "application_type": "native", "redirect_uris": []any{redirect.String()},
		"grant_types": []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"},
		"token_endpoint_auth_method": "none",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registration (-want +got):\n%s", diff)
	}
}

// TestBusyPort registers again when the port of the registered redirect URI is taken.
func TestBusyPort(t *testing.T) {
	st := newStage(t)
	s := st.session()
	_, first, _ := st.pending(s)
	s.Close()
	ln, err := net.Listen("tcp", first.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	st.mustCall(st.session())
	reg, err := st.registration()
	if err != nil || reg.RedirectURI == first.String() {
		t.Errorf("the registration is for %s, %v", reg.RedirectURI, err)
	}
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 2})
}

// TestRegistrationThatNoLongerServes makes another one for an expired secret or another callback.
func TestRegistrationThatNoLongerServes(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*tokenstore.Registration)
		config func(*Config)
		anew   bool
	}{
		"as it was":       {},
		"expired secret":  {edit: func(r *tokenstore.Registration) { r.SecretExpiry = time.Now().Add(30 * time.Second) }, anew: true},
		"living secret":   {edit: func(r *tokenstore.Registration) { r.SecretExpiry = time.Now().Add(time.Hour) }},
		"another path":    {config: func(c *Config) { c.Callback.Path = "/other" }, anew: true},
		"another host":    {config: func(c *Config) { c.Callback.Host = "localhost" }, anew: true},
		"not one of ours": {edit: func(r *tokenstore.Registration) { r.RedirectURI = "https://evil.example/cb" }, anew: true},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t)
			st.mustCall(st.session())
			reg, err := st.registration()
			if err != nil {
				t.Fatal(err)
			}
			if c.edit != nil {
				c.edit(&reg)
			}
			if err := tokenstore.SaveRegistration(t.Context(), st.store, reg); err != nil {
				t.Fatal(err)
			}
			edit := c.config
			if edit == nil {
				edit = func(*Config) {}
			}
			if _, err := st.session(edit).SignIn(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := st.tally().Registrations == 2; got != c.anew {
				t.Errorf("registered anew: %v", got)
			}
		})
	}
}

func TestParseRegistration(t *testing.T) {
	const issuer, redirect = "https://idp", "http://127.0.0.1:1/callback"
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   tokenstore.Client
		expiry time.Time
		err    string
	}{
		{name: "public", status: 201, body: `{"client_id":"c"}`, want: tokenstore.Client{ID: "c", AuthMethod: "none"}},
		{name: "200", status: 200, body: `{"client_id":"c","redirect_uris":["` + redirect + `"]}`, want: tokenstore.Client{ID: "c", AuthMethod: "none"}},
		{name: "a secret all the same", status: 201, body: `{"client_id":"c","client_secret":"s","client_secret_expires_at":0}`,
			want: tokenstore.Client{ID: "c", Secret: secret.New("s"), AuthMethod: "client_secret_basic"}},
		{name: "post", status: 201, body: `{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"client_secret_post","client_secret_expires_at":1700000000}`,
			want: tokenstore.Client{ID: "c", Secret: secret.New("s"), AuthMethod: "client_secret_post"}, expiry: time.Unix(1700000000, 0).UTC()},
		{name: "a method without secret", status: 201, body: `{"client_id":"c","token_endpoint_auth_method":"client_secret_basic"}`,
			want: tokenstore.Client{ID: "c", AuthMethod: "none"}},
		{name: "a method unknown here", status: 201, body: `{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"private_key_jwt"}`, err: "private_key_jwt"},
		{name: "another redirect URI", status: 201, body: `{"client_id":"c","redirect_uris":["https://evil.example/cb"]}`, err: "replaced the redirect URI"},
		{name: "refused", status: 400, body: `{"error":"invalid_redirect_uri","error_description":"no loopback"}`, err: `"invalid_redirect_uri": "no loopback"`},
		{name: "closed", status: 403, body: `<html>`, err: "status 403"},
		{name: "no id", status: 201, body: `{}`, err: "no client_id"},
		{name: "truncated", status: 201, body: `{"client_id":"c"`, err: "no client_id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			reg, err := parseRegistration(answer{status: c.status, body: []byte(c.body)}, issuer, redirect)
			wantError(t, err, c.err)
			want := tokenstore.Registration{}
			if c.err == "" {
				want = tokenstore.Registration{Issuer: issuer, RedirectURI: redirect, Client: c.want, SecretExpiry: c.expiry}
			}
			if diff := cmp.Diff(want, reg); diff != "" {
				t.Errorf("registration (-want +got):\n%s", diff)
			}
		})
	}
}

// free returns a loopback port that was free a moment ago.
func free(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// TestPreRegistered signs in as a client that somebody registered, public and with a secret by either method.
func TestPreRegistered(t *testing.T) {
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			st := newStage(t)
			callback := CallbackConfig{Port: free(t)}
			client := demo.Client{ID: "corp:client/1", AuthMethod: method, RedirectURIs: []string{callback.named().uri(0)}}
			if method != "none" {
				client.Secret = secret.New("CANARY secret +%&")
			}
			st.IdP.AddClient(client)
			st.IdP.SetIntercept(supporting(st.Issuer(), method))
			s := st.session(func(c *Config) {
				c.Callback, c.Client = callback, ClientIdentity{ID: client.ID, Secret: client.Secret}
			})
			st.mustCall(s)
			st.clock.advance(time.Hour)
			st.mustCall(s)
			st.wantTally(tally{Tabs: 1, SignIns: 1, Refreshes: 1})
			if strings.Contains(st.said.String(), "CANARY secret") {
				t.Error("the client secret is in the log")
			}
		})
	}
}

// supporting makes a provider list one method of client authentication.
func supporting(issuer, method string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
			return false
		}
		doc := with(goodMetadata(issuer), "token_endpoint_auth_methods_supported", []string{method})
		doc["scopes_supported"], doc["jwks_uri"] = []string{"offline_access"}, issuer+"/jwks"
		answerJSON(doc)(w, r)
		return true
	}
}

// TestPreRegisteredClientIsTheirsToCorrect asks nobody to sign in when the provider refuses a configured client.
func TestPreRegisteredClientIsTheirsToCorrect(t *testing.T) {
	st := newStage(t)
	callback := CallbackConfig{Port: free(t)}
	st.IdP.AddClient(demo.Client{ID: "corp", RedirectURIs: []string{callback.named().uri(0)}})
	s := st.session(func(c *Config) { c.Callback, c.Client.ID = callback, "corp" })
	st.mustCall(s)
	st.IdP.RemoveClient("corp")
	st.clock.advance(time.Hour)
	_, err := st.call(s)
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "client id") {
		t.Errorf("call gave %v", err)
	}
	st.wantTally(tally{Tabs: 1, SignIns: 1})
	if _, err := st.stored(); err != nil {
		t.Errorf("the record is gone: %v", err)
	}
}

// TestClientMetadataDocument signs in with the URL of a document as the client id, where that is supported.
func TestClientMetadataDocument(t *testing.T) {
	callback := CallbackConfig{Port: free(t)}
	docs := newScript(t)
	id := docs.URL + "/client.json"
	docs.on("/client.json", answerJSON(object{
		"client_id": id, "client_name": "Drawbridge of Example", "redirect_uris": []string{callback.named().uri(0)},
		"token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code", "refresh_token"},
	}))
	config := func(c *Config) { c.Callback, c.Client.MetadataURL = callback, id }

	st := newStage(t)
	st.mustCall(st.session(config))
	st.wantTally(tally{Tabs: 1, SignIns: 1})
	if c, err := st.stored(); err != nil || c.Client.ID != id {
		t.Errorf("the client is %q, %v", c.Client.ID, err)
	}

	st = newStage(t) // not advertised: never sent
	st.IdP.SetFaults(demo.Faults{NoClientDocuments: true})
	st.mustCall(st.session(config))
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// TestNoWayToBeAClient names the redirect URI that an administrator has to register.
func TestNoWayToBeAClient(t *testing.T) {
	st := newStage(t)
	st.IdP.SetFaults(demo.Faults{NoRegistration: true})
	_, err := st.call(st.session())
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "http://127.0.0.1:17623/callback") || !strings.Contains(h.Hint(), "--client-id") {
		t.Errorf("call gave %v", err)
	}
	st.IdP.SetFaults(demo.Faults{RegistrationError: "invalid_redirect_uri"})
	_, err = st.call(st.session())
	wantError(t, err, `"invalid_redirect_uri"`)
}

// TestSecretStaysWithItsIssuer has a server name another authorization server once a client is in use at the first.
func TestSecretStaysWithItsIssuer(t *testing.T) {
	st := newStage(t)
	callback := CallbackConfig{Port: free(t)}
	client := ClientIdentity{ID: "corp", Secret: secret.New("CANARY-corp")}
	st.IdP.AddClient(demo.Client{ID: client.ID, Secret: client.Secret, RedirectURIs: []string{callback.named().uri(0)}})
	config := func(c *Config) { c.Callback, c.Client = callback, client }
	st.mustCall(st.session(config))

	evil := newScript(t)
	evil.on("/.well-known/oauth-authorization-server", answerJSON(goodMetadata(evil.URL)))
	st.Server.SetIntercept(naming(st.URL(), evil.URL))
	s := st.session(config)
	_, err := s.SignIn(t.Context())
	wantError(t, err, "belongs to the authorization server")
	if _, ok := s.Pending(); ok {
		t.Error("a sign-in is pending there")
	}
	if diff := cmp.Diff([]string{"/.well-known/oauth-authorization-server"}, evil.requests()); diff != "" {
		t.Errorf("the other server was asked (-want +got):\n%s", diff)
	}

	_, err = st.session(config, func(c *Config) { c.Issuer = st.Issuer() }).SignIn(t.Context())
	wantError(t, err, "not the pinned")

	// The hint is pasted into a shell: an issuer that a shell would run is not repeated in it.
	trap := evil.URL + "/$(id)"
	err = (&Session{cfg: Config{Store: st.store, Client: client}}).checkPin(t.Context(), trap)
	if wantError(t, err, "but the server now names"); strings.Contains(hintOf(err), "$") {
		t.Errorf("the hint is %q", hintOf(err))
	}

	// The user confirms the move; then it is the new issuer that the client belongs to.
	s = st.session(config, func(c *Config) { c.Issuer = evil.URL; c.Open = func(string) error { return nil } })
	p, _, _ := st.pendingAfterLogin(s)
	if !strings.HasPrefix(p.URL, evil.URL) {
		t.Errorf("the sign-in is at %.30s", p.URL)
	}
}

// pendingAfterLogin starts a sign-in as login does, and leaves it pending.
func (st *stage) pendingAfterLogin(s *Session) (SignIn, *url.URL, string) {
	st.t.Helper()
	if _, err := s.askUnprompted(st.t.Context()); err != nil {
		st.t.Fatal(err)
	}
	p, _ := s.Pending()
	u, err := url.Parse(p.URL)
	if err != nil {
		st.t.Fatal(err)
	}
	return p, u, u.Query().Get("state")
}

// naming makes a server name another authorization server.
func naming(server, issuer string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
			return false
		}
		answerJSON(object{"resource": server, "authorization_servers": []string{issuer}})(w, r)
		return true
	}
}

// TestMovedServer registers anew at another authorization server; credentials of the first are not taken along.
func TestMovedServer(t *testing.T) {
	st := newStage(t)
	st.mustCall(st.session())
	other := newScript(t)
	other.on("/.well-known/oauth-authorization-server", answerJSON(goodMetadata(other.URL)))
	other.on("/register", answerJSON(object{"client_id": "there"}))
	st.Server.SetIntercept(naming(st.URL(), other.URL))
	p, u, _ := st.pendingAfterLogin(st.session(func(c *Config) { c.Open = nil }))
	if u.Query().Get("client_id") != "there" || !strings.HasPrefix(p.URL, other.URL) {
		t.Errorf("the sign-in is %s", p.URL)
	}
	if reg, err := st.registration(); err != nil || reg.Client.ID == "there" {
		t.Errorf("the first registration is %q, %v", reg.Client.ID, err)
	}
}

func TestCallbackConfig(t *testing.T) {
	if got := (CallbackConfig{}).withDefaults().uri(0); got != "http://127.0.0.1:17623/callback" {
		t.Errorf("the default redirect URI is %s", got)
	}
	for _, c := range []struct {
		config CallbackConfig
		err    string
	}{
		{CallbackConfig{}, ""},
		{CallbackConfig{Host: "localhost", Port: 8080, Path: "/oauth/callback"}, ""},
		{CallbackConfig{Host: "::1"}, ""},
		{CallbackConfig{Host: "0.0.0.0"}, "callback host"},
		{CallbackConfig{Host: "example.com"}, "callback host"},
		{CallbackConfig{Port: 70000}, "callback port"},
		{CallbackConfig{Path: "callback"}, "callback path"},
		{CallbackConfig{Path: "/a b"}, "callback path"},
		{CallbackConfig{Path: "/a?b"}, "callback path"},
	} {
		wantError(t, c.config.check(), c.err)
	}
	for uri, want := range map[string]bool{
		"http://127.0.0.1:4711/callback":  true,
		"http://127.0.0.1:4711/other":     false,
		"http://localhost:4711/callback":  false,
		"https://127.0.0.1:4711/callback": false,
		"http://127.0.0.1/callback":       false,
		"":                                false,
	} {
		if got := (CallbackConfig{}).admits(uri); got != want {
			t.Errorf("%q is admitted: %v", uri, got)
		}
	}
}

// TestLocalhost listens on both families under one port, as a browser may try either.
func TestLocalhost(t *testing.T) {
	l, err := openLanding(CallbackConfig{Host: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	c, err := parseCallback(l.uri)
	if err != nil || c.Host != "localhost" {
		t.Fatalf("redirect URI %s, %v", l.uri, err)
	}
	for _, ln := range l.listeners {
		if ln.Addr().(*net.TCPAddr).Port != c.Port {
			t.Errorf("%v is not on port %d", ln.Addr(), c.Port)
		}
	}
	_, err = openLanding(c)
	wantError(t, err, "listen for the sign-in at")
}
