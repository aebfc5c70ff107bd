package guard_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"drawbridge/auth/guard"
)

// clientID is accepted as an audience in the attacks: it is what makes id tokens dangerous.
const clientID = "0oa-client"

// attack is a request that must not get through.
type attack struct {
	name   string
	status int
	code   string // error of the challenge; "" for none
	text   string // part of the description
	attempt
}

// attempt makes the request: from a token, or by changing a request without one.
type attempt struct {
	token  string
	change func(*http.Request)
}

func withToken(token string) attempt { return attempt{token: token} }

func changed(change func(*http.Request)) attempt { return attempt{change: change} }

func (a attempt) request() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	r.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.change != nil {
		a.change(r)
	}
	return r
}

const (
	forbiddenAlg = "signed with an algorithm that is not accepted"
	wrongSig     = "the signature of the access token is wrong"
	otherAud     = "the access token is for another resource"
	unknownIss   = "an issuer that is not accepted here"
	notAccess    = "not an access token"
	idToken      = "is an id token"
	unmarked     = "nothing shows that the token is an access token"
	badClaims    = "the claims of the access token are malformed"
	unknownKey   = "a key that its issuer does not publish"
	invalid      = "invalid_token"
	badRequest   = "invalid_request"
)

// forgeries play with the signature and the header.
func forgeries(now time.Time) []attack {
	good := claimsAt(now, nil)
	token := accessToken(now, nil)
	parts := strings.Split(token, ".")
	public := must(x509.MarshalPKIXPublicKey(rsaKey().jwk.Key))
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	embedded := must(json.Marshal(otherKey().jwk))
	certificate := selfSigned(now)
	evil := func(header object) attempt {
		all := object{"alg": "ES256", "kid": "evil", "typ": "at+jwt"}
		for name, value := range header {
			all[name] = value
		}
		return withToken(sign(otherKey(), all, good))
	}
	real := func(header string) attempt { return withToken(sign(ecKey(), header, good)) }
	return []attack{
		{"alg none, no signature", 401, invalid, forbiddenAlg, withToken(b64([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + ".")},
		{"alg nOnE", 401, invalid, forbiddenAlg, withToken(b64([]byte(`{"alg":"nOnE"}`)) + "." + parts[1] + ".")},
		{"alg empty", 401, invalid, forbiddenAlg, real(`{"alg":"","kid":"ec"}`)},
		{"HS256 with the public key in PEM", 401, invalid, forbiddenAlg, withToken(hs256(publicPEM, object{"alg": "HS256", "kid": "rsa"}, good))},
		{"HS256 with the public key in DER", 401, invalid, forbiddenAlg, withToken(hs256(public, object{"alg": "HS256", "kid": "rsa"}, good))},
		{"HS256 with the JWK", 401, invalid, forbiddenAlg, withToken(hs256(must(rsaKey().jwk.MarshalJSON()), object{"alg": "HS256", "kid": "rsa"}, good))},
		{"HS256 with an empty secret", 401, invalid, forbiddenAlg, withToken(hs256(nil, object{"alg": "HS256", "kid": "../../../dev/null"}, good))},
		{"unknown kid", 401, invalid, unknownKey, evil(nil)},
		{"real kid, another key", 401, invalid, wrongSig, evil(object{"kid": "ec"})},
		{"no kid, another key", 401, invalid, wrongSig, withToken(sign(otherKey(), `{"alg":"ES256"}`, good))},
		{"kid that is no text", 401, invalid, "malformed", real(`{"alg":"ES256","kid":7}`)},
		{"kid with SQL", 401, invalid, unknownKey, evil(object{"kid": "x' UNION SELECT 'key"})},
		{"jku", 401, invalid, unknownKey, evil(object{"jku": "https://evil.example.com/keys"})},
		{"x5u", 401, invalid, unknownKey, evil(object{"x5u": "https://evil.example.com/cert"})},
		{"jku under the real kid", 401, invalid, wrongSig, evil(object{"kid": "ec", "jku": "https://evil.example.com/keys"})},
		{"jwk in the header", 401, invalid, unknownKey, evil(object{"jwk": json.RawMessage(embedded)})},
		{"jwk in the header under the real kid", 401, invalid, wrongSig, evil(object{"kid": "ec", "jwk": json.RawMessage(embedded)})},
		{"x5c in the header", 401, invalid, unknownKey, evil(object{"x5c": []string{certificate}})},
		{"crit", 401, invalid, "extensions", real(`{"alg":"ES256","kid":"ec","crit":["x"],"x":1}`)},
		{"b64 false", 401, invalid, "extensions", real(`{"alg":"ES256","kid":"ec","b64":false,"crit":["b64"]}`)},
		{"alg twice", 401, invalid, "", real(`{"alg":"none","alg":"ES256","kid":"ec"}`)},
		{"alg of another key type", 401, invalid, unknownKey, real(`{"alg":"RS256","kid":"ec"}`)},
		{"alg that the JWK does not have", 401, invalid, unknownKey, withToken(sign(rsaKey(), `{"alg":"PS256","kid":"rsa"}`, good))},
		{"RSA key of 1024 bits, published", 401, invalid, unknownKey, withToken(sign(weakKey(), `{"alg":"RS256","kid":"weak"}`, good))},
		{"key that is published for encryption", 401, invalid, unknownKey, withToken(sign(otherKey(), `{"alg":"ES256","kid":"enc"}`, good))},
		{"shared secret, published", 401, invalid, forbiddenAlg, withToken(hs256([]byte("published"), `{"alg":"HS256","kid":"oct"}`, good))},
		{"signature of zeros", 401, invalid, wrongSig, withToken(parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)))},
		{"no signature", 401, invalid, "", withToken(parts[0] + "." + parts[1] + ".")},
		{"two parts", 401, invalid, "not a signed JWT", withToken(parts[0] + "." + parts[1])},
		{"half a signature", 401, invalid, wrongSig, withToken(token[:len(token)-40])},
		{"other claims under the signature", 401, invalid, wrongSig, withToken(parts[0] + "." + b64(encoded(claimsAt(now, object{"sub": "admin"}))) + "." + parts[2])},
		{"other header over the signature", 401, invalid, wrongSig, withToken(b64([]byte(`{"alg":"ES256","kid":"ec"}`)) + "." + parts[1] + "." + parts[2])},
		{"encrypted token", 401, invalid, "not a signed JWT", withToken(b64([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + "....")},
		{"refresh token by header type", 401, invalid, notAccess, real(`{"alg":"ES256","kid":"ec","typ":"rt+jwt"}`)},
		{"logout token", 401, invalid, notAccess, real(`{"alg":"ES256","kid":"ec","typ":"logout+jwt"}`)},
		{"ID-JAG", 401, invalid, notAccess, real(`{"alg":"ES256","kid":"ec","typ":"oauth-id-jag+jwt"}`)},
		{"DPoP proof", 401, invalid, notAccess, real(`{"alg":"ES256","kid":"ec","typ":"dpop+jwt"}`)},
		{"type that is no text", 401, invalid, notAccess, real(`{"alg":"ES256","kid":"ec","typ":["at+jwt"]}`)},
	}
}

// selfSigned is a certificate of the attacker's key, as x5c has it.
func selfSigned(now time.Time) string {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, otherKey().private.Public(), otherKey().private))
	return string(must(json.Marshal(der)))[1 : len(must(json.Marshal(der)))-1]
}

