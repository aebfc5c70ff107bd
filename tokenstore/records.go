package tokenstore

import (
	"time"

	"drawbridge/internal/secret"
)

// Credential is what one sign-in yielded, with everything that a refresh or a revocation needs, so that neither needs
// discovery. It is bound to server, resource, issuer and client, and refused when they no longer match.
type Credential struct {
	ServerURL string // canonical URL the user typed
	Profile   string // "" is the default profile
	Resource  string // RFC 8707 resource the token was issued for
	Issuer    string // of the validated metadata (RFC 8414 section 2)
	Subject   string // who signed in, as far as the sign-in disclosed it; "" when it did not
	SignIn    string // names the sign-in through all renewals, at random; "" in a record that is older than this member

	Client Client
	IdP    IdP

	TokenEndpoint      string
	RevocationEndpoint string // "" when the issuer has none

	// KeyHeader names the header that carries AccessToken when that is a static key of the server, which no sign-in yielded:
	// there is no issuer then, and nothing to refresh. "" for the outcome of a sign-in.
	KeyHeader string

	AccessToken  secret.Text
	TokenType    string
	RefreshToken secret.Text // zero when the issuer gave none
	Scopes       []string    // granted
	IssuedAt     time.Time
	Expiry       time.Time // zero when unknown
}

// IsKey reports whether the credential is a static key.
func (c Credential) IsKey() bool { return c.KeyHeader != "" }

// IdP is how the issuer wants to be spoken to, so that a refresh does what the sign-in found out.
type IdP struct {
	Profile string            // profile that was recognised; "" in a record that is older than profiles
	Changes []string          // what differs from the specifications, in words for people
	Asked   []string          // scopes the sign-in asked for; Credential.Scopes are those it got
	Refresh map[string]string // parameters that a refresh sends beside those of RFC 6749 section 6
}

// Client is an OAuth client identity at one issuer.
type Client struct {
	ID         string
	Secret     secret.Text // zero for public clients
	AuthMethod string      // RFC 7591 token_endpoint_auth_method: none, client_secret_basic, client_secret_post
}

// Registration is the outcome of a dynamic client registration (RFC 7591), kept to be reused at the same issuer.
type Registration struct {
	Issuer       string
	Client       Client
	RedirectURI  string
	SecretExpiry time.Time // zero: never
	Doubts       int       // sign-ins in a row that nobody finished

	// RFC 7592 management of the registration; zero where the issuer offers none.
	ManagementURI   string
	ManagementToken secret.Text

	// Superseded are earlier registrations at the issuer that were not deleted there, the oldest first. Where they are all
	// that is left, Client is zero.
	Superseded []Superseded
}

// Superseded is what it takes to delete a registration that another one took the place of (RFC 7592 section 2.3).
type Superseded struct {
	ClientID        string
	ManagementURI   string
	ManagementToken secret.Text
}
