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
	"sync"
	"time"

	"drawbridge/tokenstore"
)

// Logout ends sign-ins: first in the store, then at the identity provider. Store is required.
//
// The order is the point. What is deleted here cannot be told to the identity provider by a later run, but what is
// left here by a crash or a dead network could be used, and that is what a logout is to prevent.
type Logout struct {
	// Store holds the sign-ins.
	Store tokenstore.Store

	// HTTP supplies the Transport of every request. If nil, http.DefaultTransport is used.
	HTTP *http.Client

	// Client is the configured client. Its secret takes the place of the stored one for sign-ins of the same client.
	Client ClientIdentity

	// Forgotten is told of each sign-in that is gone from the store, as Config.Forgotten is. If nil, nobody is told.
	Forgotten func(serverURL, profile, subject string)

	// Log receives diagnostics, never a secret. If nil, they are discarded.
	Log *slog.Logger

	// Now is the clock. If nil, it is time.Now.
	Now func() time.Time
}

// tellLimit bounds what an issuer may take to confirm everything about one sign-in.
const tellLimit = 10 * time.Second

// kindPin is the kind of item that says to which issuer a pre-registered client belongs.
const kindPin = "pinned-issuer"

// ending is a sign-in or a registration on its way out: gone from the store, not yet told to the issuer.
type ending struct {
	receipt       Receipt
	credential    tokenstore.Credential
	registrations []tokenstore.Superseded // to be deleted at the issuer
}

// One ends the sign-in of one profile at one server. Its registration goes too when the issuer can delete it and no other
// sign-in in the store uses it. An error is about serverURL; what else went wrong is in the receipt.
func (l Logout) One(ctx context.Context, serverURL, profile string) (Receipt, error) {
	name, err := tokenstore.CredentialName(serverURL, profile)
	if err != nil {
		return Receipt{}, err
	}
	pending, err := tokenstore.SignInName(serverURL, profile)
	if err != nil {
		return Receipt{}, err
	}
	e := l.take(ctx, name)
	if err := l.dropSignIn(ctx, pending); err != nil {
		l.logger().Warn("the record of the last sign-in stays in the store", "cause", err)
	}
	if e.receipt.Local.State == Ended && e.credential.Client.ID != "" {
		e.registrations, e.receipt.Registration = l.takeRegistration(ctx, e.credential)
	}
	r := l.tell(ctx, e)
	if r.ServerURL == "" {
		r.ServerURL, r.Profile = serverURL, profile
	}
	return r, nil
}

// All ends every sign-in and deletes every registration in the store, and whatever else is in it but the issuers that
// client secrets are pinned to, which are no secret. Everything is gone from the store before the first issuer is told.
// done receives each receipt as soon as it is final, one at a time. An error is about items that no receipt is for.
func (l Logout) All(ctx context.Context, done func(Receipt)) error {
	names, err := l.Store.List(ctx)
	if err != nil {
		return fmt.Errorf("list the token store: %w", err)
	}
	var signIns, registrations []ending
	var errs []error
	for _, name := range names {
		switch name.Kind() {
		case tokenstore.KindCredential:
			signIns = append(signIns, l.take(ctx, name))
		case tokenstore.KindRegistration:
			registrations = append(registrations, l.takeAnyRegistration(ctx, name))
		case tokenstore.KindSignIn:
			errs = append(errs, l.dropSignIn(ctx, name))
		case kindPin:
		default:
			errs = append(errs, l.Store.Delete(ctx, name))
		}
	}
	// Registrations last: the revocation endpoint wants to know the client.
	l.tellAll(ctx, signIns, done)
	l.tellAll(ctx, registrations, done)
	return errors.Join(errs...)
}

// take deletes the credential called name from the store. The refresh lock keeps another process, which may be renewing
// it, from writing a new token after us.
func (l Logout) take(ctx context.Context, name tokenstore.Name) ending {
	e := ending{receipt: newReceipt(name)}
	unlock, lockErr := lockItem(ctx, l.Store, "refresh", name)
	if lockErr == nil {
		defer unlock()
	}
	c, err := tokenstore.LoadCredential(ctx, l.Store, name)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return e
	case err == nil:
		e.describe(c)
	case errors.Is(err, tokenstore.ErrDamaged):
		unreadable := Outcome{State: Unconfirmed, Cause: err}
		e.receipt.RefreshToken, e.receipt.AccessToken = unreadable, unreadable
	default:
		e.receipt.Local = Outcome{State: Unconfirmed, Cause: err}
		return e
	}
	err = l.Store.Delete(ctx, name)
	if err == nil && l.Forgotten != nil && e.credential.ServerURL != "" {
		l.Forgotten(c.ServerURL, c.Profile, c.Subject)
	}
	if err == nil && lockErr != nil {
		err = fmt.Errorf("deleted, but a refresh under way may store another token: %w", lockErr)
	}
	e.receipt.Local = outcome(err, time.Time{})
	return e
}

// signInWait is how long a sign-in that is just ending may take to do so.
const signInWait = time.Second

// dropSignIn deletes the record of a sign-in that ended, or that a process left which is gone: nobody is to go on with it.
// One that a person is at belongs to a process that is alive, and goes on.
func (l Logout) dropSignIn(ctx context.Context, name tokenstore.Name) error {
	wait, cancel := context.WithTimeout(ctx, signInWait)
	defer cancel()
	unlock, err := l.Store.Lock(wait, signInLock(name))
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	return l.Store.Delete(ctx, name)
}

func (e *ending) describe(c tokenstore.Credential) {
	e.credential = c
	r := &e.receipt
	r.ServerURL, r.Profile, r.Subject, r.Issuer = c.ServerURL, c.Profile, c.Subject, c.Issuer
}

