package guard_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/auth/guard"
	"drawbridge/internal/secret"
)

// mirrored is a configuration with a mirror.
func mirrored(change func(*guard.Mirror)) guard.Config {
	m := &guard.Mirror{ClientID: "public-client", RedirectURIs: []string{
		"http://127.0.0.1/callback", "http://localhost:4180/oauth/callback", "https://app.example.com/cb", "cursor://anysphere.cursor-retrieval/oauth",
	}}
	change(m)
	return guard.Config{Issuers: []guard.Issuer{{URL: issuer, Mirror: m}}}
}

func asIs(*guard.Mirror) {}

// pkce is metadata that lists S256.
func pkce(p *idp) { p.metadata = object{"code_challenge_methods_supported": []string{"S256"}} }

func get(h http.Handler, path string) (status int, body object) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	_ = json.Unmarshal(w.Body.Bytes(), &body)
	return w.Code, body
}

// TestMirror: the issuer's metadata under the resource's URL, with what holds there and nothing else.
func TestMirror(t *testing.T) {
	p := newIDP()
	p.metadata = object{
		"code_challenge_methods_supported": []string{"plain", "S256"}, "scopes_supported": []string{"openid"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic"}, "registration_endpoint": "https://idp.example.com/reg",
		"client_id_metadata_document_supported": true, "end_session_endpoint": "https://idp.example.com/logout",
	}
	s := protect(t, p, mirrored(asIs))
	want := object{
		"issuer": resource, "registration_endpoint": resource + "/oauth/register",
		"authorization_endpoint": "https://idp.example.com/tenant/authorize", "token_endpoint": "https://idp.example.com/tenant/token",
		"jwks_uri": "https://idp.example.com/tenant/keys", "scopes_supported": []any{"openid"},
		"code_challenge_methods_supported": []any{"plain", "S256"}, "token_endpoint_auth_methods_supported": []any{"none"},
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server/mcp", "/.well-known/openid-configuration/mcp", "/mcp/.well-known/openid-configuration"} {
		status, got := get(s, path)
		if diff := cmp.Diff(want, got); status != 200 || diff != "" {
			t.Errorf("%s: %d, -want +got\n%s", path, status, diff)
		}
	}
	if _, got := get(s, "/.well-known/oauth-protected-resource/mcp"); !cmp.Equal(got["authorization_servers"], any([]any{resource})) {
		t.Errorf("protected resource metadata: %v", got)
	}
	s.wantStatus(t, "a token of the issuer", accessToken(time.Now(), nil), 200)
	s.wantStatus(t, "a token of the mirror", accessToken(time.Now(), object{"iss": resource}), 401)
}

// TestNoMirror: without being asked for there is neither mirror nor registration.
func TestNoMirror(t *testing.T) {
	s := protect(t, newIDP(), guard.Config{})
	for _, path := range []string{"/.well-known/oauth-authorization-server/mcp", "/.well-known/openid-configuration/mcp", "/mcp/oauth/register"} {
		if status, _ := get(s, path); status != 401 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

// TestRegistration: everybody gets the one public client, for redirect URIs that the issuer has.
func TestRegistration(t *testing.T) {
	p := newIDP()
	pkce(p)
	s := protect(t, p, mirrored(asIs))
	for _, test := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"as registered", `{"redirect_uris":["https://app.example.com/cb"],"client_name":"x","token_endpoint_auth_method":"client_secret_basic"}`, 201, ""},
		{"application's scheme", `{"redirect_uris":["cursor://anysphere.cursor-retrieval/oauth"]}`, 201, ""},
		{"loopback, some port", `{"redirect_uris":["http://127.0.0.1:49152/callback"]}`, 201, ""},
		{"loopback, the port", `{"redirect_uris":["http://localhost:4180/oauth/callback"]}`, 201, ""},
		{"loopback, no port", `{"redirect_uris":["http://127.0.0.1/callback"]}`, 201, ""},
		{"several", `{"redirect_uris":["http://127.0.0.1:1/callback","https://app.example.com/cb"]}`, 201, ""},
		{"loopback, another port than the one", `{"redirect_uris":["http://localhost:4181/oauth/callback"]}`, 400, "invalid_redirect_uri"},
		{"loopback, another path", `{"redirect_uris":["http://127.0.0.1:1/other"]}`, 400, "invalid_redirect_uri"},
		{"loopback, more path", `{"redirect_uris":["http://127.0.0.1:1/callback/../evil"]}`, 400, "invalid_redirect_uri"},
		{"loopback as user", `{"redirect_uris":["http://127.0.0.1:1@evil.example.com/callback"]}`, 400, "invalid_redirect_uri"},
		{"a host that begins like it", `{"redirect_uris":["http://127.0.0.1.evil.example.com:1/callback"]}`, 400, "invalid_redirect_uri"},
		{"another host", `{"redirect_uris":["https://evil.example.com/cb"]}`, 400, "invalid_redirect_uri"},
		{"one of another host", `{"redirect_uris":["https://app.example.com/cb","https://evil.example.com/cb"]}`, 400, "invalid_redirect_uri"},
		{"query more", `{"redirect_uris":["https://app.example.com/cb?x"]}`, 400, "invalid_redirect_uri"},
		{"case", `{"redirect_uris":["https://APP.example.com/cb"]}`, 400, "invalid_redirect_uri"},
		{"none", `{}`, 400, "invalid_redirect_uri"},
		{"no JSON", `x`, 400, "invalid_client_metadata"},
		{"no list", `{"redirect_uris":"https://app.example.com/cb"}`, 400, "invalid_client_metadata"},
		{"too long", `{"x":"` + strings.Repeat("x", 64<<10) + `"}`, 400, "invalid_client_metadata"},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/mcp/oauth/register", strings.NewReader(test.body)))
		var got object
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		code, _ := got["error"].(string)
		if w.Code != test.status || code != test.code || w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: got %d %s", test.name, w.Code, w.Body)
		}
		if test.status == 201 && (got["client_id"] != "public-client" || got["client_secret"] != nil || got["token_endpoint_auth_method"] != "none") {
			t.Errorf("%s: got %s", test.name, w.Body)
		}
	}
	for method, status := range map[string]int{http.MethodOptions: 204, http.MethodGet: 405, http.MethodDelete: 405} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(method, "/mcp/oauth/register", nil))
		if w.Code != status {
			t.Errorf("%s: got %d", method, w.Code)
		}
	}
}