// misuses are tokens that the issuer signed: not for here, not for now, or not as access tokens.
func misuses(now time.Time) []attack {
	row := func(name, text string, changes object) attack {
		return attack{name, 401, invalid, text, withToken(accessToken(now, changes))}
	}
	raw := func(name, text, payload string) attack {
		return attack{name, 401, invalid, text, withToken(sign(ecKey(), `{"alg":"ES256","kid":"ec","typ":"at+jwt"}`, payload))}
	}
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	const rest = `"iss":"` + issuer + `","sub":"ada","exp":99999999999`
	return []attack{
		row("expired by 1 s beyond the skew", "has expired", object{"exp": at(-31 * time.Second)}),
		row("expired exactly at the skew", "has expired", object{"exp": at(-30 * time.Second)}),
		row("without exp", "never expires", object{"exp": nil}),
		row("exp as text", "exp that is no date", object{"exp": "99999999999"}),
		raw("exp beyond all dates", "exp that is no date", `{`+`"aud":"`+resource+`","iss":"`+issuer+`","sub":"ada","exp":1e300}`),
		row("exp before all dates", "exp that is no date", object{"exp": -1}),
		row("exp true", "exp that is no date", object{"exp": true}),
		row("not valid yet by 1 s beyond the skew", "not valid yet", object{"nbf": at(31 * time.Second)}),
		row("nbf as text", "nbf that is no date", object{"nbf": "0"}),
		row("issued tomorrow", "not valid yet", object{"iat": at(24 * time.Hour)}),
		row("for another resource", otherAud, object{"aud": "https://other.example.com/mcp"}),
		row("for two others", otherAud, object{"aud": []string{"https://a.example.com", "https://b.example.com"}}),
		raw("aud twice, the other first", badClaims, `{"aud":"https://other.example.com","aud":"`+resource+`",`+rest+`}`),
		raw("aud twice, the other last", badClaims, `{"aud":"`+resource+`","aud":"https://other.example.com",`+rest+`}`),
		raw("sub twice", badClaims, `{"sub":"eve","aud":"`+resource+`",`+rest+`}`),
		row("for no resource", otherAud, object{"aud": nil}),
		row("aud of no form", otherAud, object{"aud": object{"0": resource}}),
		row("aud with a slash more", otherAud, object{"aud": resource + "/"}),
		row("aud that begins like ours", otherAud, object{"aud": resource + ".evil.example.com"}),
		row("aud that is the beginning of ours", otherAud, object{"aud": "https://mcp.example.com"}),
		row("aud in upper case", otherAud, object{"aud": strings.ToUpper(resource)}),
		row("aud with all in one text", otherAud, object{"aud": "x " + resource}),
		row("issuer with a slash more", unknownIss, object{"iss": issuer + "/"}),
		row("issuer in upper case", unknownIss, object{"iss": "https://IDP.example.com/tenant"}),
		row("issuer's other tenant", unknownIss, object{"iss": "https://idp.example.com/other"}),
		row("no issuer", unknownIss, object{"iss": nil}),
		row("a list of issuers", unknownIss, object{"iss": []string{issuer}}),
		row("the issuer of static tokens", unknownIss, object{"iss": "static"}),
		row("no subject", "names no subject", object{"sub": nil}),
		row("empty subject", "names no subject", object{"sub": ""}),
		row("subject with a line feed", "names no subject", object{"sub": "ada\n{}"}),
		row("endless subject", "names no subject", object{"sub": strings.Repeat("a", 256)}),
		raw("claims that are a list", badClaims, `["`+resource+`"]`),
		raw("claims with something behind them", badClaims, `{"aud":"`+resource+`",`+rest+`}{}`),
		row("bound by DPoP", "bound to a key", object{"cnf": object{"jkt": "x"}}),
		row("bound by mTLS", "bound to a key", object{"cnf": object{"x5t#S256": "x"}}),
		row("security event", notAccess, object{"events": object{}}),
		row("with at_hash", idToken, object{"at_hash": "x"}),
		row("with c_hash", idToken, object{"c_hash": "x"}),
		row("Keycloak's refresh token", notAccess, object{"typ": "Refresh"}),
		row("Keycloak's offline token", notAccess, object{"typ": "Offline"}),
		row("Hydra's refresh token", notAccess, object{"token_use": "refresh_token"}),
		row("token type DPoP", "not a bearer token", object{"token_type": "DPoP"}),
	}
}

