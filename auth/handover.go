package auth

import (
	"context"
	"errors"
	"time"

	"drawbridge/tokenstore"
)

// This file is about what a follower of a sign-in finds out about its leader, and what it can still make of the work of
// one that died.

// leaderLook is the pause between two looks at the record while the lock is taken.
const leaderLook = time.Second

// errOvertaken says that the sign-in that a follower waits for is over, and another one has the lock.
var errOvertaken = errors.New("another sign-in has begun")

// awaitLeader waits for the lock of p's leader. It does not wait for the leader of the next sign-in: a follower that did
// would keep the tab of the one that is over, and the next one would get none.
func (s *Session) awaitLeader(ctx context.Context, p *signIn) (unlock func(), err error) {
	for {
		wait, cancel := context.WithTimeout(ctx, leaderLook)
		unlock, err := s.cfg.Store.Lock(wait, s.signInLock())
		taken := wait.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !taken {
			return unlock, err
		}
		if rec, ok := s.record(ctx); ok && rec.URL != p.url {
			return nil, errOvertaken
		}
	}
}

// redeemable reports whether the process that received the code died before the tokens were in the store. It had saved
// the code before it spent it, so a credential of that time or later may be what came of it: then the code must not
// come back, for that revokes what it yielded (OAuth 2.1 section 4.1.3).
func (s *Session) redeemable(ctx context.Context, rec tokenstore.PendingSignIn) bool {
	if rec.Outcome != tokenstore.OutcomePending || rec.Code.IsZero() || !s.now().Before(rec.Deadline) {
		return false
	}
	c, err := s.read(ctx)
	return errors.Is(err, tokenstore.ErrNotFound) || err == nil && c.IssuedAt.Before(rec.TakenAt)
}

// finish redeems the code that another process had received. If that process got to spending it, the code is refused,
// and a human has to sign in again: nothing else can tell.
func (s *Session) finish(p *signIn, rec tokenstore.PendingSignIn) {
	s.log.Info("another process left the answer of its sign-in; redeeming it")
	p.credential, p.err = s.complete(p, response{code: rec.Code})
	s.closeRecord(p, p.err)
	s.conclude(p)
	s.weighRegistration(p)
}

// tidy closes the record of p, which succeeded, for a leader that died before it could.
func (s *Session) tidy(ctx context.Context, p *signIn) {
	if rec, ok := s.record(ctx); p.unlock != nil && ok && rec.URL == p.url && rec.Outcome == tokenstore.OutcomePending {
		s.closeRecord(p, nil)
	}
}