// TestMirrorConfig lists what cannot be mirrored.
func TestMirrorConfig(t *testing.T) {
	for want, cfg := range map[string]guard.Config{
		"needs the client id":       mirrored(func(m *guard.Mirror) { m.ClientID = "" }),
		"and the redirect URIs":     mirrored(func(m *guard.Mirror) { m.RedirectURIs = nil }),
		"http on loopback":          mirrored(func(m *guard.Mirror) { m.RedirectURIs = []string{"http://app.example.com/cb"} }),
		"own scheme":                mirrored(func(m *guard.Mirror) { m.RedirectURIs = []string{"javascript:alert(1)"} }),
		"can be registered":         mirrored(func(m *guard.Mirror) { m.RedirectURIs = []string{"https://app.example.com/#x"} }),
		"several issuers with a mi": twoMirrors(),
	} {
		cfg.Resource = resource
		if _, err := guard.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", want, err)
		}
	}
}

func twoMirrors() guard.Config {
	a, b := mirrored(asIs), mirrored(asIs)
	b.Issuers[0].URL += "2"
	a.Issuers = append(a.Issuers, b.Issuers...)
	return a
}

// TestPrepare: what is wrong shows at the start; an issuer that is away is told apart from it.
func TestPrepare(t *testing.T) {
	const issParameter = "authorization_response_iss_parameter_supported"
	introspected := guard.Config{Issuers: []guard.Issuer{{URL: issuer, Opaque: true, ClientID: "x", ClientSecret: secret.New("x")}}}
	for _, test := range []struct {
		name   string
		cfg    guard.Config
		change func(*idp)
		want   string // part of the error; "" for none
		away   bool
	}{
		{"good", guard.Config{}, func(*idp) {}, "", false},
		{"good mirror", mirrored(asIs), pkce, "", false},
		{"away", guard.Config{}, func(p *idp) { p.down = true }, "the issuer does not answer: connection refused", true},
		{"broken", guard.Config{}, func(p *idp) { p.status = 502 }, "status 502", true},
		{"no issuer there", guard.Config{}, func(p *idp) { p.places = []string{"/x"} }, "status 404", false},
		{"issuer of another name", guard.Config{}, func(p *idp) { p.metadata = object{"issuer": "https://idp.example.com"} }, "calls itself", false},
		{"nobody to ask", introspected, func(p *idp) { p.metadata = object{"introspection_endpoint": ""} }, "no introspection_endpoint", false},
		{"mirror of an issuer that gives its name", mirrored(asIs), func(p *idp) {
			p.metadata = object{issParameter: true, "code_challenge_methods_supported": []string{"S256"}}
		}, "turn the mirror off, so that the metadata points at the issuer itself", false},
		{"mirror, PKCE not listed", mirrored(asIs), func(*idp) {}, "does not say that it checks PKCE", false},
		{"mirror, PKCE assumed", mirrored(func(m *guard.Mirror) { m.AssumePKCE = true }), func(*idp) {}, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newIDP()
			test.change(p)
			test.cfg.Resource, test.cfg.Transport = resource, p
			if test.cfg.Issuers == nil {
				test.cfg.Issuers = []guard.Issuer{{URL: issuer}}
			}
			g := newGuard(t, test.cfg)
			err := g.Prepare(t.Context())
			switch {
			case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			case errors.Is(err, guard.ErrAway) != test.away:
				t.Errorf("ErrAway: %v", err)
			}
			mirrored := test.cfg.Issuers[0].Mirror != nil
			if status, _ := get(g.Wrap(http.NotFoundHandler()), "/.well-known/oauth-authorization-server/mcp"); mirrored && (status == 200) != (test.want == "") {
				t.Errorf("mirror: %d", status)
			}
		})
	}
}