// idTokens are those of real issuers: the client has one beside its access token, signed by the same key.
func idTokens(now time.Time) []attack {
	row := func(vendor, text string, changes object) attack {
		c := claimsAt(now, object{"aud": clientID, "scope": nil, "client_id": nil, "jti": nil})
		for name, value := range changes {
			c[name] = value
		}
		return attack{vendor + "'s id token", 401, invalid, text, withToken(sign(ecKey(), `{"alg":"ES256","kid":"ec","typ":"JWT"}`, c))}
	}
	return []attack{
		row("Okta", idToken, object{"ver": 1, "at_hash": "x", "amr": []string{"pwd"}, "idp": "00o", "auth_time": now.Unix(), "jti": "ID.x", "preferred_username": "ada"}),
		row("Okta (implicit)", idToken, object{"ver": 1, "nonce": "n", "idp": "00o", "jti": "ID.x"}),
		row("Entra ID", idToken, object{"ver": "2.0", "tid": "t", "oid": "o", "rh": "0.x", "uti": "u", "nonce": "n", "preferred_username": "ada@example.com"}),
		row("Entra ID (no nonce)", unmarked, object{"ver": "2.0", "tid": "t", "oid": "o", "rh": "0.x", "uti": "u", "roles": []string{"admin"}}),
		row("Keycloak", idToken, object{"typ": "ID", "azp": clientID, "at_hash": "x", "sid": "s", "acr": "1", "email_verified": true}),
		row("Keycloak (no at_hash)", notAccess, object{"typ": "ID", "azp": clientID, "sid": "s"}),
		row("Auth0", idToken, object{"nickname": "ada", "updated_at": "2026-11-01T00:00:00Z", "sid": "s", "nonce": "n"}),
		row("Google", idToken, object{"azp": clientID, "at_hash": "x", "hd": "example.com", "email": "ada@example.com", "email_verified": true}),
		row("Cognito", notAccess, object{"token_use": "id", "cognito:username": "ada", "cognito:groups": []string{"admin"}, "event_id": "e"}),
		row("Ping", unmarked, object{"acr": "Single_Factor", "amr": []string{"pwd"}, "env": "e", "org": "o", "sid": "s", "p1.region": "EU"}),
		row("JumpCloud", idToken, object{"rat": now.Unix(), "sid": "s", "auth_time": now.Unix(), "nonce": "n", "groups": []string{"admin"}}),
		row("JumpCloud (code flow)", idToken, object{"rat": now.Unix(), "at_hash": "x", "auth_time": now.Unix()}),
		row("with an access token's claim, some vendor", idToken, object{"scp": []string{"openid"}, "nonce": "n"}),
	}
}

