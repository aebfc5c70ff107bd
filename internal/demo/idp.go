package demo

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"drawbridge/internal/secret"
)

// IdPConfig configures an identity provider. The zero value works.
type IdPConfig struct {
	// Addr is the loopback address to listen on. If empty, "127.0.0.1:0".
	Addr string
	// Path is the path of the issuer, such as "/tenant1". If empty, the issuer is an origin.
	Path string
	// Users are the people. If nil, Ada and Grace.
	Users []User
	// Clients are registered beforehand.
	Clients []Client
	// Resources are the RFC 8707 resource identifiers that tokens may be asked for; AddResource adds more.
	Resources []string
	// Scopes are the scopes that exist. If nil, "mcp", "mcp:admin" and "offline_access".
	Scopes []string
	// TokenLifetime is how long an access token lives. If zero, 5 minutes.
	TokenLifetime time.Duration
	// AnyLoopbackPort lets the port of a registered loopback redirect URI vary (RFC 8252 §7.3). If false, redirect
	// URIs match exactly.
	AnyLoopbackPort bool
	// Intercept, if not nil, sees every request first. It reports whether it answered the request.
	Intercept func(w http.ResponseWriter, r *http.Request) (handled bool)
	// Now is the clock. If nil, time.Now.
	Now func() time.Time
	// Log receives diagnostics, never a secret. If nil, they are discarded.
	Log *slog.Logger
}

// Client is an OAuth client that the identity provider knows (RFC 7591 §2 has the words).
type Client struct {
	ID string
	// Secret is empty for a public client.
	Secret secret.Text
	// AuthMethod is "none", "client_secret_basic" or "client_secret_post". If empty, "none" without a Secret and
	// "client_secret_basic" with one.
	AuthMethod   string
	Name         string
	RedirectURIs []string
}

// IdP is an OAuth 2.1 authorization server with people, a login page and a consent page. All methods are safe for
// concurrent use.
type IdP struct {
	issuer string
}

// StartIdP runs an identity provider until [IdP.Close] is called or ctx ends.
func StartIdP(ctx context.Context, cfg IdPConfig) (*IdP, error) { return &IdP{}, nil }

// Issuer is the issuer identifier (RFC 8414 §2), without a slash at the end.
func (p *IdP) Issuer() string { return p.issuer }

// Close stops the provider and cuts its connections. It may be called more than once.
func (p *IdP) Close() error { return nil }

// AddResource makes a resource identifier known (RFC 8707).
func (p *IdP) AddResource(resource string) {}

// AddClient registers a client, or replaces the one with the same ID.
func (p *IdP) AddClient(c Client) {}

// RemoveClient forgets a client: its next request is refused with invalid_client.
func (p *IdP) RemoveClient(id string) {}

// AddUser adds a person, or replaces the one with the same name, who is then active.
func (p *IdP) AddUser(u User) {}

// Deactivate is what IT does on the last day: the person can no longer sign in and their refresh tokens are refused
// with invalid_grant. Access tokens end by themselves.
func (p *IdP) Deactivate(user string) {}

// Activate undoes Deactivate. Refresh tokens given out before stay refused.
func (p *IdP) Activate(user string) {}

// RevokeUser ends every refresh token of the person, and their login session in the browser.
func (p *IdP) RevokeUser(user string) {}

// SetTokenLifetime sets how long access tokens issued from now on live, at least one second.
func (p *IdP) SetTokenLifetime(d time.Duration) {}

// SetFaults replaces the faults.
func (p *IdP) SetFaults(f Faults) {}

// SetIntercept replaces IdPConfig.Intercept; nil removes it.
func (p *IdP) SetIntercept(f func(w http.ResponseWriter, r *http.Request) (handled bool)) {}

// Counts returns what the provider has done so far.
func (p *IdP) Counts() Counts { return Counts{} }

// Issued returns every secret handed out so far: codes, access and refresh tokens, client secrets, session and form
// tokens, and the ids inside of access tokens. Each contains CANARY, access tokens in their jti.
func (p *IdP) Issued() []string { return nil }
