package guard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/auth/guard"
	"drawbridge/internal/secret"
)

const introspectPath = "/tenant/introspect"

// asking is an issuer whose tokens are asked about.
func asking(change func(*guard.Issuer)) guard.Config {
	i := guard.Issuer{URL: issuer, ClientID: "the guard", ClientSecret: secret.New("CANARY&secret")}
	change(&i)
	return guard.Config{Issuers: []guard.Issuer{i}}
}

func opaqueTokens(i *guard.Issuer) { i.Opaque = true }

// active is the answer about a good opaque token.
func active(changes object) object {
	c := object{
		"active": true, "token_type": "Bearer", "aud": resource, "sub": "ada", "client_id": "cli", "scope": "mcp:tools",
		"exp": time.Now().Add(5 * time.Minute).Unix(),
	}
	for name, value := range changes {
		if value == nil {
			delete(c, name)
			continue
		}
		c[name] = value
	}
	return c
}

// TestIntrospection: what an issuer may answer about an opaque token.
func TestIntrospection(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		answer any
		idp    int // status of the issuer
		reason string
	}{
		{"good", 200, active(nil), 0, ""},
		{"without exp", 200, active(object{"exp": nil}), 0, ""},
		{"without issuer", 200, active(object{"iss": nil}), 0, ""},
		{"Hydra's", 200, active(object{"token_type": "Bearer", "token_use": "access_token"}), 0, ""},
		{"not active", 401, object{"active": false}, 0, "not active"},
		{"active as text", 401, active(object{"active": "true"}), 0, "not active"},
		{"active as number", 401, active(object{"active": 1}), 0, "not active"},
		{"nothing", 401, object{}, 0, "not active"},
		{"active twice", 503, `{"active":false,"active":true}`, 0, "no JSON of the expected form"},
		{"for another resource", 401, active(object{"aud": "https://other.example.com"}), 0, "another resource"},
		{"for nobody", 401, active(object{"aud": nil}), 0, "another resource"},
		{"expired", 401, active(object{"exp": 1}), 0, "expired"},
		{"a refresh token", 401, active(object{"token_type": nil}), 0, "nothing shows that the token is an access token"},
		{"Hydra's refresh token", 401, active(object{"token_type": "Bearer", "token_use": "refresh_token"}), 0, "not an access token"},
		{"bound by DPoP", 401, active(object{"token_type": "DPoP", "scp": "x"}), 0, "not a bearer token"},
		{"bound by mTLS", 401, active(object{"cnf": object{"x5t#S256": "x"}}), 0, "bound to a key"},
		{"of another issuer", 401, active(object{"iss": "https://evil.example.com"}), 0, "not active"},
		{"of nobody", 401, active(object{"sub": nil}), 0, "no subject"},
		{"HTML", 503, "<html>", 0, "no JSON"},
		{"refuses the guard", 503, object{}, 401, "status 401"},
		{"broken", 503, active(nil), 500, "status 500"},
		{"elsewhere", 503, active(nil), 307, "status 307"},
		{"endless", 503, `{"active":true,"x":"` + strings.Repeat("x", 1<<20) + `"}`, 0, "longer than 1 MB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newIDP()
			p.introspect = func(url.Values, *http.Request) any { p.status = test.idp; return test.answer }
			s := protect(t, p, asking(opaqueTokens))
			s.wantStatus(t, "opaque token", "CANARY-opaque", test.status)
			if e := s.events[0]; !strings.Contains(e.Reason, test.reason) || strings.Contains(e.Reason, "CANARY") {
				t.Errorf("reason: got %q, want %q", e.Reason, test.reason)
			}
		})
	}
}

// TestIntrospectionRequest: how the guard shows itself to the issuer.
func TestIntrospectionRequest(t *testing.T) {
	for name, methods := range map[string][]string{
		"basic": nil, "basic listed": {"client_secret_post", "client_secret_basic"}, "post": {"client_secret_post", "private_key_jwt"},
	} {
		var form url.Values
		var header http.Header
		p := newIDP()
		p.metadata = object{"introspection_endpoint_auth_methods_supported": methods}
		p.introspect = func(f url.Values, r *http.Request) any {
			form, header = f, r.Header
			return active(nil)
		}
		s := protect(t, p, asking(opaqueTokens))
		s.wantStatus(t, name, "CANARY-opaque", 200)
		basic := "Basic dGhlK2d1YXJkOkNBTkFSWSUyNnNlY3JldA==" // the+guard:CANARY%26secret
		posted := form.Get("client_id") == "the guard" && form.Get("client_secret") == "CANARY&secret"
		if post := name == "post"; posted != post || (header.Get("Authorization") == basic) == post {
			t.Errorf("%s: form %v, Authorization %q", name, form, header.Get("Authorization"))
		}
		if form.Get("token") != "CANARY-opaque" || form.Get("token_type_hint") != "access_token" {
			t.Errorf("%s: form %v", name, form)
		}
	}
}

