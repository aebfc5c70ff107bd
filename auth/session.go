package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

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
type Session struct {
	cfg    Config // defaults filled in
	server *url.URL
	name   tokenstore.Name // of the credential

	pendingName tokenstore.Name // of the sign-in under way

	log   *slog.Logger
	fetch *fetcher
	disco *discovery

	// One load, one refresh and one start of a sign-in at a time, shared by everybody who needs its result.
	flights singleflight.Group

	ctx    context.Context // the session's lifetime; cancelled by Close
	cancel context.CancelFunc

	mu    sync.Mutex
	state state // reached by update and view only
}

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

// New checks cfg. It neither reads the store nor talks to anyone.
func New(cfg Config) (*Session, error) {
	server, err := cfg.check()
	if err != nil {
		return nil, err
	}
	cfg.fill(server)
	name, err := tokenstore.CredentialName(cfg.ServerURL, cfg.Profile)
	if err != nil {
		return nil, err
	}
	pendingName, err := tokenstore.SignInName(cfg.ServerURL, cfg.Profile)
	if err != nil {
		return nil, err
	}
	s := &Session{cfg: cfg, server: server, name: name, pendingName: pendingName, log: cfg.Log}
	r := &reach{server: server, lookup: net.DefaultResolver.LookupNetIP}
	s.fetch = newFetcher(cfg.HTTP.Transport, r, cfg.Log)
	s.disco = &discovery{server: server, issuer: cfg.Issuer, fetch: s.fetch, log: cfg.Log}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// check refuses a configuration that cannot work and returns the canonical server URL.
func (c *Config) check() (*url.URL, error) {
	if c.Store == nil {
		return nil, errors.New("no token store is configured")
	}
	server, err := c.serverURL()
	if err != nil {
		return nil, err
	}
	if err := c.Client.check(); err != nil {
		return nil, err
	}
	if c.Issuer != "" {
		if _, err := secureURL("issuer", c.Issuer); err != nil {
			return nil, err
		}
	}
	return server, c.Callback.check()
}

func (c *Config) serverURL() (*url.URL, error) {
	canonical, err := tokenstore.CanonicalURL(c.ServerURL)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(canonical)
	if err != nil {
		return nil, fmt.Errorf("server URL %s: not a URL", quoted(c.ServerURL))
	}
	if u.Scheme == "http" && !c.AllowHTTP && !isLoopbackName(u.Hostname()) {
		return nil, hint(fmt.Errorf("server URL %s: plain http would show the token to the network", quoted(canonical)),
			"use https, or accept the risk with --allow-http")
	}
	return u, nil
}

func (c ClientIdentity) check() error {
	switch {
	case c.ID == "" && !c.Secret.IsZero():
		return errors.New("a client secret needs a client id")
	case c.ID != "" && c.MetadataURL != "":
		return errors.New("a client id and a client metadata URL exclude each other")
	case c.MetadataURL != "":
		// MCP 2025-11-25: an https URL with a path component.
		u, err := secureURL("client metadata URL", c.MetadataURL)
		if err != nil {
			return err
		}
		if strings.Trim(u.Path, "/") == "" {
			return fmt.Errorf("client metadata URL %s: it needs a path", quoted(c.MetadataURL))
		}
	}
	return nil
}

// fill puts defaults in the place of zero fields.
func (c *Config) fill(server *url.URL) {
	c.ServerURL = server.String()
	c.HTTP = cmp.Or(c.HTTP, http.DefaultClient)
	c.LoginTimeout = cmp.Or(c.LoginTimeout, DefaultLoginTimeout)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	if c.Notice == nil {
		c.Notice = func(string) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// Warm loads the credential from the store, so that [Session.Authorize] finds it in memory. It may run beside anything.
func (s *Session) Warm(ctx context.Context) { _, _ = s.load(ctx) }

// Authorize sets the Authorization header of req when there is a usable credential for it, refreshing a token that is
// about to expire. Requests to another origin than the server's are left alone, and so is a request for which there is
// no credential: the server's answer will say what it wants. An error means that req must not be sent. It never waits
// for a human.
func (s *Session) Authorize(req *http.Request) error {
	if !sameOrigin(req.URL, s.server) {
		s.log.Debug("request to another origin goes without credential", "host", req.URL.Host)
		return nil
	}
	h, err := s.load(req.Context())
	if err != nil {
		// Fail open because the server may not want a credential; its 401 asks the store again and shows the error.
		s.log.Warn("the stored sign-in could not be read", "cause", err)
		return nil
	}
	if h.token().IsZero() {
		return nil
	}
	if h, err = s.fresh(req.Context(), h); err != nil || h.token().IsZero() {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+h.token().Reveal())
	return nil
}

// Pending returns the sign-in under way, if there is one.
func (s *Session) Pending() (SignIn, bool) {
	p := s.view().pending
	if p == nil {
		return SignIn{}, false
	}
	return p.public(), true
}

// SignIn signs the human in: it joins the sign-in under way or starts one, presents it and waits for its end or for
// ctx's. Leaving early does not end the sign-in; Close does.
func (s *Session) SignIn(ctx context.Context) (tokenstore.Credential, error) {
	p := s.view().pending
	if p == nil {
		var err error
		if p, err = s.askUnprompted(ctx); err != nil {
			return tokenstore.Credential{}, err
		}
	}
	p.again.Store(true) // the human asked for it
	p.present()
	select {
	case <-p.done:
		return p.credential, p.err
	case <-ctx.Done():
		return tokenstore.Credential{}, ctx.Err()
	}
}

// Credential returns what the store holds for this server and profile. The error wraps tokenstore.ErrNotFound when
// there is nothing, or nothing that matches the configuration.
func (s *Session) Credential(ctx context.Context) (tokenstore.Credential, error) { return s.read(ctx) }

// closeLimit bounds how long Close waits for the port to be free.
const closeLimit = time.Second

// Close ends a pending sign-in and frees its port. Authorize and Challenged still work afterwards, but start no other.
func (s *Session) Close() {
	s.cancel()
	if p := s.view().pending; p != nil {
		select {
		case <-p.done:
		case <-time.After(closeLimit):
		}
	}
	s.fetch.close()
}
