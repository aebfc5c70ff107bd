package guard

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// algorithms are those that tokens may be signed with: signatures by a key pair. "none" is no signature, and the HMACs
// would accept a token that somebody signed with the issuer's public key (RFC 8725 sections 2.1, 3.1 and 3.2).
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// maxKeys is how many keys of an issuer are looked at.
const maxKeys = 100

// minRSABits is what RFC 7518 section 3.3 demands of RSA keys.
const minRSABits = 2048

// keyRing is a set of public keys. It is never changed.
type keyRing struct {
	keys []jose.JSONWebKey
	raw  []byte // what it was read from
}

// readKeys fetches a JWK set (RFC 7517 section 5). Keys that cannot be used are left out, as the RFC says. An issuer of
// opaque tokens may have none.
func (p *provider) readKeys(ctx context.Context, address string) (*keyRing, error) {
	switch {
	case address == "" && p.Opaque:
		return &keyRing{}, nil
	case address == "":
		return nil, fmt.Errorf("metadata of issuer %s has no jwks_uri", quoted(p.URL))
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := p.fetch.get(ctx, address, &set); err != nil {
		return nil, fmt.Errorf("keys of issuer %s: %w", quoted(p.URL), err)
	}
	ring := &keyRing{}
	for _, raw := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && usable(&key) {
			ring.keys = append(ring.keys, key)
			ring.raw = append(append(ring.raw, raw...), '\n')
		}
	}
	if len(ring.keys) == 0 {
		return nil, errors.New("keys of issuer " + quoted(p.URL) + ": none that can verify a signature")
	}
	return ring, nil
}

// usable reports whether a key is a public one for signatures, and strong enough.
func usable(key *jose.JSONWebKey) bool {
	if !key.Valid() || !key.IsPublic() || key.Use != "" && key.Use != "sig" {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

func (r *keyRing) equal(other *keyRing) bool { return bytes.Equal(r.raw, other.raw) }

// find returns the keys that may have signed a token with these headers. A token without a key id may be signed with any
// that fits its algorithm: an issuer with one key need not name it.
func (r *keyRing) find(kid, alg string) (keys []any) {
	for _, key := range r.keys {
		if (kid == "" || key.KeyID == kid) && (key.Algorithm == "" || key.Algorithm == alg) && fits(key.Key, alg) {
			keys = append(keys, key.Key)
		}
	}
	return keys
}

// fits reports whether an algorithm belongs to a key's type.
func fits(key crypto.PublicKey, alg string) bool {
	switch key.(type) {
	case *rsa.PublicKey:
		return alg[:2] == "RS" || alg[:2] == "PS"
	case *ecdsa.PublicKey:
		return alg[:2] == "ES"
	}
	return alg == string(jose.EdDSA)
}
