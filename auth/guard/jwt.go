package guard

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// isJWT reports whether a token is a signed JWT (RFC 7519 section 7.2, step 1): three parts, the first of which is a JSON
// object with an algorithm. Everything else is opaque.
func isJWT(token string) bool {
	head, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	var header map[string]any
	return strings.Count(token, ".") == 2 && err == nil && json.Unmarshal(raw, &header) == nil && header["alg"] != nil
}

// parsed is a JWT that nobody has verified yet.
type parsed struct {
	*jose.JSONWebSignature
	kid, alg, typ string
	claims        claims
}

// parseJWT reads a JWT and refuses what no access token has, before any key is looked for.
func parseJWT(token string) (*parsed, *refusal) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, badToken("the access token is malformed, or signed with an algorithm that is not accepted").because(err)
	}
	header := jws.Signatures[0].Protected
	p := &parsed{JSONWebSignature: jws, kid: header.KeyID, alg: header.Algorithm}
	typ, present := header.ExtraHeaders[jose.HeaderType]
	p.typ, _ = typ.(string)
	p.typ = strings.ToLower(strings.TrimPrefix(strings.ToLower(p.typ), "application/"))
	switch {
	case present && !slices.Contains([]string{"jwt", "at+jwt"}, p.typ):
		// RFC 8725 section 3.11: every other type is something else that the same key may have signed.
		return nil, badToken("the JWT is not an access token")
	case header.ExtraHeaders["crit"] != nil || header.ExtraHeaders["b64"] != nil:
		return nil, badToken("the access token wants extensions that are not known here") // RFC 7515 section 4.1.11
	}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &p.claims); err != nil {
		return nil, badToken("the claims of the access token are malformed")
	}
	return p, nil
}

// verify checks the signature with the keys of the provider. Keys that the token brings along (jwk, jku, x5c, x5u) are
// never looked at.
func (t *parsed) verify(ctx context.Context, p *provider) (*keyRing, *refusal) {
	keys, ring, err := p.lookup(ctx, t.kid, t.alg)
	if err != nil {
		return nil, unavailable("the issuer of the access token cannot be reached", err)
	}
	if len(keys) == 0 {
		return nil, badToken("the access token is signed with a key that its issuer does not publish")
	}
	for _, key := range keys {
		if _, err := t.Verify(key); err == nil {
			return ring, nil
		}
	}
	return nil, badToken("the signature of the access token is wrong")
}
