package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// signingAlgorithm is what access tokens and id tokens are signed with.
const signingAlgorithm = string(jose.ES256)

// signer holds the provider's key, which is new with every start.
type signer struct {
	key jose.JSONWebKey
}

func newSigner() (*signer, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &signer{jose.JSONWebKey{Key: private, KeyID: rand.Text(), Algorithm: signingAlgorithm, Use: "sig"}}, nil
}

func (s *signer) keySet() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.key.Public()}}
}

// sign makes a JWT with the header `typ` (RFC 9068 §2.1: at+jwt for access tokens).
func (s *signer) sign(typ string, claims any) (string, error) {
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	with, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, options)
	if err != nil {
		return "", err
	}
	return jwt.Signed(with).Claims(claims).Serialize()
}

// verifiedID returns the jti of an access token that this signer made, or "".
func (s *signer) verifiedID(token string) string {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return ""
	}
	var claims struct {
		ID string `json:"jti"`
	}
	if err := parsed.Claims(s.key.Public(), &claims); err != nil {
		return ""
	}
	return claims.ID
}
