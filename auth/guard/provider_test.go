package guard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"drawbridge/auth/guard"
)

const keysPath = "/tenant/keys"

// signedBy is a good token that a key signed.
func signedBy(k key) string {
	return sign(k, object{"alg": k.jwk.Algorithm, "kid": k.jwk.KeyID, "typ": "at+jwt"}, claimsAt(time.Now(), object{"exp": time.Now().Add(48 * time.Hour).Unix()}))
}

// wantStatus sends a token and checks what it is answered.
func (s *protected) wantStatus(t *testing.T, what, token string, status int) {
	t.Helper()
	w := ask(s, "Bearer "+token)
	if w.Code != status {
		t.Errorf("%s: got %d %s, want %d", what, w.Code, w.Body, status)
	}
	retry, challenge := w.Header().Get("Retry-After"), w.Header().Get("WWW-Authenticate")
	if status == http.StatusServiceUnavailable && (retry == "" || challenge != "") {
		t.Errorf("%s: Retry-After %q, WWW-Authenticate %q: a client must wait and keep its token", what, retry, challenge)
	}
}

// TestKeyRotation: a new key is found at once, the issuer is not asked more than once in ten seconds however many key ids
// are invented, and what a removed key signed is refused although it was accepted before.
func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP()
		p.keys = []jose.JSONWebKey{ecKey().jwk}
		s := protect(t, p, guard.Config{})
		old := signedBy(ecKey())
		s.wantStatus(t, "first key", old, 200)
		for range 50 {
			s.wantStatus(t, "first key again", old, 200)
		}
		if n := p.count(keysPath); n != 1 {
			t.Errorf("keys were fetched %d times", n)
		}

		p.set(func(p *idp) { p.keys = append(p.keys, edKey().jwk) })
		time.Sleep(10 * time.Second)
		s.wantStatus(t, "second key", signedBy(edKey()), 200)
		s.wantStatus(t, "first key, beside the second", old, 200)
		for i := range 50 {
			k := otherKey()
			k.jwk.KeyID = fmt.Sprint("invented", i)
			s.wantStatus(t, "invented key id", signedBy(k), 401)
		}
		if n := p.count(keysPath); n != 2 {
			t.Errorf("keys were fetched %d times", n)
		}

		p.set(func(p *idp) { p.keys = []jose.JSONWebKey{edKey().jwk} })
		time.Sleep(10 * time.Minute)
		s.wantStatus(t, "removed key, the request that notices the age", old, 200)
		synctest.Wait()
		s.wantStatus(t, "removed key", old, 401)
		s.wantStatus(t, "second key", signedBy(edKey()), 200)
	})
}

// TestIssuerAway: keys are used for a day without the issuer. What cannot be judged is 503, which keeps clients from
// throwing good tokens away.
func TestIssuerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP()
		p.keys = []jose.JSONWebKey{ecKey().jwk}
		p.down = true
		s := protect(t, p, guard.Config{})
		token := signedBy(ecKey())
		s.wantStatus(t, "never reached", token, 503)
		p.set(func(p *idp) { p.down = false })
		s.wantStatus(t, "back, but asked just now", token, 503)
		time.Sleep(10 * time.Second)
		s.wantStatus(t, "back", token, 200)

		p.set(func(p *idp) { p.down = true })
		time.Sleep(23 * time.Hour)
		s.wantStatus(t, "away for a day", token, 200)
		synctest.Wait()
		s.wantStatus(t, "away, a token never seen", accessToken(time.Now(), nil), 200)
		s.wantStatus(t, "away, key unknown", signedBy(edKey()), 503)
		time.Sleep(time.Hour)
		s.wantStatus(t, "away for longer", token, 503)
		p.set(func(p *idp) { p.down = false })
		time.Sleep(10 * time.Second)
		s.wantStatus(t, "back again", token, 200)
	})
}

// TestSlowIssuer: one fetch serves all who wait, whoever of them gives up; and nobody waits for ever.
func TestSlowIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP()
		p.delay = 4 * time.Second // twice: metadata and keys
		s := protect(t, p, guard.Config{})
		token, began := signedBy(ecKey()), time.Now()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { s.wantStatus(t, "together", token, 200) })
		}
		all.Wait()
		if n := p.count(keysPath); n != 1 || time.Since(began) != 8*time.Second {
			t.Errorf("keys were fetched %d times in %s", n, time.Since(began))
		}
		p.set(func(p *idp) { p.delay = time.Hour })
		time.Sleep(25 * time.Hour)
		began = time.Now()
		s.wantStatus(t, "an issuer that hangs", token, 503)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("waited %s", took)
		}
	})
}

