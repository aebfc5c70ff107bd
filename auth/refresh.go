package auth

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"drawbridge/tokenstore"
)

// reasonRefused is what a person reads when the identity provider ended their sign-in.
const reasonRefused = "your identity provider refused to renew this sign-in"

// reasonGone is what they read when another process found that out, or they did it themselves: the record does not say.
const reasonGone = reasonRefused + ", or somebody logged out"

// errNeedsHuman means that no refresh can help.
var errNeedsHuman = errors.New("only a new sign-in helps")

// refreshPause is how long a token that still lives is used as it is after trouble with the store or a lock.
const refreshPause = 10 * time.Second

// renewLimit bounds a refresh with everything around it. Whoever waits for it may leave earlier; the refresh goes on,
// because a rotated refresh token whose answer nobody reads is lost.
const renewLimit = lockWait + tokenTimeout + storeLimit

// fresh returns a credential that is good for another request: h itself, or its successor when h is about to expire.
// The zero credential means that there is none. A refresh that fails for a passing reason costs nothing while the old
// token lives.
func (s *Session) fresh(ctx context.Context, h held) (held, error) {
	now := s.now()
	if !h.stale(now) {
		return h, nil
	}
	if !h.refreshable() {
		return ifAlive(h, now), nil
	}
	if st := s.view(); h.alive(now) && (now.Before(st.noRefreshBefore) || st.backoff.left(now) > 0) {
		return h, nil
	}
	renewed, err := s.renew(ctx, h)
	if err == nil {
		return renewed, nil
	}
	if still := s.view().held; still.alive(s.now()) {
		s.log.Warn("refresh failed; the token still lives", "cause", err)
		return still, nil
	}
	if errors.Is(err, errNeedsHuman) {
		return held{}, nil
	}
	return held{}, err
}

func ifAlive(h held, now time.Time) held {
	if h.alive(now) {
		return h
	}
	return held{}
}

// renew replaces h by a credential with another access token. It is done once however many ask, in this process and in
// all others. errNeedsHuman means that there is no way but a sign-in.
func (s *Session) renew(ctx context.Context, h held) (held, error) {
	if err := s.awaitTurn(ctx); err != nil {
		// Another process may have had more luck.
		if now, _ := s.newest(ctx, h.token()); now.alive(s.now()) && !now.token().Equal(h.token()) {
			return now, nil
		}
		return held{}, err
	}
	return share(ctx, &s.flights, "refresh "+strconv.Itoa(h.generation), func() (held, error) {
		done := make(chan struct{})
		defer close(done)
		s.update(func(st *state) { st.renewing = done })
		ctx, cancel := context.WithTimeout(context.Background(), renewLimit)
		defer cancel()
		return s.renewLocked(ctx, h)
	})
}

func (s *Session) renewLocked(ctx context.Context, h held) (held, error) {
	if now := s.view().held; now.generation != h.generation && now.alive(s.now()) {
		return now, nil // a flight that ended just before this one began
	}
	unlock, err := s.lock(ctx, "refresh", s.name)
	if err != nil {
		s.postpone()
		return held{}, err
	}
	defer unlock()
	c, err := s.read(ctx) // another process may have refreshed while we waited
	next, owed := s.owed(c)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		s.drop("")
		return held{}, errNeedsHuman
	case err != nil:
		s.postpone()
		return held{}, err
	case owed:
		return s.settle(ctx, next)
	case !c.AccessToken.Equal(h.token()):
		return s.adopt(c, false), nil
	}
	return s.refresh(ctx, c)
}

// refresh spends c's refresh token. The lock is held.
func (s *Session) refresh(ctx context.Context, c tokenstore.Credential) (held, error) {
	if c.RefreshToken.IsZero() {
		return held{}, errNeedsHuman
	}
	form := refreshParams(c.Resource, c.IdP)
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", c.RefreshToken.Reveal())
	// The place was judged when the sign-in accepted it.
	t, err := s.fetch.redeem(ctx, c.TokenEndpoint, s.clientOf(c), form, true)
	if err != nil {
		return s.refreshFailed(ctx, c, fmt.Errorf("refresh the sign-in at %s: %w", quoted(c.Issuer), err))
	}
	next := renewedBy(c, t, s.now())
	s.update(func(st *state) { st.unsaved = &unsaved{c.RefreshToken, next} })
	return s.settle(ctx, next)
}