// TestReady: a guard is ready while it can verify tokens of some issuer.
func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP()
		p.down = true
		cfg := guard.Config{Resource: resource, Transport: p, Issuers: []guard.Issuer{{URL: issuer}, {URL: issuer + "2"}}}
		g := newGuard(t, cfg)
		if err := g.Prepare(t.Context()); !errors.Is(err, guard.ErrAway) || g.Ready() == nil {
			t.Errorf("nothing answers: prepared %v, ready %v", err, g.Ready())
		}
		p.set(func(p *idp) { p.down = false })
		time.Sleep(10 * time.Second)
		if err := g.Prepare(t.Context()); err == nil || errors.Is(err, guard.ErrAway) || g.Ready() != nil {
			t.Errorf("one of two is there: prepared %v, ready %v", err, g.Ready())
		}
		time.Sleep(24 * time.Hour)
		if g.Ready() == nil {
			t.Error("ready with keys of yesterday")
		}
	})
}

// TestWarnings: what makes the guard accept more than it should is said at the start.
func TestWarnings(t *testing.T) {
	var log strings.Builder
	cfg := phasedOut(time.Now().Add(time.Hour))
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Issuers = mirrored(asIs).Issuers
	cfg.Issuers[0].Audiences = []string{clientID}
	newGuard(t, cfg)
	for _, want := range []string{"because of their audience", clientID, "everybody who registers is given one client", "a static token is accepted", "name=ci"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, &log)
		}
	}
	log.Reset()
	newGuard(t, guard.Config{Resource: resource, Issuers: []guard.Issuer{{URL: issuer}}, Log: cfg.Log})
	if log.Len() > 0 {
		t.Errorf("log: %s", &log)
	}
}
