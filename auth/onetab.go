package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// This file lets all processes of a machine share one sign-in and one browser tab.
//
//	leader    holds the lock "sign-in" and the open port; its sign-in is a record in the store
//	follower  found the lock taken; shows the same URL and waits for the lock
//
// A follower that gets the lock looks at the store. There is a newer credential: done. The record says how the sign-in
// ended: so did its own. Neither: the leader died. If it had received the code, the follower redeems that; else it opens
// the same port and goes on with the same state and verifier, so that the human finishes in the tab that is open. The same happens when a process starts and
// finds the record of one that is gone (MCP clients end a server within half a second).
//
// Whoever opens a tab holds the lock "tab" of the issuer until that sign-in has ended: other sign-ins there wait.

const (
	// tryLimit is how long a lock is asked for that may well be taken.
	tryLimit = 30 * time.Millisecond
	// publishPoll is the pause before a follower first looks again for the record of a leader that is still preparing. It
	// doubles up to publishPollMost, because each look costs the keychain.
	publishPoll, publishPollMost = 100 * time.Millisecond, time.Second
	// misfitLimit is how long the record of a sign-in with other settings may be what a leader left before the present one,
	// who is still preparing.
	misfitLimit = 3 * time.Second
	// resumeLeast is the time that must be left for a sign-in to be worth taking over.
	resumeLeast = 20 * time.Second
	// followGrace is how much longer than the deadline a follower waits for the leader to say how it ended.
	followGrace = 5 * time.Second

	// Brake: after maxTabs tabs for one server within tabMemory, the URL is shown and no other tab is opened.
	maxTabs, tabMemory = 3, 10 * time.Minute
)

// errBusy says that another process, or another goroutine, holds a lock.
var errBusy = errors.New("the lock is taken")

// tryLock takes a lock if it is free.
func (s *Session) tryLock(ctx context.Context, name string) (func(), error) {
	try, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	unlock, err := s.cfg.Store.Lock(try, name)
	if err != nil && try.Err() != nil && ctx.Err() == nil {
		return nil, errBusy
	}
	return unlock, err
}

func (s *Session) signInLock() string { return signInLock(s.pendingName) }

// signInLock is held by the leader of the sign-in called name.
func signInLock(name tokenstore.Name) string { return "sign-in " + string(name) }

// begin makes this process the leader of a sign-in or a follower of one. It returns nil when a newer credential turned
// up. ctx bounds discovery; the sign-in itself ends with its deadline or the session.
func (s *Session) begin(ctx context.Context, w want) (*signIn, error) {
	began := time.Now()
	for pause := publishPoll; ; pause = min(2*pause, publishPollMost) {
		unlock, err := s.tryLock(ctx, s.signInLock())
		if err == nil {
			return s.lead(ctx, w, unlock)
		}
		if !errors.Is(err, errBusy) {
			return nil, passOn(fmt.Errorf("prepare the sign-in: %w", err))
		}
		rec, ok := s.record(ctx)
		waits := ok && rec.Outcome == tokenstore.OutcomePending
		switch {
		case waits && s.fits(rec):
			return s.follow(rec), nil
		case waits && s.now().Before(rec.Deadline) && time.Since(began) >= misfitLimit:
			return nil, hint(passing{errors.New("another process is at a sign-in to this server, with another client or issuer")},
				"finish that sign-in or end that process, then try again")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, hint(passing{errors.New("another process prepares a sign-in to this server and does not get on")},
				"end the other drawbridge processes, or finish their sign-in")
		}
	}
}

// lead begins a sign-in, or goes on with one whose process is gone. unlock is called when it has ended.
func (s *Session) lead(ctx context.Context, w want, unlock func()) (*signIn, error) {
	if h, err := s.reload(ctx); err == nil && !w.always && h.generation != w.generation && h.alive(s.now()) {
		unlock()
		return nil, nil
	}
	old, _ := s.record(ctx)
	if s.fits(old) && s.redeemable(ctx, old) {
		p := s.fromRecord(old)
		p.unlock = unlock
		s.announce(p)
		go s.finish(p, old)
		return p, nil
	}
	p, err := s.takeOver(old, w)
	if err != nil {
		p, err = s.startOver(ctx, w, recentTabs(old.Opened, s.now()))
	}
	if err != nil {
		unlock()
		return nil, err
	}
	p.unlock = unlock
	s.announce(p)
	go s.run(p)
	return p, nil
}

