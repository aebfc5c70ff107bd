package auth

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"drawbridge/tokenstore"
)

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
	closed sync.Once

	asking  context.Context // how long humans are waited for; cancelled by EndSignIn, and with ctx
	askNone context.CancelFunc

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
	Device   DeviceCode      // another way in, for a browser on any device; zero where there is none
	Reason   string          // why it is needed, in a sentence; "" on a first sign-in
	Deadline time.Time       // when it ends by itself
	Done     <-chan struct{} // closed when it ended, whatever the outcome
	Err      func() error    // after Done: nil, or why it failed

	// Present shows URL to the human, once however often it is called. It does not block. Where and when a tab would be
	// opened, instead is called if it is not nil; if it fails, the tab is opened after all.
	Present func(instead func() error)
}

// DeviceCode is a way to sign in on another device (RFC 8628).
type DeviceCode struct {
	UserCode    string // what the human types
	URI         string // where
	CompleteURI string // the same with the code in it; may be ""
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
	if cfg.ServerHTTP != cfg.HTTP {
		s.fetch.toServer(server, cfg.ServerHTTP.Transport)
	}
	s.disco = &discovery{server: server, issuer: cfg.Issuer, trusted: cfg.TrustIssuer, assumePKCE: cfg.AssumePKCE, fetch: s.fetch, log: cfg.Log}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.asking, s.askNone = context.WithCancel(s.ctx)
	return s, nil
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
	if !s.mayRenew(req) {
		h = ifAlive(h, s.now())
	} else if h, err = s.fresh(req.Context(), h); err != nil {
		return err
	}
	if h.token().IsZero() {
		return nil
	}
	h.set(req)
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
		if p, err = s.askPatiently(ctx); err != nil {
			return tokenstore.Credential{}, err
		}
	}
	p.again.Store(true) // the human asked for it
	p.present(nil)
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

// Owner names whose credential requests carry at present, in a word that is no secret: the person, where the sign-in
// disclosed who they are, else the sign-in itself. "" is nobody, or a sign-in without a name; known is false before the
// store was read. It waits for nothing.
func (s *Session) Owner() (name string, known bool) {
	h := s.view().held
	switch c := h.credential; {
	case h.token().IsZero():
		return "", h.loaded
	case c.Subject != "":
		return "person " + strconv.Quote(c.Subject) + " of " + c.Issuer, true
	case c.SignIn != "":
		return "sign-in " + c.SignIn, true
	}
	return "", false
}
