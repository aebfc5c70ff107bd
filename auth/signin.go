package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// signIn is one attempt to have a human sign in. Everything that must match when the answer comes is fixed before the
// URL exists.
type signIn struct {
	target   target
	client   tokenstore.Client
	landing  *landing
	callback callback
	verifier secret.Text // PKCE (RFC 7636)
	scopes   []string    // asked for, as the server names them
	asks     url.Values  // parameters of the authorization request; nil when another process made it
	idp      tokenstore.IdP
	url      string

	redirectURI string
	device      tokenstore.Device // zero where there is none

	reason   string
	deadline time.Time
	present  func(instead func() error) // once
	again    atomic.Bool                // open a tab though one was opened before: the human asked for it
	recorded bool                       // other processes can find it in the store
	unlock   func()                     // of the lock that makes this process the leader; nil for a follower

	// free is closed by letGo, when this process does nothing more for it: it is done, or left to another process.
	free  chan struct{}
	letGo func() // gives the lock back too; may be called more than once

	// taken is set by whoever decides the outcome: the one valid response, or the end of the time.
	taken   atomic.Bool
	outcome chan error // the response's, after taken

	polled chan struct{} // closed when the device code is not asked about any more

	rejections atomic.Int32              // requests that were not the awaited response
	mixUp      atomic.Pointer[rejection] // the last response with the right state and a wrong iss

	done       chan struct{}
	credential tokenstore.Credential // set before done is closed
	err        error                 // set before done is closed
}

// public is what others may know of it.
func (p *signIn) public() SignIn {
	return SignIn{
		URL: p.url, Device: DeviceCode{p.device.UserCode, p.device.URI, p.device.CompleteURI},
		Reason: p.reason, Deadline: p.deadline, Done: p.done,
		Err: func() error { return p.err }, Present: p.present,
	}
}

// want is what a sign-in is to bring about.
type want struct {
	wanted     wanted
	generation int      // of the credential that was refused
	have       []string // scopes to keep (step-up)
	reason     string
	always     bool // even if a newer credential has turned up
}

// beginLimit bounds discovery and registration.
const beginLimit = 90 * time.Second

// ask makes sure that a sign-in is under way.
func (s *Session) ask(ctx context.Context, w want) (Verdict, error) {
	p, err := s.started(ctx, w)
	if err != nil {
		return Refused, err
	}
	if p == nil {
		return Resend, nil
	}
	return Pending, nil
}

