package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// Limits of what follows a valid response: the exchange of the code, and keeping what it brought.
const (
	exchangeLimit = tokenTimeout + storeLimit
	landLimit     = lockWait + storeLimit
)

// complete turns the response into a stored credential.
func (s *Session) complete(p *signIn, r response) (tokenstore.Credential, error) {
	none, issuer := tokenstore.Credential{}, p.target.as.Issuer
	// What arrived is spent and kept, also while the session closes: the human has done their part.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), exchangeLimit)
	defer cancel()
	if r.err != nil {
		return none, passOn(fmt.Errorf("sign-in at %s: %w", quoted(issuer), r.err))
	}
	if err := s.pin(ctx, issuer); err != nil {
		return none, err
	}
	t, err := s.exchange(ctx, p, r.code)
	if err != nil {
		return none, passOn(fmt.Errorf("sign-in at %s: %w", quoted(issuer), err))
	}
	c := s.credentialFor(p, t)
	// The code is spent: only keeping the tokens makes the human's work count, however long the exchange took.
	if err := s.land(context.WithoutCancel(ctx), c); err != nil {
		return none, err
	}
	return c, nil
}

// exchangeTries is how often a code is sent to an endpoint whose faults may pass. The human has done their part; a server
// that did redeem the code and whose answer was lost refuses it then (RFC 6749 section 4.1.2), which loses nothing more.
const exchangeTries = 2

// exchange redeems the code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
func (s *Session) exchange(ctx context.Context, p *signIn, code secret.Text) (tokens, error) {
	form := tokenParams(p.target.resource, p.idp)
	form.Set("grant_type", "authorization_code")
	form.Set("code", code.Reveal())
	form.Set("redirect_uri", p.redirectURI)
	form.Set("code_verifier", p.verifier.Reveal())
	t, err := s.redeemPatiently(ctx, p, form)
	var refusal *OAuthError
	if errors.As(err, &refusal) && refusal.Code == "invalid_client" {
		s.forgetRegistration(ctx, p.target.as.Issuer, p.client)
	}
	return t, err
}

// redeemPatiently sends form again after faults that may pass, in the pauses of a failing token endpoint.
func (s *Session) redeemPatiently(ctx context.Context, p *signIn, form url.Values) (tokens, error) {
	var b backoff
	for {
		t, err := s.fetch.redeem(ctx, p.target.as.TokenEndpoint, p.client, form, s.cfg.Issuer != "")
		if err == nil || !passes(err) {
			return t, err
		}
		if b = b.after(err, s.now()); b.failures == exchangeTries {
			return t, err
		}
		s.log.Info("the code could not be redeemed; trying again", "cause", err)
		select {
		case <-time.After(min(b.left(s.now()), patience)):
		case <-ctx.Done():
			return t, err
		}
	}
}

// passes reports whether the same request may succeed later.
func passes(err error) bool {
	var refusal *OAuthError
	return errors.As(err, new(passing)) || errors.As(err, &refusal) && refusal.temporary()
}

func (s *Session) credentialFor(p *signIn, t tokens) tokenstore.Credential {
	now, as := s.now(), p.target.as
	scopes := t.scopes
	if scopes == nil {
		scopes = p.idp.Asked // RFC 6749 section 5.1: left out when it is what was asked for
	}
	return tokenstore.Credential{
		ServerURL: s.cfg.ServerURL, Profile: s.cfg.Profile,
		Resource: p.target.resource, Issuer: as.Issuer, Subject: t.account, SignIn: rand.Text(), Client: p.client, IdP: p.idp,
		TokenEndpoint: as.TokenEndpoint, RevocationEndpoint: as.RevocationEndpoint,
		AccessToken: t.access, TokenType: "Bearer", RefreshToken: t.refresh, Scopes: scopes,
		IssuedAt: now, Expiry: expiry(now, t.lifetime),
	}
}

// land stores the credential and then lets it be used. The refresh lock keeps another process, which may be renewing
// the sign-in that this one replaces, from writing over it.
func (s *Session) land(ctx context.Context, c tokenstore.Credential) error {
	ctx, cancel := context.WithTimeout(ctx, landLimit)
	defer cancel()
	unlock, err := s.lock(ctx, "refresh", s.name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.save(ctx, c); err != nil {
		return err
	}
	s.adopt(c, false)
	s.log.Info("signed in", "issuer", printable(c.Issuer), "scopes", printable(strings.Join(c.Scopes, " ")))
	return nil
}