// announce makes p the session's sign-in under way.
func (s *Session) announce(p *signIn) {
	s.update(func(st *state) { st.pending = p })
	s.log.Info("sign-in started", "issuer", printable(p.target.as.Issuer), "deadline", p.deadline)
}

// startOver does everything up to the URL: discovery, client identity, open port, record.
func (s *Session) startOver(ctx context.Context, w want, opened []time.Time) (*signIn, error) {
	t, err := s.disco.find(ctx, w.wanted)
	if err != nil {
		return nil, passOn(fmt.Errorf("find out where to sign in: %w", err))
	}
	client, at, err := s.identify(ctx, t.as)
	if err != nil {
		return nil, passOn(fmt.Errorf("prepare the sign-in: %w", err))
	}
	p, err := s.prepare(t, client, at, w)
	if err != nil {
		at.close()
		return nil, err
	}
	s.startDevice(ctx, p)
	rec := s.recordOf(p)
	rec.Opened = opened
	err = tokenstore.SavePendingSignIn(ctx, s.cfg.Store, rec)
	if p.recorded = err == nil; err != nil {
		// Fail open because a human can sign in without it; only other processes cannot join.
		s.log.Warn("the sign-in could not be recorded for other processes", "cause", err)
	}
	return p, nil
}

// takeOver goes on with a recorded sign-in, at the same port.
func (s *Session) takeOver(rec tokenstore.PendingSignIn, w want) (*signIn, error) {
	left := rec.Deadline.Sub(s.cfg.Now())
	switch {
	case rec.Outcome != tokenstore.OutcomePending || rec.Taken || rec.State.IsZero() || left < resumeLeast:
		return nil, errors.New("nothing to go on with")
	case !s.fits(rec) || !asksFor(rec.URL, w.wanted.demands) || len(without(w.wanted.scopes, rec.Scopes)) > 0 && len(s.cfg.Scopes) == 0:
		return nil, errors.New("the recorded sign-in asks for something else")
	}
	p := s.fromRecord(rec)
	if most := s.cfg.Now().Add(s.cfg.LoginTimeout); p.deadline.After(most) {
		p.deadline = most // the clock was set back, or this process is to wait for less
	}
	return p, s.occupy(p, rec)
}

// occupy opens the port that the recorded redirect URI names.
func (s *Session) occupy(p *signIn, rec tokenstore.PendingSignIn) (err error) {
	if p.landing, err = openLandingAt(rec.RedirectURI); err != nil {
		return err
	}
	if p.callback, err = newCallback(rec.RedirectURI, rec.State, p.target.as); err != nil {
		p.landing.close()
	}
	return err
}

// fits reports whether a record belongs to this configuration: an edited issuer or client is another sign-in.
func (s *Session) fits(rec tokenstore.PendingSignIn) bool {
	id := s.cfg.Client
	return s.coversServer(rec.Resource) && (id.ID == "" || rec.Client.ID == id.ID) &&
		(s.cfg.Issuer == "" || rec.Issuer == s.cfg.Issuer)
}

func (s *Session) fromRecord(rec tokenstore.PendingSignIn) *signIn {
	p := &signIn{
		target: target{resource: rec.Resource, as: serverMetadata{
			Issuer: rec.Issuer, IssAdvertised: rec.IssAdvertised, TokenEndpoint: rec.TokenEndpoint, RevocationEndpoint: rec.RevocationEndpoint,
			AuthorizationEndpoint: rec.URL, trusted: s.cfg.TrustIssuer,
		}},
		client: rec.Client, verifier: rec.Verifier, scopes: rec.Scopes, idp: rec.IdP, url: rec.URL, reason: rec.Reason, deadline: rec.Deadline,
		redirectURI: rec.RedirectURI, device: rec.Device,
		recorded: true,
	}
	s.equip(p)
	return p
}

func (s *Session) recordOf(p *signIn) tokenstore.PendingSignIn {
	return tokenstore.PendingSignIn{
		ServerURL: s.cfg.ServerURL, Profile: s.cfg.Profile,
		Resource: p.target.resource, Issuer: p.target.as.Issuer, IssAdvertised: p.target.as.IssAdvertised,
		TokenEndpoint: p.target.as.TokenEndpoint, RevocationEndpoint: p.target.as.RevocationEndpoint, Client: p.client,
		URL: p.url, Device: p.device, RedirectURI: p.redirectURI, State: p.callback.state, Verifier: p.verifier,
		Scopes: p.scopes, IdP: p.idp, Reason: p.reason, Deadline: p.deadline.UTC().Round(0),
	}
}