// requests play with how the token is sent.
func requests(now time.Time) []attack {
	good := accessToken(now, nil)
	header := func(lines ...string) attempt {
		return changed(func(r *http.Request) { r.Header["Authorization"] = lines })
	}
	query := func(raw string) attempt {
		return changed(func(r *http.Request) { r.URL.RawQuery = raw })
	}
	both := changed(func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+good)
		r.URL.RawQuery = "access_token=" + good
	})
	form := changed(func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body = http.NoBody
	})
	const inQuery, none = "never in the query", "needs an access token"
	return []attack{
		{"no token", 401, "", none, header()},
		{"another scheme", 401, "", none, header("Basic " + b64([]byte("ada:"+good)))},
		{"no scheme", 401, "", none, header(good)},
		{"empty token", 401, "", none, header("Bearer ")},
		{"form", 401, "", none, form},
		{"cookie", 401, "", none, changed(func(r *http.Request) { r.Header.Set("Cookie", "access_token="+good) })},
		{"two headers", 400, badRequest, "several Authorization headers", header("Bearer "+good, "Bearer "+good)},
		{"two headers, one of another scheme", 400, badRequest, "several", header("Basic eA==", "Bearer "+good)},
		{"two tokens in one header", 401, invalid, "characters", header("Bearer " + good + ", Bearer " + good)},
		{"two tokens behind each other", 401, invalid, "characters", header("Bearer " + good + " " + good)},
		{"tab", 401, "", none, header("Bearer\t" + good)},
		{"quoted token", 401, invalid, "characters", header(`Bearer "` + good + `"`)},
		{"not ASCII", 401, invalid, "characters", header("Bearer " + good + "\u00e4")},
		{"query", 400, badRequest, inQuery, query("access_token=" + good)},
		{"query and header", 400, badRequest, inQuery, both},
		{"query, name in percent form", 400, badRequest, inQuery, query("a=b&%61ccess%5Ftoken=" + good)},
		{"query, behind a semicolon", 400, badRequest, inQuery, query("a=b;access_token=" + good)},
		{"query, beside a broken parameter", 400, badRequest, inQuery, query("%zz=1&access_token=" + good)},
		{"huge token", 400, badRequest, "longer than 16 kB", withToken(strings.Repeat("a", 16<<10+1))},
		{"invented token", 401, invalid, "not a signed JWT", withToken("0123456789")},
		{"static token after its end", 401, invalid, "ended on", withToken("CANARY-static")},
	}
}

