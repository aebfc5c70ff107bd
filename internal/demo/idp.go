package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
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
	// Scopes are the scopes that exist. If nil, "mcp", "mcp:admin", "openid" and "offline_access". The first one is
	// granted to a request that names none.
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

// IdP is an OAuth 2.1 authorization server with people, a login page and a consent page. All methods are safe for
// concurrent use.
type IdP struct {
	issuer          string
	path            string // of the issuer: "" or "/tenant1"
	cookie          string // name of the session cookie; it holds the port because cookies do not tell ports apart
	anyLoopbackPort bool
	scopes          []string
	signer          *signer
	pages           *pages
	documents       *http.Client // fetches client id metadata documents
	now             func() time.Time
	log             *slog.Logger
	http            *loopback

	mu    sync.Mutex
	state state // guarded by mu; reached by update
}

// state is everything that changes while an identity provider runs.
type state struct {
	users     map[string]*account
	clients   map[string]Client
	resources map[string]bool
	lifetime  time.Duration // of access tokens
	faults    Faults
	intercept func(http.ResponseWriter, *http.Request) bool
	counts    Counts
	issued    []string

	sessions map[string]*session      // by cookie value
	requests map[string]*authRequest  // that wait for the human, by id
	codes    map[string]*code         // spent ones too, to notice a replay
	refresh  map[string]*refreshToken // spent ones too, to notice a reuse
	grants   []*grant
	access   map[string]*grant // by the jti of an access token
	revoked  map[string]bool   // jti of access tokens revoked one by one
}

// account is a person and whether IT has deactivated them.
type account struct {
	User
	inactive bool
}

// StartIdP runs an identity provider until [IdP.Close] is called or ctx ends.
func StartIdP(ctx context.Context, cfg IdPConfig) (*IdP, error) {
	p, err := newIdP(cfg)
	if err != nil {
		return nil, err
	}
	l, host, err := listenLoopback(cfg.Addr)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(host) // host was just joined
	p.issuer, p.cookie = "http://"+host+p.path, "demo_session_"+port
	p.http = serveLoopback(ctx, l, p.handler(), p.log)
	return p, nil
}

func newIdP(cfg IdPConfig) (*IdP, error) {
	if cfg.Path != "" {
		if err := checkPath(cfg.Path); err != nil {
			return nil, fmt.Errorf("issuer path: %w", err)
		}
	}
	cfg = cfg.withDefaults()
	signer, err := newSigner()
	if err != nil {
		return nil, fmt.Errorf("create signing key: %w", err)
	}
	pages, err := readPages()
	if err != nil {
		return nil, fmt.Errorf("parse pages: %w", err)
	}
	p := &IdP{path: cfg.Path, anyLoopbackPort: cfg.AnyLoopbackPort, scopes: cfg.Scopes, signer: signer, pages: pages,
		documents: documentClient(), now: cfg.Now, log: cfg.Log, state: newState(cfg)}
	return p, nil
}

func (c IdPConfig) withDefaults() IdPConfig {
	if c.Users == nil {
		c.Users = []User{Ada(), Grace()}
	}
	if c.Scopes == nil {
		c.Scopes = []string{"mcp", "mcp:admin", "openid", "offline_access"}
	}
	if c.TokenLifetime == 0 {
		c.TokenLifetime = 5 * time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func newState(cfg IdPConfig) state {
	s := state{
		users: map[string]*account{}, clients: map[string]Client{}, resources: map[string]bool{},
		lifetime: cfg.TokenLifetime, intercept: cfg.Intercept,
		sessions: map[string]*session{}, requests: map[string]*authRequest{}, codes: map[string]*code{},
		refresh: map[string]*refreshToken{}, access: map[string]*grant{}, revoked: map[string]bool{},
	}
	s.counts.TokenRequests = map[string]int{}
	for _, u := range cfg.Users {
		s.users[u.Name] = &account{User: u}
	}
	for _, c := range cfg.Clients {
		s.addClient(c)
	}
	for _, r := range cfg.Resources {
		s.resources[r] = true
	}
	return s
}

// handler routes the endpoints below the issuer's path, and the well-known documents where RFC 8414 §3.1 and OpenID
// Connect Discovery §4 put them.
func (p *IdP) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server"+p.path, p.metadata)
	mux.HandleFunc("GET /.well-known/openid-configuration"+p.path, p.metadata)
	if p.path != "" {
		mux.HandleFunc("GET "+p.path+"/.well-known/openid-configuration", p.metadata)
	}
	mux.HandleFunc("GET "+p.path+"/jwks", p.jwks)
	mux.HandleFunc("GET "+p.path+"/authorize", p.authorize)
	mux.HandleFunc("GET "+p.path+"/login", p.loginPage)
	mux.HandleFunc("POST "+p.path+"/login", p.login)
	mux.HandleFunc("GET "+p.path+"/consent", p.consentPage)
	mux.HandleFunc("POST "+p.path+"/consent", p.consent)
	mux.HandleFunc("GET "+p.path+"/style.css", p.pages.style)
	mux.HandleFunc("POST "+p.path+"/token", p.token)
	mux.HandleFunc("POST "+p.path+"/register", p.register)
	mux.HandleFunc("DELETE "+p.path+"/register/{client}", p.deregister)
	mux.HandleFunc("POST "+p.path+"/revoke", p.revoke)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var intercept func(http.ResponseWriter, *http.Request) bool
		p.update(func(s *state) { intercept = s.intercept })
		if intercept == nil || !intercept(w, r) {
			mux.ServeHTTP(w, r)
		}
	})
}

// update runs f with the state to itself. f does no I/O.
func (p *IdP) update(f func(*state)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.state)
}

// newSecret makes a secret of 128 bits and more that a search for CANARY finds, and notes it down.
func (s *state) newSecret(kind string) string {
	text := "CANARY-" + kind + "-" + rand.Text()
	s.issued = append(s.issued, text)
	return text
}

// Issuer is the issuer identifier (RFC 8414 §2), without a slash at the end.
func (p *IdP) Issuer() string { return p.issuer }

// Close stops the provider and cuts its connections. It may be called more than once.
func (p *IdP) Close() error { return p.http.close() }

// SetFaults replaces the faults.
func (p *IdP) SetFaults(f Faults) { p.update(func(s *state) { s.faults = f }) }

func (p *IdP) faults() (f Faults) {
	p.update(func(s *state) { f = s.faults })
	return f
}

// SetIntercept replaces IdPConfig.Intercept; nil removes it.
func (p *IdP) SetIntercept(f func(w http.ResponseWriter, r *http.Request) (handled bool)) {
	p.update(func(s *state) { s.intercept = f })
}

// Counts returns what the provider has done so far.
func (p *IdP) Counts() (c Counts) {
	p.update(func(s *state) { c = s.counts.clone() })
	return c
}

// Issued returns every secret handed out so far: codes, access and refresh tokens, client secrets, session and form
// tokens, and the ids inside of access tokens. Each contains CANARY, access tokens in their jti.
func (p *IdP) Issued() (all []string) {
	p.update(func(s *state) { all = slices.Clone(s.issued) })
	return all
}