// record returns the recorded sign-in. What cannot be read counts as absent: the next sign-in replaces it. One that is
// long over is emptied: nobody can finish it, and its secrets need not lie about.
func (s *Session) record(ctx context.Context) (tokenstore.PendingSignIn, bool) {
	rec, ok := s.loadRecord(ctx)
	if ok && rec.Outcome == tokenstore.OutcomePending && s.now().Sub(rec.Deadline) > longOver {
		s.amend(&signIn{url: rec.URL}, func(r *tokenstore.PendingSignIn) bool { *r = emptied(*r, errUnanswered.Error()); return true })
		rec = emptied(rec, errUnanswered.Error())
	}
	return rec, ok
}

// longOver is how long after its deadline a sign-in is over for those too who wait for its leader.
const longOver = 2 * followGrace

func (s *Session) loadRecord(ctx context.Context) (tokenstore.PendingSignIn, bool) {
	rec, err := tokenstore.LoadPendingSignIn(ctx, s.cfg.Store, s.pendingName)
	if err != nil && ctx.Err() == nil && !errors.Is(err, tokenstore.ErrNotFound) {
		s.log.Warn("the recorded sign-in could not be read", "cause", err)
	}
	return rec, err == nil
}

// emptied returns what stays of the record of a sign-in that has ended: how it did, and the tabs.
func emptied(rec tokenstore.PendingSignIn, outcome string) tokenstore.PendingSignIn {
	return tokenstore.PendingSignIn{
		ServerURL: rec.ServerURL, Profile: rec.Profile, Issuer: rec.Issuer, URL: rec.URL,
		Deadline: rec.Deadline, Outcome: outcome, Opened: rec.Opened,
	}
}

// amend changes the record of p, unless another sign-in has taken its place. It reports whether it was changed.
func (s *Session) amend(p *signIn, change func(*tokenstore.PendingSignIn) bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
	defer cancel()
	unlock, err := s.cfg.Store.Lock(ctx, "record of "+s.signInLock())
	if err != nil {
		s.log.Warn("the recorded sign-in could not be changed", "cause", err)
		return false
	}
	defer unlock()
	rec, ok := s.loadRecord(ctx)
	if !ok || rec.URL != p.url || !change(&rec) {
		return false
	}
	if err := tokenstore.SavePendingSignIn(ctx, s.cfg.Store, rec); err != nil {
		s.log.Warn("the recorded sign-in could not be changed", "cause", err)
	}
	return true
}

// markTaken records that the answer of p arrived, so that no other process waits for it, and its code, so that another
// can redeem it should this one die first: the human has done their part.
func (s *Session) markTaken(p *signIn, code secret.Text) {
	s.amend(p, func(rec *tokenstore.PendingSignIn) bool {
		rec.Taken, rec.TakenAt, rec.Code = true, s.now(), code
		return true
	})
}

// closeRecord writes how p ended. In a process that is ending, only what the identity provider said is an end: else the
// record stays as it is, for the next one.
func (s *Session) closeRecord(p *signIn, err error) {
	if err != nil && s.asking.Err() != nil && !errors.As(err, new(*OAuthError)) {
		return
	}
	s.amend(p, func(rec *tokenstore.PendingSignIn) bool {
		outcome := tokenstore.OutcomeDone
		if err != nil {
			outcome = printable(err.Error())
		}
		*rec = emptied(*rec, outcome)
		return true
	})
}

// follow waits for the sign-in of another process, in the background.
func (s *Session) follow(rec tokenstore.PendingSignIn) *signIn {
	p := s.fromRecord(rec)
	stale := s.view().held.token()
	s.announce(p)
	go func() {
		ctx, cancel := context.WithTimeout(s.asking, rec.Deadline.Sub(s.cfg.Now())+followGrace)
		defer cancel()
		unlock, err := s.awaitLeader(ctx, p)
		p.unlock = unlock
		if err != nil && !errors.Is(err, errOvertaken) {
			p.err = s.unfollowed(p)
			s.conclude(p)
			return
		}
		h, err := s.reload(ctx)
		if err == nil && h.alive(s.now()) && !h.token().Equal(stale) {
			p.credential = h.credential
			s.tidy(ctx, p)
			s.conclude(p)
			return
		}
		s.inherit(ctx, p)
	}()
	return p
}

func (s *Session) unfollowed(p *signIn) error {
	if s.asking.Err() != nil {
		p.letGo()
		<-s.ctx.Done() // those who need it still learn of its address
		return errClosed
	}
	return s.expired(p)
}