// TestAttacks sends everything to one guard that also accepts a client id as audience, which is the looser way.
func TestAttacks(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	p := newIDP()
	encryption, secret := otherKey().jwk, jose.JSONWebKey{Key: []byte("published"), KeyID: "oct", Algorithm: "HS256", Use: "sig"}
	encryption.KeyID, encryption.Use, encryption.Algorithm = "enc", "enc", ""
	p.keys = append(p.keys, weakKey().jwk, encryption, secret)
	s := protect(t, p, guard.Config{
		Now:          func() time.Time { return now },
		Skew:         30 * time.Second,
		Issuers:      []guard.Issuer{{URL: issuer, Audiences: []string{clientID}}},
		StaticTokens: []guard.StaticToken{{Name: "ci", SHA256: sha("CANARY-static"), Until: now}},
	})
	for _, good := range []string{
		accessToken(now, nil),
		accessToken(now, object{"exp": now.Add(-29 * time.Second).Unix(), "nbf": now.Add(30 * time.Second).Unix()}),
		accessToken(now, object{"aud": []string{"https://idp.example.com/userinfo", resource}}),
		accessToken(now, object{"aud": clientID}),
		sign(rsaKey(), `{"alg":"RS256","kid":"rsa"}`, claimsAt(now, nil)),
		sign(edKey(), `{"alg":"EdDSA","kid":"ed","typ":"application/AT+JWT"}`, claimsAt(now, nil)),
		sign(ecKey(), `{"alg":"ES256"}`, claimsAt(now, nil)),
	} {
		if s.identity(good) == nil {
			t.Fatalf("a good token is refused: %+v", s.events)
		}
	}
	attacks := append(append(append(forgeries(now), misuses(now)...), idTokens(now)...), requests(now)...)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) { s.repel(t, a) })
	}
	if len(attacks) < 100 {
		t.Errorf("%d attacks", len(attacks))
	}
}

// repel checks that an attack is refused as it should be, that nothing reached the server, and that neither the answer nor
// the audit repeats the token.
func (s *protected) repel(t *testing.T, a attack) {
	s.seen, s.events = nil, nil
	w := httptest.NewRecorder()
	s.ServeHTTP(w, a.request())
	if len(s.seen) > 0 {
		t.Fatalf("it reached the server")
	}
	got := w.Header().Get("WWW-Authenticate")
	if w.Code != a.status || !strings.Contains(w.Body.String(), a.text) {
		t.Errorf("got %d %s\nwant %d %q", w.Code, w.Body, a.status, a.text)
	}
	if want := challenge(a, w); got != want {
		t.Errorf("challenge:\n got %s\nwant %s", got, want)
	}
	if len(s.events) != 1 || s.events[0].Status != a.status || s.events[0].Identity != nil {
		t.Errorf("events: %+v", s.events)
	}
	for _, secret := range []string{a.token, "CANARY"} {
		if told := text(w) + fmt.Sprintf("%+v", s.events); secret != "" && strings.Contains(told, secret) {
			t.Errorf("the token is repeated: %s", told)
		}
	}
}

// challenge is what the answer to an attack must ask for.
func challenge(a attack, w *httptest.ResponseRecorder) string {
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(w.Body.Bytes(), &body)
	parts := []string{}
	if a.code != "" {
		parts = append(parts, `error="`+a.code+`"`, `error_description="`+strings.ReplaceAll(body.Description, `"`, `'`)+`"`)
	}
	if a.status == 401 {
		parts = append(parts, `scope="mcp:tools"`)
	}
	parts = append(parts, `resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`)
	return "Bearer " + strings.Join(parts, ", ")
}
