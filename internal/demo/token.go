package demo

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"drawbridge/internal/secret"
)

// token is the token endpoint (OAuth 2.1 §3.2).
func (p *IdP) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		invalidRequest("the form cannot be read").write(w)
		return
	}
	p.update(func(s *state) { s.counts.TokenRequests[grantName(r.PostForm)]++ })
	f := p.faults()
	if f.TokenDelay > 0 && !wait(r.Context(), f.TokenDelay) {
		return
	}
	if f.answerToken(w, r) {
		return
	}
	answer, no := p.redeem(r)
	switch {
	case f.TokenLost:
		cut(w)
	case no != nil:
		p.log.Info("refused a token request", "grant", grantName(r.PostForm), "error", no.Code, "why", no.Description)
		no.write(w)
	default:
		writeJSON(w, http.StatusOK, answer)
	}
}

// grantName keeps what callers invent out of counters and logs.
func grantName(form url.Values) string {
	if name := form.Get("grant_type"); name == "authorization_code" || name == "refresh_token" {
		return name
	}
	return "other"
}

// redeem authenticates the client and exchanges what it has for tokens.
func (p *IdP) redeem(r *http.Request) (answer tokenAnswer, no *refusal) {
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return answer, invalidRequest("the parameter " + printable(name) + " is repeated")
		}
	}
	client, no := p.authenticate(r)
	if no != nil {
		return answer, no
	}
	name := grantName(r.PostForm)
	if name == "other" {
		return answer, &refusal{Code: "unsupported_grant_type"}
	}
	if !slices.Contains(client.GrantTypes, name) {
		return answer, &refusal{Code: "unauthorized_client", Description: "the client is not registered for this grant"}
	}
	p.update(func(s *state) {
		if name == "refresh_token" {
			answer, no = p.redeemRefresh(s, client, r.PostForm)
		} else {
			answer, no = p.redeemCode(s, client, r.PostForm)
		}
	})
	return answer, no
}

// printable cuts foreign text down to the characters that error_description may have (RFC 6749 §5.2).
func printable(s string) string {
	ok := func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return '?'
		}
		return c
	}
	return strings.Map(ok, s[:min(len(s), 40)])
}

// redeemCode is OAuth 2.1 §4.1.3.
func (p *IdP) redeemCode(s *state, client Client, form url.Values) (tokenAnswer, *refusal) {
	c := s.codes[form.Get("code")]
	if c == nil || c.grant.client.ID != client.ID {
		return tokenAnswer{}, invalidGrant("unknown code")
	}
	if c.spent {
		// OAuth 2.1 §4.1.3: somebody else has the code too, so nothing that came of it can be trusted.
		s.counts.Reuses++
		c.grant.revoke()
		return tokenAnswer{}, invalidGrant("the code was used before")
	}
	if f := p.checkCode(c, form); f != nil {
		return tokenAnswer{}, f
	}
	if f := s.checkGrant(c.grant, form); f != nil {
		return tokenAnswer{}, f
	}
	c.spent = true
	return p.answer(s, c.grant, c.grant.scopes, false)
}

func (p *IdP) checkCode(c *code, form url.Values) *refusal {
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	switch {
	case p.now().After(c.expires):
		return invalidGrant("the code has expired")
	case form.Has("redirect_uri") && form.Get("redirect_uri") != c.redirectURI:
		return invalidGrant("the redirect URI is not the one of the authorization request")
	case !secret.New(challenge).Equal(secret.New(c.challenge)):
		return invalidGrant("the code verifier does not match")
	}
	return nil
}

// checkGrant applies what codes and refresh tokens have in common.
func (s *state) checkGrant(g *grant, form url.Values) *refusal {
	a := s.users[g.user]
	switch {
	case a == nil || a.inactive:
		return invalidGrant("this account is deactivated")
	case g.ended:
		return invalidGrant("the grant was revoked")
	case form.Get("resource") != g.resource:
		return invalidTarget("the resource is not the one of the authorization request")
	}
	return nil
}

// redeemRefresh is OAuth 2.1 §4.3.
func (p *IdP) redeemRefresh(s *state, client Client, form url.Values) (tokenAnswer, *refusal) {
	t := s.refresh[form.Get("refresh_token")]
	if t == nil || t.grant.client.ID != client.ID {
		return tokenAnswer{}, invalidGrant("unknown refresh token")
	}
	if t.spent {
		// OAuth 2.1 §4.3.1: either the thief or the owner is a step behind; both lose the family.
		s.counts.Reuses++
		t.grant.revoke()
		return tokenAnswer{}, invalidGrant("the refresh token was used before")
	}
	if f := s.checkGrant(t.grant, form); f != nil {
		return tokenAnswer{}, f
	}
	scopes, f := narrower(form.Get("scope"), t.grant.scopes)
	if f != nil {
		return tokenAnswer{}, f
	}
	s.counts.Refreshes++
	t.spent = !s.faults.NoRotation
	return p.answer(s, t.grant, scopes, s.faults.NoRotation)
}

// narrower reads the scope of a refresh, which may leave scopes out but add none (RFC 6749 §6).
func narrower(scope string, granted []string) ([]string, *refusal) {
	asked := strings.Fields(scope)
	if len(asked) == 0 {
		return granted, nil
	}
	for _, one := range asked {
		if !slices.Contains(granted, one) {
			return nil, &refusal{Code: "invalid_scope", Description: "a scope was never granted"}
		}
	}
	return asked, nil
}

func (p *IdP) answer(s *state, g *grant, scopes []string, keepRefresh bool) (tokenAnswer, *refusal) {
	answer, err := p.issueTokens(s, g, scopes, keepRefresh)
	if err != nil {
		p.log.Error("cannot issue tokens", "err", err)
		return tokenAnswer{}, &refusal{Status: http.StatusInternalServerError, Code: "server_error"}
	}
	return answer, nil
}

// revoke is the revocation endpoint (RFC 7009).
func (p *IdP) revoke(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		invalidRequest("the form cannot be read").write(w)
		return
	}
	client, no := p.authenticate(r)
	if no != nil {
		no.write(w)
		return
	}
	token := r.PostForm.Get("token")
	jti := p.signer.verifiedID(token)
	p.update(func(s *state) { s.revoke(client, token, jti) })
	// RFC 7009 §2.2: 200 also for a token that is unknown, since it is good for nothing afterwards either way.
	w.WriteHeader(http.StatusOK)
}

// revoke ends a token of the client; jti is its id if it is an access token. With a refresh token goes the whole family (RFC 7009 §2.1).
func (s *state) revoke(client Client, token, jti string) {
	if t := s.refresh[token]; t != nil && t.grant.client.ID == client.ID {
		t.grant.revoke()
		s.counts.Revocations++
		return
	}
	if g := s.access[jti]; g != nil && g.client.ID == client.ID {
		s.revoked[jti] = true
		s.counts.Revocations++
	}
}
