package proxy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"drawbridge/auth/guard"
	"drawbridge/internal/secret"
)

// IdentityHeader is where the server behind is told who is calling, if it is told.
const IdentityHeader = "Drawbridge-Identity"

// Life of an assertion, and how old one may be to be used again: one that arrives is good for 30 s at least.
const (
	assertionLife  = 60 * time.Second
	assertionReuse = 30 * time.Second
)

// maxAssertions bounds those that are kept for reuse.
const maxAssertions = 4096

// Signer tells the server behind who is calling: a JWT in [IdentityHeader] that is good for a minute. Make it with
// [NewSigner].
type Signer struct {
	signer   jose.Signer
	public   jose.JSONWebKey
	issuer   string
	audience string
	now      func() time.Time

	mu   sync.Mutex
	made map[*guard.Identity]made // guarded by mu; identities are shared by the requests of a token and never change
}

type made struct {
	text string
	at   time.Time
}

// NewSigner makes a signer. key is an Ed25519 or P-256 private key in PEM (PKCS #8), issuer is this guard's resource,
// audience the server behind. now is the clock; if nil, it is time.Now.
func NewSigner(key secret.Text, issuer, audience string, now func() time.Time) (*Signer, error) {
	private, algorithm, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	public := jose.JSONWebKey{Key: private.Public(), Algorithm: string(algorithm), Use: "sig"}
	print, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("identity key: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(print)
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", public.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: private}, options)
	if err != nil {
		return nil, fmt.Errorf("identity key: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	return &Signer{signer: signer, public: public, issuer: issuer, audience: audience, now: now, made: map[*guard.Identity]made{}}, nil
}

func parseKey(text secret.Text) (crypto.Signer, jose.SignatureAlgorithm, error) {
	block, _ := pem.Decode([]byte(text.Reveal()))
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, "", errors.New(`identity key: want a PEM file with a PRIVATE KEY (try "openssl genpkey -algorithm ed25519")`)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, "", errors.New("identity key: it is no PKCS #8 key") // the cause could quote the key
	}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return key, jose.EdDSA, nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return key, jose.ES256, nil
		}
	}
	return nil, "", errors.New("identity key: want Ed25519 or P-256")
}

// KeySet is what verifies the assertions, as a JSON Web Key Set.
func (s *Signer) KeySet() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.public}}
}

// assertion is what the JWT says.
type assertion struct {
	Issuer    string   `json:"iss"`
	Audience  string   `json:"aud"`
	Subject   string   `json:"sub"`
	Provider  string   `json:"idp"` // the issuer that knows the subject
	Email     string   `json:"email,omitempty"`
	Username  string   `json:"preferred_username,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Client    string   `json:"client_id,omitempty"`
	Scope     []string `json:"scp,omitempty"`
	IssuedAt  int64    `json:"iat"`
	ExpiresAt int64    `json:"exp"`
	ID        string   `json:"jti"`
}

// Assert returns the assertion for an identity.
func (s *Signer) Assert(id *guard.Identity) (string, error) {
	now := s.now()
	s.mu.Lock()
	known := s.made[id]
	s.mu.Unlock()
	if known.text != "" && now.Sub(known.at) < assertionReuse {
		return known.text, nil
	}
	text, err := s.sign(id, now)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.made) >= maxAssertions {
		clear(s.made)
	}
	s.made[id] = made{text, now}
	return text, nil
}

func (s *Signer) sign(id *guard.Identity, now time.Time) (string, error) {
	claims, err := json.Marshal(assertion{
		Issuer: s.issuer, Audience: s.audience, Subject: id.Subject, Provider: id.Issuer, Email: id.Email, Username: id.Username,
		Groups: id.Groups, Client: id.ClientID, Scope: id.Scopes, IssuedAt: now.Unix(), ExpiresAt: now.Add(assertionLife).Unix(),
		ID: rand.Text(),
	})
	if err != nil {
		return "", err
	}
	signed, err := s.signer.Sign(claims)
	if err != nil {
		return "", fmt.Errorf("sign the identity: %w", err)
	}
	return signed.CompactSerialize()
}