// takeRegistration deletes from the store the registration that c was made with, if it is to be deleted at the issuer,
// and with it those that were superseded and serve nobody any more.
func (l Logout) takeRegistration(ctx context.Context, c tokenstore.Credential) ([]tokenstore.Superseded, Outcome) {
	name := tokenstore.RegistrationName(c.Issuer)
	unlock, err := lockItem(ctx, l.Store, "registration", name)
	if err != nil {
		return nil, Outcome{State: Kept, Cause: err}
	}
	defer unlock()
	reg, err := tokenstore.LoadRegistration(ctx, l.Store, name)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return nil, Outcome{State: Absent}
	case err != nil:
		return nil, Outcome{State: Kept, Cause: err}
	}
	taken, left, is := l.divide(ctx, reg, c.Client.ID)
	if len(taken) == 0 {
		return nil, is
	}
	if err := saveOrDrop(ctx, l.Store, left); err != nil {
		return nil, Outcome{State: Kept, Cause: err}
	}
	return taken, is
}

func anySignIn(tokenstore.Credential) bool { return true }

// checkUnused returns an error while a sign-in in the store that counts uses the registration, or may use it.
func checkUnused(ctx context.Context, store tokenstore.Store, reg tokenstore.Registration, counts func(tokenstore.Credential) bool) error {
	names, err := store.List(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name.Kind() != tokenstore.KindCredential {
			continue
		}
		c, err := tokenstore.LoadCredential(ctx, store, name)
		switch {
		case errors.Is(err, tokenstore.ErrNotFound), errors.Is(err, tokenstore.ErrDamaged): // it uses nothing any more
		case err != nil:
			return err
		case c.Issuer == reg.Issuer && c.Client.ID == reg.Client.ID && counts(c):
			return errors.New("another sign-in uses it")
		}
	}
	return nil
}

// takeAnyRegistration deletes the registration called name from the store, used or not.
func (l Logout) takeAnyRegistration(ctx context.Context, name tokenstore.Name) ending {
	e := ending{receipt: newReceipt(name)}
	unlock, err := lockItem(ctx, l.Store, "registration", name)
	if err == nil {
		defer unlock()
	} // without the lock at worst a sign-in under way has to register again
	reg, err := tokenstore.LoadRegistration(ctx, l.Store, name)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return e
	case err != nil:
		e.receipt.Registration = Outcome{State: Unconfirmed, Cause: err}
	case reg.Client.ID != "" && reg.ManagementURI == "":
		e.receipt.Registration = Outcome{State: Kept, Cause: errors.New("the identity provider offers no way to delete it")}
	}
	e.registrations = manageable(reg)
	e.receipt.Issuer = reg.Issuer
	e.receipt.Local = outcome(l.Store.Delete(ctx, name), time.Time{})
	return e
}

// tellAll tells the issuers at the same time, so that several that do not answer cost no more than one.
func (l Logout) tellAll(ctx context.Context, endings []ending, done func(Receipt)) {
	receipts := make(chan Receipt)
	var wg sync.WaitGroup
	for _, e := range endings {
		wg.Go(func() { receipts <- l.tell(ctx, e) })
	}
	go func() {
		wg.Wait()
		close(receipts)
	}()
	for r := range receipts {
		done(r)
	}
}

// tell has the issuer end what was taken out of the store. The refresh token goes first: most issuers end the whole grant
// with it (RFC 7009 section 2.1).
func (l Logout) tell(ctx context.Context, e ending) Receipt {
	r, c := e.receipt, e.credential
	if c.IsKey() {
		if r.Wiped() {
			r.Key = Outcome{State: Unconfirmed, Cause: errKeyOutlives}
		}
		return r
	}
	if c.AccessToken.IsZero() && c.RefreshToken.IsZero() && len(e.registrations) == 0 {
		return r
	}
	ctx, cancel := context.WithTimeoutCause(ctx, tellLimit, fmt.Errorf("no answer within %v", tellLimit))
	defer cancel()
	f := l.fetcher(r.Issuer)
	defer f.close()
	client := configuredClient(l.Client, c)
	if !c.RefreshToken.IsZero() {
		r.RefreshToken = outcome(inTime(ctx, f.revoke(ctx, c, client, "refresh_token", c.RefreshToken)), time.Time{})
	}
	if !c.AccessToken.IsZero() {
		r.AccessToken = outcome(inTime(ctx, f.revoke(ctx, c, client, "access_token", c.AccessToken)), c.Expiry)
	}
	if r.AccessToken.State == Unconfirmed && !c.Expiry.IsZero() && !l.now().Before(c.Expiry) {
		r.AccessToken = Outcome{State: Expired}
	}
	if len(e.registrations) > 0 {
		o := outcome(inTime(ctx, f.deregisterAll(ctx, r.Issuer, e.registrations)), time.Time{})
		if r.Registration.State != Kept || o.State == Unconfirmed {
			r.Registration = o // one that is kept is the news, unless another one may be left
		}
	}
	return r
}

// inTime says it in words when an error is the end of ctx.
func inTime(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// fetcher makes the requests to issuer. What a public issuer says must not lead inside.
func (l Logout) fetcher(issuer string) *fetcher {
	u, err := url.Parse(issuer)
	if err != nil {
		u = &url.URL{} // counts as public
	}
	inside := &reach{server: u, lookup: net.DefaultResolver.LookupNetIP}
	return newFetcher(cmp.Or(l.HTTP, http.DefaultClient).Transport, inside, l.logger())
}

func (l Logout) logger() *slog.Logger { return cmp.Or(l.Log, slog.New(slog.DiscardHandler)) }

func (l Logout) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}