// TestIssuerWithoutKeys: an issuer that signs nothing is asked about its tokens, and what says that it signed is refused.
func TestIssuerWithoutKeys(t *testing.T) {
	p := newIDP()
	p.metadata = object{"jwks_uri": nil}
	p.introspect = func(url.Values, *http.Request) any { return active(nil) }
	s := protect(t, p, asking(opaqueTokens))
	s.wantStatus(t, "opaque token", "CANARY-opaque", 200)
	s.wantStatus(t, "JWT", accessToken(time.Now(), nil), 401)
}

// TestOpaqueRemembered: the issuer is asked once a minute about a token, never about one that has expired, and once in ten
// seconds about an invented one.
func TestOpaqueRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP()
		answer := active(object{"exp": time.Now().Add(90 * time.Second).Unix()})
		p.introspect = func(f url.Values, _ *http.Request) any {
			if f.Get("token") != "CANARY-opaque" {
				return object{"active": false}
			}
			return answer
		}
		s := protect(t, p, asking(opaqueTokens))
		want := func(what string, asked int) {
			t.Helper()
			if n := p.count(introspectPath); n != asked {
				t.Errorf("%s: asked %d times, want %d", what, n, asked)
			}
		}
		for range 10 {
			s.wantStatus(t, "good", "CANARY-opaque", 200)
			s.wantStatus(t, "invented", "invented", 401)
		}
		want("at first", 2)
		time.Sleep(time.Minute)
		s.wantStatus(t, "a minute later", "CANARY-opaque", 200)
		want("a minute later", 3)
		time.Sleep(39 * time.Second)
		s.wantStatus(t, "just before its end", "CANARY-opaque", 200)
		want("just before its end", 3)
		time.Sleep(time.Second)
		s.wantStatus(t, "at its end", "CANARY-opaque", 401)
	})
}

// TestFreshness: a JWT that its issuer withdrew is refused within the interval, and not before the issuer was asked. While
// the issuer is away nothing passes once the interval is over.
func TestFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP()
		answer := active(nil)
		p.introspect = func(url.Values, *http.Request) any { return answer }
		s := protect(t, p, asking(func(i *guard.Issuer) { i.Freshness = 20 * time.Second }))
		token := accessToken(time.Now(), nil)
		s.wantStatus(t, "at first", token, 200)
		p.set(func(*idp) { answer = object{"active": false} })
		time.Sleep(20*time.Second - time.Nanosecond)
		s.wantStatus(t, "withdrawn, within the interval", token, 200)
		time.Sleep(time.Nanosecond)
		s.wantStatus(t, "withdrawn, after it", token, 401)
		s.wantStatus(t, "withdrawn, again", token, 401)
		if n := p.count(introspectPath); n != 2 {
			t.Errorf("asked %d times", n)
		}
		p.set(func(*idp) { answer = active(object{"sub": "eve"}) })
		time.Sleep(20 * time.Second)
		s.wantStatus(t, "active, but somebody else's", token, 401)
		p.set(func(*idp) { answer = active(nil) })
		time.Sleep(20 * time.Second)
		s.wantStatus(t, "active again", token, 200)
		p.set(func(p *idp) { p.status = 500 })
		time.Sleep(20 * time.Second)
		s.wantStatus(t, "not known", token, 503)
	})
}

// TestFreshnessFromTheQuestion: what happened while the issuer was answering it need not have known, so the interval
// begins with the question, for those too who waited for the same answer.
func TestFreshnessFromTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP()
		answer := active(nil)
		p.introspect = func(url.Values, *http.Request) any { return answer }
		s := protect(t, p, asking(func(i *guard.Issuer) { i.Freshness = 20 * time.Second }))
		s.wantStatus(t, "another token, which fetches the keys", accessToken(time.Now(), object{"jti": "2"}), 200)
		token := accessToken(time.Now(), nil)
		p.set(func(p *idp) { p.delay = 5 * time.Second })
		go func() { s.wantStatus(t, "who asks", token, 200) }()
		time.Sleep(4 * time.Second)
		s.wantStatus(t, "who waits with him", token, 200)
		p.set(func(p *idp) { p.delay, answer = 0, object{"active": false} })
		time.Sleep(15 * time.Second)
		s.wantStatus(t, "20 s after the question", token, 401)
	})
}

// TestInventedTokens: a flood of invented opaque tokens is no flood at the issuer, and ends for its senders.
func TestInventedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP()
		p.introspect = func(url.Values, *http.Request) any { return object{"active": false} }
		s := protect(t, p, asking(opaqueTokens))
		s.wantStatus(t, "the first, which fetches the keys", "first", 401)
		p.set(func(p *idp) { p.delay = 6 * time.Second })
		for i := range 200 {
			go ask(s, "Bearer invented"+strings.Repeat("x", i))
		}
		time.Sleep(5 * time.Second)
		if n := p.count(introspectPath); n != 1+32 {
			t.Errorf("asked %d times at once", n)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.events) != 201 {
			t.Errorf("%d of 201 are answered after 11 s", len(s.events))
		}
	})
}