// started returns the sign-in under way, or begins one. It returns nil when a credential turned up meanwhile.
func (s *Session) started(ctx context.Context, w want) (*signIn, error) {
	return share(ctx, &s.flights, "sign-in", func() (*signIn, error) {
		st := s.view()
		switch {
		case st.pending != nil:
			return st.pending, nil
		case st.held.generation != w.generation && st.held.alive(s.now()) && !w.always:
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(s.ctx, beginLimit)
		defer cancel()
		p, err := s.begin(ctx, w)
		if err != nil && s.ctx.Err() != nil {
			return nil, errClosed
		}
		return p, err
	})
}

// askUnprompted starts a sign-in that no refusal asked for, and so has to fetch the challenge itself.
func (s *Session) askUnprompted(ctx context.Context) (*signIn, error) {
	w, err := s.probe(ctx, secret.Text{})
	if err != nil {
		return nil, err
	}
	next := want{wanted: w, always: true}
	if next.wanted.demands = s.demanded(ctx); next.wanted.demands != nil {
		next.have = askedAndGranted(s.view().held.credential)
	}
	p, err := s.started(ctx, next)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// portPoll is the pause between two looks at a port that is busy.
const portPoll = time.Second

// askPatiently is askUnprompted for a person who waits: while another sign-in has the port, it waits too, for as long as
// a sign-in may take.
func (s *Session) askPatiently(ctx context.Context) (*signIn, error) {
	wait, cancel := context.WithTimeout(ctx, s.cfg.LoginTimeout)
	defer cancel()
	for told := false; ; told = true {
		p, err := s.askUnprompted(ctx)
		var busy busyPort
		if !errors.As(err, &busy) {
			return p, err
		}
		if !told {
			s.cfg.Notice(fmt.Sprintf("port %d is busy, perhaps with another sign-in; waiting for it up to %v", busy.at.Port, s.cfg.LoginTimeout))
		}
		if !busy.awaitFree(wait) {
			return nil, cmp.Or(ctx.Err(), err)
		}
	}
}

// probe sends a request with token, or without a credential where that is zero, to learn from the refusal where and how to
// sign in. Whatever else comes back, the well-known places are tried.
func (s *Session) probe(ctx context.Context, token secret.Text) (wanted, error) {
	ctx = withDestination(ctx, s.server, true)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.String(), nil)
	if err != nil {
		return wanted{}, fmt.Errorf("ask the server for its sign-in: %w", err)
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if !token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	resp, err := s.fetch.get.Do(req)
	var slow net.Error
	switch {
	case errors.As(err, &slow) && slow.Timeout() && ctx.Err() == nil:
		return wanted{bearer: true}, nil // a stream that says nothing before its first event
	case err != nil:
		return wanted{}, orHint(fmt.Errorf("ask the server for its sign-in: %w", netCause(err)), "check the URL and the network")
	}
	defer resp.Body.Close() // unread: it may be a stream without end
	if resp.StatusCode != http.StatusUnauthorized {
		return wanted{bearer: true, open: resp.StatusCode < 300}, nil
	}
	return readChallenge(resp.Header), nil
}

func (s *Session) prepare(t target, client tokenstore.Client, at *landing, w want) (*signIn, error) {
	state := secret.New(oauth2.GenerateVerifier()) // 32 random bytes
	cb, err := newCallback(at.uri, state, t.as)
	if err != nil {
		return nil, err
	}
	ph := s.phrase(t, w)
	p := &signIn{
		target: t, client: client, landing: at, callback: cb,
		verifier:    secret.New(oauth2.GenerateVerifier()),
		scopes:      s.chooseScopes(w, t),
		asks:        ph.authorize,
		idp:         ph.record(),
		reason:      w.reason,
		deadline:    s.cfg.Now().Add(s.cfg.LoginTimeout),
		redirectURI: at.uri,
	}
	p.url = p.authorizationURL()
	s.equip(p)
	return p, nil
}

// equip gives p what it needs beside its words.
func (s *Session) equip(p *signIn) {
	p.outcome, p.done, p.free, p.polled = make(chan error, 1), make(chan struct{}), make(chan struct{}), make(chan struct{})
	p.present = s.presenter(p)
	p.letGo = sync.OnceFunc(func() {
		if p.unlock != nil {
			p.unlock()
		}
		close(p.free)
	})
}

// authorizationURL is RFC 6749 section 4.1.1 with PKCE, and what the phrasing adds.
func (p *signIn) authorizationURL() string {
	config := oauth2.Config{
		ClientID:    p.client.ID,
		Endpoint:    oauth2.Endpoint{AuthURL: p.target.as.AuthorizationEndpoint},
		RedirectURL: p.redirectURI,
		Scopes:      p.idp.Asked,
	}
	var options []oauth2.AuthCodeOption
	for name := range p.asks {
		options = append(options, oauth2.SetAuthURLParam(name, p.asks.Get(name)))
	}
	options = append(options, oauth2.S256ChallengeOption(p.verifier.Reveal())) // last: nothing comes in its place
	return config.AuthCodeURL(p.callback.state.Reveal(), options...)
}

// chooseScopes follows MCP 2025-11-25 "Scope Selection Strategy": the challenge's scopes, else all that the resource
// supports, else none; a configured list narrows that.
func (s *Session) chooseScopes(w want, t target) []string {
	scopes := w.wanted.scopes
	if len(scopes) == 0 {
		scopes = t.scopes
	}
	if len(s.cfg.Scopes) > 0 {
		scopes = s.cfg.Scopes
	}
	return union(w.have, scopes)
}

// show opens a browser and says so, in case none appears. What comes in the place of a browser is called beside, as it may
// wait for the human.
func (s *Session) show(p *signIn, instead func() error) {
	if instead == nil {
		s.openBrowser(p)
		return
	}
	go func() {
		err := instead()
		if err == nil {
			return
		}
		s.log.Info("the sign-in could not be shown otherwise", "cause", err)
		if s.cfg.Open != nil && s.claimTab(s.ctx, p, true) {
			s.openBrowser(p)
		}
	}()
}

func (s *Session) openBrowser(p *signIn) {
	s.cfg.Notice("opening a browser to sign in to " + s.server.Host + "; if none appears, open " + p.url)
	go func() { // an opener may wait for the browser to be closed
		if err := s.cfg.Open(p.url); err != nil {
			s.cfg.Notice("no browser could be opened (" + printable(err.Error()) + "); open " + p.url)
		}
	}()
}

// run serves the redirect URI until the outcome is known, then frees the port and tells everybody.
func (s *Session) run(p *signIn) {
	srv := s.callbackServer(p)
	for _, ln := range p.landing.listeners {
		go func() { _ = srv.Serve(ln) }() // ends with ErrServerClosed or the closed listener
	}
	if p.device.Code.IsZero() {
		close(p.polled)
	} else {
		go s.pollDevice(p)
	}
	p.err = s.await(p)
	p.landing.close()
	if p.err != nil {
		s.weighRegistration(p) // before the next sign-in, which uses it
	}
	s.closeRecord(p, p.err)
	s.conclude(p)
	if p.err == nil {
		s.weighRegistration(p)
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close() // a browser holds a connection open; the page was sent
	}
}

// await returns the outcome of p. Once a valid response has been taken, its outcome is waited for, which is bounded.
func (s *Session) await(p *signIn) error {
	timeout := time.NewTimer(min(p.deadline.Sub(s.cfg.Now()), s.cfg.LoginTimeout)) // the clock may have been set back
	defer timeout.Stop()
	var late error
	select {
	case err := <-p.outcome:
		return err
	case <-timeout.C:
		late = s.expired(p)
	case <-s.asking.Done():
		p.landing.close() // at once; what follows may take as long as an answer
		<-p.polled        // it may bring the tokens
		late = errClosed
	}
	if !p.taken.CompareAndSwap(false, true) {
		return <-p.outcome
	}
	if errors.Is(late, errClosed) {
		p.letGo()
		<-s.ctx.Done() // those who need it still learn of its address
	}
	return late
}

// expired says why nothing came.
func (s *Session) expired(p *signIn) error {
	err := fmt.Errorf("%w at %s within %v", errUnanswered, quoted(p.target.as.Issuer), s.cfg.LoginTimeout)
	if mixUp := p.mixUp.Load(); mixUp != nil {
		err = fmt.Errorf("sign-in at %s: %w", quoted(p.target.as.Issuer), mixUp)
	}
	if mixUp := p.mixUp.Load(); mixUp != nil && mixUp.hint != "" {
		return hint(err, "%s", mixUp.hint)
	}
	return hint(err, "the next call or `drawbridge login %s` starts another sign-in", s.cfg.ServerURL)
}
