package guard_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"drawbridge/auth/guard"
)

const (
	resource = "https://mcp.example.com/mcp"
	issuer   = "https://idp.example.com/tenant"
)

// object is a JSON object.
type object = map[string]any

// key is a pair of keys with its name in the JWK set.
type key struct {
	private crypto.Signer
	jwk     jose.JSONWebKey
}

func newKey(private crypto.Signer, kid, alg string) key {
	return key{private, jose.JSONWebKey{Key: private.Public(), KeyID: kid, Algorithm: alg, Use: "sig"}}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The keys of the tests are made once: RSA takes its time.
var (
	ecKey = sync.OnceValue(func() key {
		return newKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "ec", "ES256")
	})
	otherKey = sync.OnceValue(func() key { // also called "ec": an impostor
		return newKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "ec", "ES256")
	})
	edKey = sync.OnceValue(func() key {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return newKey(must(private, err), "ed", "EdDSA")
	})
	rsaKey  = sync.OnceValue(func() key { return newKey(must(rsa.GenerateKey(rand.Reader, 2048)), "rsa", "RS256") })
	weakKey = sync.OnceValue(func() key { return newKey(must(rsa.GenerateKey(rand.Reader, 1024)), "weak", "RS256") })
)

// idp is an issuer that lives in memory: give it to a guard as its Transport. Its fields are switches.
type idp struct {
	mu         sync.Mutex
	keys       []jose.JSONWebKey
	metadata   object                              // merged over the document
	places     []string                            // paths with metadata; all candidates if nil
	down       bool                                // nothing answers
	delay      time.Duration                       // before every answer
	status     int                                 // of every answer; 0 is 200
	introspect func(url.Values, *http.Request) any // answers the introspection endpoint
	asked      map[string]int                      // requests by path

	second     object // metadata of another issuer on the same host, and its keys
	secondKeys []jose.JSONWebKey
}

func newIDP() *idp {
	return &idp{keys: []jose.JSONWebKey{ecKey().jwk, edKey().jwk, rsaKey().jwk}, asked: map[string]int{}}
}

// set changes switches.
func (p *idp) set(change func(*idp)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// count returns how often a path was asked for.
func (p *idp) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// RoundTrip implements http.RoundTripper.
func (p *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	delay, down := p.delay, p.down
	p.asked[r.URL.Path]++
	p.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if down {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	p.answer(w, r)
	return w.Result(), nil
}

func (p *idp) answer(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	places := p.places
	if places == nil {
		places = []string{"/.well-known/oauth-authorization-server/tenant"}
	}
	var document any
	switch {
	case r.URL.Host != "idp.example.com":
		panic("a request went to " + r.URL.Host)
	case strings.Contains(strings.Join(places, " ")+" ", r.URL.Path+" "):
		document = p.document()
	case r.URL.Path == "/.well-known/oauth-authorization-server/second":
		document = p.second
	case r.URL.Path == "/second/keys":
		document = jose.JSONWebKeySet{Keys: p.secondKeys}
	case r.URL.Path == "/tenant/keys":
		document = jose.JSONWebKeySet{Keys: p.keys}
	case r.URL.Path == "/tenant/introspect" && p.introspect != nil:
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		document = p.introspect(form, r)
	default:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if p.status != 0 {
		w.Header().Set("Location", "https://evil.example.com/")
		w.WriteHeader(p.status)
	}
	if text, ok := document.(string); ok {
		_, _ = io.WriteString(w, text)
		return
	}
	_ = json.NewEncoder(w).Encode(document)
}

func (p *idp) document() object {
	m := object{
		"issuer": issuer, "jwks_uri": "https://idp.example.com/tenant/keys",
		"introspection_endpoint": "https://idp.example.com/tenant/introspect",
		"authorization_endpoint": "https://idp.example.com/tenant/authorize",
		"token_endpoint":         "https://idp.example.com/tenant/token",
	}
	maps.Copy(m, p.metadata)
	return m
}

// claimsAt are those of an access token that is good at a time.
func claimsAt(now time.Time, changes object) object {
	c := object{
		"iss": issuer, "aud": resource, "sub": "ada", "client_id": "cli", "scope": "mcp:tools", "jti": "1",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
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

var b64 = base64.RawURLEncoding.EncodeToString

// sign makes a JWT of a header and claims, which are encoded unless they are text already.
func sign(k key, header, payload any) string {
	input := b64(encoded(header)) + "." + b64(encoded(payload))
	return input + "." + b64(signature(k.private, input))
}

func encoded(v any) []byte {
	if text, ok := v.(string); ok {
		return []byte(text)
	}
	return must(json.Marshal(v))
}

func signature(private crypto.Signer, input string) []byte {
	sum := sha256.Sum256([]byte(input))
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(input))
	}
	return must(private.Sign(rand.Reader, sum[:], crypto.SHA256))
}

// hs256 signs with a shared secret.
func hs256(secret []byte, header, payload any) string {
	input := b64(encoded(header)) + "." + b64(encoded(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// accessToken is a good one, but for the changes to its claims.
func accessToken(now time.Time, changes object) string {
	return sign(ecKey(), object{"alg": "ES256", "kid": "ec", "typ": "at+jwt"}, claimsAt(now, changes))
}

// protected is a guard with a server behind it that remembers what arrived.
type protected struct {
	http.Handler
	mu     sync.Mutex
	seen   []*http.Request
	events []guard.Event
}

// protect puts a guard before a server. What cfg leaves out is filled in.
func protect(t *testing.T, p *idp, cfg guard.Config) *protected {
	t.Helper()
	s := &protected{}
	cfg.Scopes = []string{"mcp:tools"}
	if p != nil {
		cfg.Transport = p
	}
	if cfg.Resource == "" {
		cfg.Resource = resource
	}
	if cfg.Issuers == nil {
		cfg.Issuers = []guard.Issuer{{URL: issuer}}
	}
	cfg.Audit = func(_ context.Context, e guard.Event) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
		return nil
	}
	s.Handler = newGuard(t, cfg).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, r)
	}))
	return s
}

// identity sends a token and returns whom it was taken for; nil if it was refused.
func (s *protected) identity(token string) *guard.Identity {
	s.seen = nil
	if w := ask(s, "Bearer "+token); w.Code != http.StatusOK {
		return nil
	}
	return guard.FromContext(s.seen[0].Context())
}

// text is a request's or answer's header and body in one.
func text(w *httptest.ResponseRecorder) string {
	var b bytes.Buffer
	_ = w.Header().Write(&b)
	return b.String() + w.Body.String()
}
