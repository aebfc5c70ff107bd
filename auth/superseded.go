package auth

import (
	"context"
	"errors"
	"slices"
	"time"

	"drawbridge/tokenstore"
)

// A registration whose port is busy, or that no longer fits, is replaced, not deleted: the sign-in that holds its port, or
// one that is complete, may live by it. What it takes to delete it stays in the record of its successor, written in one
// piece, until a logout.

// maxSuperseded bounds what the record of a registration carries along.
const maxSuperseded = 8

// manageable lists what of reg the issuer can delete: the superseded ones, and last the current one.
func manageable(reg tokenstore.Registration) []tokenstore.Superseded {
	all := slices.Clone(reg.Superseded)
	if reg.ManagementURI != "" {
		all = append(all, current(reg))
	}
	return all
}

func current(reg tokenstore.Registration) tokenstore.Superseded {
	return tokenstore.Superseded{ClientID: reg.Client.ID, ManagementURI: reg.ManagementURI, ManagementToken: reg.ManagementToken}
}

// supersede returns what the successor of old carries along, whose client is called id. Where that is too much, the oldest
// that no sign-in uses is deleted at the issuer. A gateway gives the same client each time: that is not superseded.
func (s *Session) supersede(ctx context.Context, old tokenstore.Registration, id string) []tokenstore.Superseded {
	all := slices.DeleteFunc(manageable(old), func(o tokenstore.Superseded) bool { return o.ClientID == id })
	if len(all) <= maxSuperseded {
		return all
	}
	for i, o := range all {
		if reg := asRegistration(old.Issuer, o); s.unused(ctx, reg) {
			s.deregister(ctx, reg)
			return slices.Delete(all, i, i+1)
		}
	}
	s.log.Warn("the oldest client registration will not be deleted at the identity provider: too many are in use", "issuer", printable(old.Issuer))
	return all[1:]
}

func (s *Session) unused(ctx context.Context, reg tokenstore.Registration) bool {
	return checkUnused(ctx, s.cfg.Store, reg, anySignIn) == nil && checkNoneUnderWay(ctx, s.cfg.Store, reg, s.now()) == nil
}

func asRegistration(issuer string, o tokenstore.Superseded) tokenstore.Registration {
	return tokenstore.Registration{
		Issuer: issuer, Client: tokenstore.Client{ID: o.ClientID},
		ManagementURI: o.ManagementURI, ManagementToken: o.ManagementToken,
	}
}

// dropClient takes the client of reg out of the store. What it superseded stays, to be deleted with a logout.
func dropClient(ctx context.Context, store tokenstore.Store, reg tokenstore.Registration) error {
	return saveOrDrop(ctx, store, tokenstore.Registration{Issuer: reg.Issuer, Superseded: reg.Superseded})
}

// saveOrDrop saves reg if there is anything in it.
func saveOrDrop(ctx context.Context, store tokenstore.Store, reg tokenstore.Registration) error {
	if reg.Client.ID == "" && len(reg.Superseded) == 0 {
		return store.Delete(ctx, tokenstore.RegistrationName(reg.Issuer))
	}
	return tokenstore.SaveRegistration(ctx, store, reg)
}

// divide says which registrations in reg go when a sign-in of the client called id has gone, and what is left. is tells
// what becomes of that client's own: absent where it is not among them.
func (l Logout) divide(ctx context.Context, reg tokenstore.Registration, id string) (taken []tokenstore.Superseded, left tokenstore.Registration, is Outcome) {
	is, left = Outcome{State: Absent}, reg
	left.Superseded = nil
	for _, o := range reg.Superseded {
		err := l.checkSuperseded(ctx, asRegistration(reg.Issuer, o))
		if err == nil {
			taken = append(taken, o)
		} else {
			left.Superseded = append(left.Superseded, o)
		}
		if o.ClientID == id {
			is = keptOrEnded(err)
		}
	}
	if reg.Client.ID != id {
		return taken, left, is
	}
	err := checkUnused(ctx, l.Store, reg, anySignIn)
	if reg.ManagementURI == "" {
		err = errors.New("the identity provider offers no way to delete it, and the next sign-in can use it")
	}
	if err == nil {
		taken = append(taken, current(reg))
		left = tokenstore.Registration{Issuer: reg.Issuer, Superseded: left.Superseded}
	}
	return taken, left, keptOrEnded(err)
}

func keptOrEnded(err error) Outcome {
	if err != nil {
		return Outcome{State: Kept, Cause: err}
	}
	return Outcome{State: Ended}
}

// checkSuperseded returns an error while anybody may still need a registration that was superseded.
func (l Logout) checkSuperseded(ctx context.Context, reg tokenstore.Registration) error {
	if err := checkUnused(ctx, l.Store, reg, anySignIn); err != nil {
		return err
	}
	return checkNoneUnderWay(ctx, l.Store, reg, l.now())
}

// checkNoneUnderWay returns an error while a sign-in with the registration waits for a human.
func checkNoneUnderWay(ctx context.Context, store tokenstore.Store, reg tokenstore.Registration, now time.Time) error {
	names, err := store.List(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name.Kind() != tokenstore.KindSignIn {
			continue
		}
		p, err := tokenstore.LoadPendingSignIn(ctx, store, name)
		if err != nil {
			continue // nobody can finish what cannot be read
		}
		if p.Outcome == tokenstore.OutcomePending && now.Before(p.Deadline) && p.Issuer == reg.Issuer && p.Client.ID == reg.Client.ID {
			return errors.New("a sign-in under way uses it")
		}
	}
	return nil
}

// deregisterAll deletes registrations at their issuer. A nil error means that it confirmed each, another is the first.
func (f *fetcher) deregisterAll(ctx context.Context, issuer string, all []tokenstore.Superseded) (first error) {
	for _, o := range all {
		if err := f.deregister(ctx, asRegistration(issuer, o)); first == nil {
			first = err
		}
	}
	return first
}
