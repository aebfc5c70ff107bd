package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// Config says which server a [Session] is for and what it may use. ServerURL and Store are required.
type Config struct {
	// ServerURL is the MCP server's URL as the user typed it. Credentials go to its origin and nowhere else.
	ServerURL string

	// Profile separates several accounts at one server. "" is the default profile.
	Profile string

	// Store keeps credentials and registrations.
	Store tokenstore.Store

	// HTTP supplies the Transport of every request. If nil, http.DefaultTransport is used. Redirect policy, cookies and
	// time-outs of the client are not taken over: the session has its own.
	HTTP *http.Client

	// Client is the identity to sign in with. The zero value means dynamic registration.
	Client ClientIdentity

	// Issuer pins the authorization server (--issuer). If "", the protected resource metadata decides.
	Issuer string

	// Scopes narrows what is asked for. If empty, the server's challenge and metadata decide.
	Scopes []string

	// Callback is where the identity provider sends the browser back to. The zero value is the documented default.
	Callback CallbackConfig

	// AllowHTTP accepts a ServerURL with plain http on a host that is not loopback. The authorization server's
	// endpoints stay https whatever it says.
	AllowHTTP bool

	// LoginTimeout bounds a sign-in. If zero, it is DefaultLoginTimeout.
	LoginTimeout time.Duration

	// Open shows a URL in the human's browser. If nil, the URL is only given to Notice.
	Open func(url string) error

	// Notice receives lines for the human. If nil, they are discarded.
	Notice func(line string)

	// Log receives diagnostics, never a secret. If nil, they are discarded.
	Log *slog.Logger

	// Now is the clock. If nil, it is time.Now.
	Now func() time.Time
}

// ClientIdentity is the OAuth client to sign in as. At most one of ID and MetadataURL is set; with neither, the client
// registers itself (RFC 7591).
type ClientIdentity struct {
	// ID is the client_id of a pre-registered client.
	ID string

	// Secret belongs to ID; zero for a public client. It is only sent to the pinned or first used issuer.
	Secret secret.Text

	// MetadataURL is the https URL of a client id metadata document, which is the client_id too. It is used where the
	// authorization server advertises support for such documents.
	MetadataURL string
}

// Defaults of the redirect URI that an administrator registers: http://127.0.0.1:17623/callback. Dynamically registered
// clients use a free port instead, which the store remembers with the registration.
const (
	DefaultCallbackHost = "127.0.0.1"
	DefaultCallbackPort = 17623
	DefaultCallbackPath = "/callback"
)

// CallbackConfig is the redirect URI, in parts. Zero fields are defaults.
type CallbackConfig struct {
	Host string // 127.0.0.1, localhost or ::1
	Port int
	Path string
}

// DefaultLoginTimeout bounds a sign-in when the configuration does not.
const DefaultLoginTimeout = 5 * time.Minute

// Session gives requests to one MCP server the credential of one person. It is safe for concurrent use.
type Session struct{ cfg Config }

// Attempt says what the request was that the server refused.
type Attempt struct {
	Operation  string // what was asked for; caps on step-up count per operation
	Background bool   // traffic nobody waits for: it never starts a sign-in
	Resent     int    // how often this request was already sent again
	SignedIn   bool   // a sign-in ended since this request was first sent
}

// Verdict is what to do with a refused request.
type Verdict int

const (
	// Refused means that no credential cures it. Without an error the server's own answer says why.
	Refused Verdict = iota
	// Resend means that a better credential is at hand: send the request again.
	Resend
	// Pending means that a human is needed: wait for the sign-in that [Session.Pending] returns, then send again.
	Pending
)

// SignIn is a sign-in that waits for a human.
type SignIn struct {
	URL      string          // the page to open; it carries no secret that outlives the sign-in
	Reason   string          // why it is needed, in a sentence; "" on a first sign-in
	Deadline time.Time       // when it ends by itself
	Done     <-chan struct{} // closed when it ended, whatever the outcome
	Err      func() error    // after Done: nil, or why it failed
	Present  func()          // shows URL to the human, once however often it is called; does not block
}

// ErrSignInRequired means that only a human can provide a credential, and that nobody was asked.
var ErrSignInRequired = errors.New("a sign-in is required")

// New checks cfg. It neither reads the store nor talks to anyone.
func New(cfg Config) (*Session, error) { return &Session{cfg: cfg}, nil }

// Warm loads the credential from the store, so that [Session.Authorize] finds it in memory. It may run beside anything.
func (s *Session) Warm(ctx context.Context) {}

// Authorize sets the Authorization header of req when there is a usable credential for it, refreshing a token that is
// about to expire. Requests to another origin than the server's are left alone. An error means that req must not be
// sent. It never waits for a human.
func (s *Session) Authorize(req *http.Request) error { return nil }

// Challenged judges resp, a 401 or 403 to a request that [Session.Authorize] saw. It does not close resp.Body.
func (s *Session) Challenged(ctx context.Context, resp *http.Response, a Attempt) (Verdict, error) {
	return Refused, nil
}

// Pending returns the sign-in under way, if there is one.
func (s *Session) Pending() (SignIn, bool) { return SignIn{}, false }

// SignIn signs the human in: it joins the sign-in under way or starts one, presents it and waits for its end.
func (s *Session) SignIn(ctx context.Context) (tokenstore.Credential, error) {
	return tokenstore.Credential{}, ErrSignInRequired
}

// Credential returns what the store holds for this server and profile. The error wraps tokenstore.ErrNotFound when
// there is nothing, or nothing that matches the configuration.
func (s *Session) Credential(ctx context.Context) (tokenstore.Credential, error) {
	return tokenstore.Credential{}, tokenstore.ErrNotFound
}

// Close ends a pending sign-in and frees its port.
func (s *Session) Close() {}