// inherit is what a follower does that got the lock and found no new credential.
func (s *Session) inherit(ctx context.Context, p *signIn) {
	rec, ok := s.record(ctx)
	switch {
	case !ok || rec.URL != p.url:
		p.err = hint(errors.New("the sign-in in another process ended without a result"), "try again")
	case s.redeemable(ctx, rec):
		s.finish(p, rec)
		return
	case rec.Outcome == tokenstore.OutcomeDone || rec.Taken && rec.Outcome == tokenstore.OutcomePending:
		p.err = hint(errors.New("the process that received the sign-in ended before it was complete"), "try again")
	case rec.Outcome != tokenstore.OutcomePending:
		p.err = fmt.Errorf("the sign-in, in another process, failed: %s", printable(rec.Outcome))
	case !s.cfg.Now().Before(rec.Deadline):
		p.err = s.expired(p)
	default:
		if p.err = s.occupy(p, rec); p.err == nil {
			s.log.Info("another process left its sign-in; going on with it")
			s.run(p)
			return
		}
	}
	s.conclude(p)
}

// conclude tells everybody in this process that p ended, and lets other processes look.
func (s *Session) conclude(p *signIn) {
	s.update(func(st *state) { st.pending = nil })
	p.letGo()
	close(p.done)
	s.log.Info("sign-in ended", "issuer", printable(p.target.as.Issuer), "ok", p.err == nil)
}

// presenter returns what shows p to the human, once. It does not wait for anything.
func (s *Session) presenter(p *signIn) func(instead func() error) {
	var once sync.Once
	return func(instead func() error) {
		once.Do(func() {
			if s.cfg.Open == nil {
				s.explain(p)
			}
			if s.cfg.Open != nil || instead != nil {
				go s.openTab(p, instead)
			}
		})
	}
}

// openTab opens the one tab of p, or does what comes in its place, after any other of the same issuer.
func (s *Session) openTab(p *signIn, instead func() error) {
	ctx, cancel := context.WithCancel(s.asking)
	defer cancel()
	go func() {
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	lock := "tab " + p.target.as.Issuer
	unlock, err := s.tryLock(ctx, lock)
	if errors.Is(err, errBusy) {
		s.cfg.Notice("a browser tab for " + p.target.as.Issuer + " is open already; sign in there, or open " + p.url)
		unlock, err = s.cfg.Store.Lock(ctx, lock)
	}
	if err != nil {
		return // p ended, or the session
	}
	defer unlock()
	if ctx.Err() == nil && s.claimTab(ctx, p, instead == nil) {
		s.show(p, instead)
	}
	<-ctx.Done()
}

// claimTab reports whether this process is to open the tab of p: it has not ended, no other process opened one, and there
// were not too many. What is no tab counts as none, and is gone with the process that showed it.
func (s *Session) claimTab(ctx context.Context, p *signIn, tab bool) bool {
	if !p.recorded {
		return true // fail open because no other process knows of p
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	rec, ok := s.record(ctx)
	switch {
	case ok && rec.URL == p.url && rec.Outcome == tokenstore.OutcomePending:
		return s.claimRecorded(p, tab)
	case ok:
		return false // p ended, as this process is about to learn
	}
	// Fail open because a human cannot sign in without a tab, but not at the end: then the read was cut short.
	return ctx.Err() == nil
}

func (s *Session) claimRecorded(p *signIn, tab bool) bool {
	presented, braked := false, false
	claimed := s.amend(p, func(rec *tokenstore.PendingSignIn) bool {
		now := s.now()
		rec.Opened = recentTabs(rec.Opened, now)
		if tab {
			presented, braked = rec.Presented && !p.again.Load(), len(rec.Opened) >= maxTabs && !p.again.Load()
		}
		if presented || braked || rec.Taken || rec.Outcome != tokenstore.OutcomePending {
			return false
		}
		if tab {
			rec.Presented, rec.Opened = true, append(rec.Opened, now)
		}
		return true
	})
	switch {
	case braked:
		s.cfg.Notice(fmt.Sprintf("no tab is opened: there were %d within %v; to sign in to %s, open %s", maxTabs, tabMemory, s.server.Host, p.url))
	case presented:
		s.cfg.Notice("a browser tab for the sign-in is open already; if it is gone, open " + p.url)
	}
	return claimed
}

func recentTabs(opened []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(opened), func(t time.Time) bool { return !within(t, now, tabMemory) })
}