// TestDiscovery: where the metadata of an issuer may be, and what of it is not used.
func TestDiscovery(t *testing.T) {
	const oauth, openid, appended = "/.well-known/oauth-authorization-server/tenant", "/.well-known/openid-configuration/tenant",
		"/tenant/.well-known/openid-configuration"
	said := func(name string, value any) func(*idp) {
		return func(p *idp) { p.metadata = object{name: value} }
	}
	for _, test := range []struct {
		name   string
		change func(*idp)
		status int
		asked  string // paths in their order
		reason string
	}{
		{"RFC 8414", func(p *idp) {}, 200, oauth + keysPath, ""},
		{"OpenID, inserted", func(p *idp) { p.places = []string{openid} }, 200, oauth + openid + keysPath, ""},
		{"OpenID, appended", func(p *idp) { p.places = []string{appended} }, 200, oauth + openid + appended + keysPath, ""},
		{"nowhere", func(p *idp) { p.places = []string{"/"} }, 503, oauth + openid + appended, "answered with status 404"},
		{"another issuer", said("issuer", issuer+"/"), 503, oauth + openid + appended,
			`calls itself "https://idp.example.com/tenant/": configure the issuer as the metadata has it`},
		{"a template", said("issuer", "https://idp.example.com/{tenantid}"), 503, oauth + openid + appended, "name your own tenant"},
		{"keys without TLS", said("jwks_uri", "http://idp.example.com/tenant/keys"), 503, oauth + openid + appended, "want https"},
		{"keys on this machine", said("jwks_uri", "http://127.0.0.1/tenant/keys"), 503, oauth + openid + appended, "want https, like the issuer"},
		{"keys in a file", said("jwks_uri", "file:///etc/passwd"), 503, oauth + openid + appended, "not a URL that can be used"},
		{"no keys", said("jwks_uri", ""), 503, oauth, "has no jwks_uri"},
		{"no usable keys", func(p *idp) { p.keys = []jose.JSONWebKey{weakKey().jwk} }, 503, oauth + keysPath, "none that can verify"},
		{"empty set", func(p *idp) { p.keys = nil }, 503, oauth + keysPath, "none that can verify"},
		{"redirect", func(p *idp) { p.status = 302 }, 503, oauth + openid + appended, "answered with status 302"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newIDP()
			test.change(p)
			s := protect(t, p, guard.Config{})
			s.wantStatus(t, test.name, signedBy(ecKey()), test.status)
			for path := range p.asked {
				if !strings.Contains(test.asked, path) {
					t.Errorf("%s was asked for", path)
				}
			}
			if got := s.events[0].Reason; !strings.Contains(got, test.reason) {
				t.Errorf("reason: got %q, want %q", got, test.reason)
			}
		})
	}
}

// TestSeveralIssuers: a token counts for the issuer it names only if that one's key signed it.
func TestSeveralIssuers(t *testing.T) {
	const second = "https://idp.example.com/second"
	p := newIDP()
	p.keys = []jose.JSONWebKey{ecKey().jwk}
	s := protect(t, p, guard.Config{Issuers: []guard.Issuer{{URL: issuer}, {URL: second}}})
	p.second = object{"issuer": second, "jwks_uri": "https://idp.example.com/second/keys"}
	p.secondKeys = []jose.JSONWebKey{otherKey().jwk}
	of := func(k key, iss string) string {
		return sign(k, object{"alg": "ES256", "kid": "ec"}, claimsAt(time.Now(), object{"iss": iss}))
	}
	s.wantStatus(t, "first", of(ecKey(), issuer), 200)
	s.wantStatus(t, "second", of(otherKey(), second), 200)
	s.wantStatus(t, "the second says it is the first", of(otherKey(), issuer), 401)
	s.wantStatus(t, "the first says it is the second", of(ecKey(), second), 401)
}

// TestOtherGuard: what was issued for one server is of no use at another that trusts the same issuer.
func TestOtherGuard(t *testing.T) {
	token := accessToken(time.Now(), nil)
	here := protect(t, newIDP(), guard.Config{})
	there := protect(t, newIDP(), guard.Config{Resource: "https://mcp.example.com/other"})
	here.wantStatus(t, "here", token, 200)
	there.wantStatus(t, "there", token, 401)
}

// TestTokenStaysHere: the protected server gets the identity and not the token (MCP: no token passthrough), while the
// request that the guard was given keeps its headers.
func TestTokenStaysHere(t *testing.T) {
	s := protect(t, newIDP(), guard.Config{})
	r := withToken(accessToken(time.Now(), nil)).request()
	s.ServeHTTP(httptest.NewRecorder(), r)
	if got := s.seen[0].Header; got.Get("Authorization") != "" || r.Header.Get("Authorization") == "" {
		t.Errorf("the server got %v, the request has %v", got, r.Header)
	}
	if id := guard.FromContext(s.seen[0].Context()); id == nil || id.Subject != "ada" || guard.FromContext(r.Context()) != nil {
		t.Errorf("identity: %+v", id)
	}
}

// TestResourceIsOrigin: clients name a server without a path with a slash at its end and without.
func TestResourceIsOrigin(t *testing.T) {
	for _, configured := range []string{"https://mcp.example.com", "https://mcp.example.com/"} {
		s := protect(t, newIDP(), guard.Config{Resource: configured})
		for aud, status := range map[string]int{
			"https://mcp.example.com": 200, "https://mcp.example.com/": 200, "https://mcp.example.com/mcp": 401, "https://mcp.example.com//": 401,
		} {
			s.wantStatus(t, configured+" for "+aud, accessToken(time.Now(), object{"aud": aud}), status)
		}
	}
}

// TestTokenExpires: a token that is remembered ends as well, to the second.
func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := protect(t, newIDP(), guard.Config{Skew: 10 * time.Second})
		token := accessToken(time.Now(), nil) // 5 min
		s.wantStatus(t, "at first", token, 200)
		time.Sleep(5*time.Minute + 10*time.Second - time.Nanosecond)
		s.wantStatus(t, "within the skew", token, 200)
		time.Sleep(time.Nanosecond)
		s.wantStatus(t, "beyond it", token, 401)
	})
}