// clientOf is the client that c was issued to, with the secret as it is configured now.
func (s *Session) clientOf(c tokenstore.Credential) tokenstore.Client {
	return configuredClient(s.cfg.Client, c)
}

func configuredClient(id ClientIdentity, c tokenstore.Credential) tokenstore.Client {
	client := c.Client
	if id.ID == client.ID && !id.Secret.IsZero() {
		client.Secret = id.Secret
		if client.AuthMethod == authNone {
			client.AuthMethod = authBasic
		}
	}
	return client
}

// owed returns the renewed credential that waits to be stored in the place of c.
func (s *Session) owed(c tokenstore.Credential) (next tokenstore.Credential, ok bool) {
	if u := s.view().unsaved; u != nil && u.replaces.Equal(c.RefreshToken) {
		return u.next, true
	}
	return next, false
}

// settle stores the renewed credential and only then lets it be used: if we died now with the old record in the store,
// the next process would present a spent refresh token and lose the sign-in. Until the store takes it, it is kept.
func (s *Session) settle(ctx context.Context, next tokenstore.Credential) (held, error) {
	if err := s.save(ctx, next); err != nil {
		s.postpone()
		return held{}, err
	}
	s.log.Debug("refreshed", "expiry", next.Expiry)
	return s.adopt(next, true), nil
}

// postpone keeps requests that can do with the live token from trying again at once.
func (s *Session) postpone() {
	s.update(func(st *state) { st.noRefreshBefore = s.now().Add(refreshPause) })
}

// refreshFailed sorts failures. Whatever may pass keeps the tokens and never asks a human.
func (s *Session) refreshFailed(ctx context.Context, c tokenstore.Credential, err error) (held, error) {
	var refusal *OAuthError
	if !errors.As(err, &refusal) || refusal.temporary() {
		err = passing{err}
		s.backOff(err)
		return held{}, hint(err, "the sign-in is kept; try again when the identity provider answers")
	}
	switch refusal.Code {
	case "invalid_grant", "interaction_required", "login_required", "consent_required":
		return s.confirmRefusal(ctx, c, err)
	case "invalid_client":
		return held{}, s.clientRefused(ctx, c, err)
	}
	// The token endpoint understood and will not: the access token serves as long as it lives, then a human must help.
	s.log.Info(reasonRefused, "cause", err)
	err = fmt.Errorf("%w: %w", errNeedsHuman, err)
	s.backOff(err)
	s.update(func(st *state) { st.reason = reasonRefused })
	return held{}, err
}

// confirmRefusal believes an invalid_grant only when the store still holds the token that was refused. Then the person
// no longer has this access, and nothing of it stays: neither token. A store that cannot be read contradicts nothing, and
// counts as confirmation: fail closed, for the refusal is the identity provider's own, and a new sign-in is all it costs.
func (s *Session) confirmRefusal(ctx context.Context, c tokenstore.Credential, err error) (held, error) {
	stored, readErr := s.read(ctx)
	if readErr == nil && !stored.RefreshToken.Equal(c.RefreshToken) {
		return s.adopt(stored, false), nil
	}
	s.log.Info(reasonRefused, "cause", err)
	s.erase(ctx)
	s.drop(reasonRefused)
	return held{}, fmt.Errorf("%w: %w", errNeedsHuman, err)
}

// erase deletes the record. When the store will not, the tokens in it are useless anyway and the next refresh tries
// again to delete them.
func (s *Session) erase(ctx context.Context) {
	if err := s.cfg.Store.Delete(ctx, s.name); err != nil {
		s.log.Warn("the refused sign-in could not be deleted from the store", "cause", err)
	}
}

// clientRefused handles an issuer that does not know the client. A dynamic registration is made anew with the next
// sign-in; a client that somebody configured is theirs to correct.
func (s *Session) clientRefused(ctx context.Context, c tokenstore.Credential, err error) error {
	if s.cfg.Client.ID != "" || c.Client.ID == s.cfg.Client.MetadataURL {
		s.backOff(err)
		return err
	}
	s.log.Info("the identity provider no longer knows this client", "cause", err)
	s.forgetRegistration(ctx, c.Issuer, c.Client)
	s.erase(ctx)
	s.drop("your identity provider no longer knows this client")
	return fmt.Errorf("%w: %w", errNeedsHuman, err)
}
