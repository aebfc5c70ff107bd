package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Identity is whom a valid token speaks for. It is shared between requests with the same token: nobody may change it.
type Identity struct {
	// Issuer and Subject together name the account for ever (OpenID Connect Core section 5.7). A static token has the
	// issuer "static".
	Issuer, Subject string

	// Email is the address that the issuer names and does not call unverified. Username is what else the issuer calls the
	// person. Both are for people to read: they may change hands, so no rule should depend on them.
	Email, Username string

	// ClientID is the program that the token was issued to.
	ClientID string

	// Scopes and Groups are what the token grants and where its subject belongs.
	Scopes, Groups []string

	// GroupsUnknown says why the groups are not known, although the issuer has some: a policy that looked at an empty list
	// would decide wrongly. "" is the usual case. Every request of such an identity is denied with this text.
	GroupsUnknown string

	// Expiry is when the token ends.
	Expiry time.Time

	// ACR, AMR and AuthTime tell how and when the person signed in (OpenID Connect Core section 2, RFC 9470). The zero
	// values mean that the token does not say.
	ACR      string
	AMR      []string
	AuthTime time.Time

	// TokenHash is the beginning of the SHA-256 of the token, in hex: the same token can be followed through the audit, and
	// cannot be used.
	TokenHash string

	// Via is how the token was found valid.
	Via Via

	// Deprecated says, where a static token was used, which and until when. It goes to the client in a header, and belongs
	// into the audit.
	Deprecated string

	sunset time.Time // of a static token
}

// Via is a way of validating tokens.
type Via string

// Ways of validating tokens.
const (
	ViaJWT           Via = "jwt"           // by its signature
	ViaIntrospection Via = "introspection" // by asking the issuer (RFC 7662)
	ViaStatic        Via = "static"        // by the hash of a [StaticToken]
)

// HasScopes reports whether the token grants all of the scopes.
func (id *Identity) HasScopes(scopes ...string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(id.Scopes, s) })
}

// InGroup reports whether the subject is in one of the groups.
func (id *Identity) InGroup(groups ...string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(id.Groups, g) })
}

type identityKey struct{}

// FromContext returns the identity of the request that ctx belongs to; nil if the request came through no [Guard].
func FromContext(ctx context.Context) *Identity {
	id, _ := ctx.Value(identityKey{}).(*Identity)
	return id
}

// withIdentity returns the request as the protected handler gets it: it says whom it speaks for, and has no token, which
// must not be passed on (MCP, authorization: access token privilege restriction).
func withIdentity(r *http.Request, id *Identity) *http.Request {
	r = r.WithContext(context.WithValue(r.Context(), identityKey{}, id))
	r.Header = maps.Clone(r.Header) // the caller's handlers may still look at theirs
	delete(r.Header, "Authorization")
	return r
}

// tokenKey is the hash that a token is cached under and compared by.
type tokenKey [sha256.Size]byte

func keyOf(token string) tokenKey { return sha256.Sum256([]byte(token)) }

// tokenHashBytes are enough that no two tokens meet.
const tokenHashBytes = 16

// String returns the form for [Identity.TokenHash].
func (k tokenKey) String() string { return hex.EncodeToString(k[:tokenHashBytes]) }
