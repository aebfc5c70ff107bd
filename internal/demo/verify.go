package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Principal is who an access token speaks for (RFC 9068 §2.2).
type Principal struct {
	Issuer    string       `json:"iss"`
	Subject   string       `json:"sub"`
	Audience  jwt.Audience `json:"aud"`
	ClientID  string       `json:"client_id"`
	Scope     string       `json:"scope"`
	Expires   float64      `json:"exp"`
	NotBefore float64      `json:"nbf"`
	ID        string       `json:"jti"`
	Email     string       `json:"email"`
	Name      string       `json:"name"`
	Groups    []string     `json:"groups"`
}

// Scopes returns what the token is good for.
func (c *Principal) Scopes() []string { return strings.Fields(c.Scope) }

// HasScopes reports whether the token is good for all that is needed.
func (c *Principal) HasScopes(needed []string) bool { return among(needed, c.Scopes()...) }

// accepted are the algorithms of access tokens. RFC 9068 §2.1 rules out "none".
var accepted = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA}

// verify judges an access token as RFC 9068 §4 demands. Its errors are for the challenge: they quote nothing.
func (s *Server) verify(ctx context.Context, token string) (*Principal, error) {
	parsed, err := jwt.ParseSigned(token, accepted)
	if err != nil {
		return nil, errors.New("the access token is not a signed JWT")
	}
	header := parsed.Headers[0]
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if !slices.Contains([]string{"at+jwt", "application/at+jwt"}, strings.ToLower(typ)) {
		return nil, errors.New("the JWT is not an access token")
	}
	key, err := s.keys.key(ctx, header.KeyID)
	if err != nil {
		s.cfg.Log.Warn("no key for a token", "err", err)
		return nil, errors.New("the key of the access token is not known")
	}
	var who Principal
	if err := parsed.Claims(key, &who); err != nil {
		return nil, errors.New("the signature of the access token is wrong")
	}
	return &who, s.judge(&who)
}

func (s *Server) judge(who *Principal) error {
	now := numericDate(s.cfg.Now())
	switch {
	case who.Issuer != s.cfg.Issuer:
		return errors.New("the access token is of another issuer")
	case !slices.Contains(who.Audience, s.resource()):
		return errors.New("the access token is for another resource")
	case who.Expires <= now:
		return errors.New("the access token has expired")
	case who.NotBefore > now:
		return errors.New("the access token is not valid yet")
	case who.Subject == "":
		return errors.New("the access token names nobody")
	case s.cfg.Revoked != nil && s.cfg.Revoked(who.ID):
		return errors.New("the access token was revoked")
	}
	return nil
}

// refetchPause is how long a key source waits before it asks for keys again, so that tokens with invented key ids
// cannot make it hammer the issuer.
const refetchPause = 2 * time.Second

// keySource knows the public keys of an issuer.
type keySource struct {
	issuer string
	http   *http.Client

	mu      sync.Mutex
	jwksURL string // "" until the metadata told
	keys    jose.JSONWebKeySet
	fetched time.Time
}

func newKeySource(issuer, jwksURL string) *keySource {
	return &keySource{issuer: issuer, jwksURL: jwksURL, http: &http.Client{Timeout: 5 * time.Second}}
}

// key finds a key by its id, fetching the issuer's keys when it is new.
func (k *keySource) key(ctx context.Context, id string) (any, error) {
	keys, fetched := k.known()
	if found := keys.Key(id); len(found) > 0 {
		return found[0].Key, nil
	}
	if time.Since(fetched) < refetchPause {
		return nil, errors.New("unknown key id")
	}
	keys, err := k.fetch(ctx)
	if err != nil {
		return nil, err
	}
	if found := keys.Key(id); len(found) > 0 {
		return found[0].Key, nil
	}
	return nil, errors.New("unknown key id")
}

func (k *keySource) known() (jose.JSONWebKeySet, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys, k.fetched
}

func (k *keySource) fetch(ctx context.Context) (keys jose.JSONWebKeySet, err error) {
	address, err := k.address(ctx)
	if err != nil {
		return keys, err
	}
	if err := k.get(ctx, address, &keys); err != nil {
		return keys, fmt.Errorf("fetch keys: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.jwksURL, k.keys, k.fetched = address, keys, time.Now()
	return keys, nil
}

// address asks the issuer's metadata where its keys are, in the order of RFC 8414 §3.1 and OpenID Connect Discovery.
func (k *keySource) address(ctx context.Context) (string, error) {
	k.mu.Lock()
	known := k.jwksURL
	k.mu.Unlock()
	if known != "" {
		return known, nil
	}
	u, err := url.Parse(k.issuer)
	if err != nil {
		return "", fmt.Errorf("read issuer: %w", err)
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.Path, "/")
	for _, candidate := range []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + "/.well-known/openid-configuration" + path,
		origin + path + "/.well-known/openid-configuration",
	} {
		var m struct {
			Issuer  string `json:"issuer"`
			JWKSURI string `json:"jwks_uri"`
		}
		if k.get(ctx, candidate, &m) == nil && m.Issuer == k.issuer && m.JWKSURI != "" {
			return m.JWKSURI, nil
		}
	}
	return "", fmt.Errorf("no metadata at issuer %q", k.issuer)
}

func (k *keySource) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := k.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%q answered %d", address, resp.StatusCode)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into)
}
