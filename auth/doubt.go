package auth

import (
	"context"
	"errors"
	"time"

	"drawbridge/tokenstore"
)

// An identity provider that has forgotten a client shows that to the person and never redirects. All we see of it is a
// sign-in that nobody finished, which is what a person who went to lunch looks like too. So a registration is doubted
// after such a sign-in, and given up after another one in a row, unless a sign-in that can do something uses it.

// maxDoubts is how many sign-ins in a row may come to nothing before the registration is given up.
const maxDoubts = 2

// weighLimit bounds what the end of a sign-in waits for, deregisterLimit the word to the identity provider in it.
const weighLimit, deregisterLimit = 5 * time.Second, 3 * time.Second

// errUnanswered is why a sign-in failed that nobody finished.
var errUnanswered = errors.New("nobody signed in")

// weighRegistration draws from the end of p, which this process led, what it says about the registration. Best effort: the
// next sign-in works without.
func (s *Session) weighRegistration(p *signIn) {
	answered := p.err == nil
	if !answered && !errors.Is(p.err, errUnanswered) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), weighLimit)
	defer cancel()
	err := s.withRegistration(ctx, p.target.as.Issuer, p.client, func(reg tokenstore.Registration) error {
		switch {
		case answered && reg.Doubts == 0:
			return nil
		case answered:
			reg.Doubts = 0
			return tokenstore.SaveRegistration(ctx, s.cfg.Store, reg)
		case checkUnused(ctx, s.cfg.Store, reg, s.works) != nil:
			return nil
		}
		if reg.Doubts++; reg.Doubts < maxDoubts {
			return tokenstore.SaveRegistration(ctx, s.cfg.Store, reg)
		}
		s.log.Info("no sign-in with this client registration comes to an end: giving it up", "issuer", printable(reg.Issuer))
		s.deregister(ctx, reg)
		return dropClient(ctx, s.cfg.Store, reg)
	})
	if err != nil {
		s.log.Warn("the client registration could not be looked after", "cause", err)
	}
}

// works reports whether a sign-in can do something with its registration: then the identity provider knows the client.
func (s *Session) works(c tokenstore.Credential) bool {
	return !c.RefreshToken.IsZero() || held{credential: c}.alive(s.now())
}

// withRegistration calls do with the registration of client at issuer, if there is one in the store, under the lock of those
// who register.
func (s *Session) withRegistration(ctx context.Context, issuer string, client tokenstore.Client, do func(tokenstore.Registration) error) error {
	name := tokenstore.RegistrationName(issuer)
	unlock, err := s.lock(ctx, "registration", name)
	if err != nil {
		return err
	}
	defer unlock()
	reg, err := tokenstore.LoadRegistration(ctx, s.cfg.Store, name)
	if err != nil || reg.Client.ID != client.ID {
		return nil // none, or a newer one
	}
	return do(reg)
}

// deregister tells the identity provider that a registration is given up (RFC 7592 section 2.3), where it wants to know.
func (s *Session) deregister(ctx context.Context, reg tokenstore.Registration) {
	if reg.ManagementURI == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, deregisterLimit)
	defer cancel()
	if err := s.fetch.deregister(ctx, reg); err != nil {
		s.log.Info("the identity provider did not confirm that the registration is gone", "cause", err)
	}
}
