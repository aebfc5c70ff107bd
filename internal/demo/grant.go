package demo

import (
	"math"
	"slices"
	"strings"
	"time"
)

// codeLifetime is how long an authorization code waits (OAuth 2.1 §4.1.2 wants at most ten minutes).
const codeLifetime = time.Minute

// grant is one consent. The code it began with and all tokens that came of it are its family.
type grant struct {
	client   Client
	user     string
	resource string
	scopes   []string
	nonce    string
	ended    bool // refresh tokens are refused
	revoked  bool // access tokens are refused as well, by servers that ask
}

// code is an authorization code.
type code struct {
	grant       *grant
	challenge   string
	redirectURI string
	expires     time.Time
	spent       bool
}

// refreshToken is good for one use, unless faults say otherwise.
type refreshToken struct {
	grant *grant
	spent bool
}

// revoke ends the whole family.
func (g *grant) revoke() { g.ended, g.revoked = true, true }

// accessClaims are the claims of RFC 9068 §2.2, of the person, and a word for tests to look for.
type accessClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience string   `json:"aud"`
	ClientID string   `json:"client_id"`
	Scope    string   `json:"scope"`
	Expires  float64  `json:"exp"` // with a fraction, as RFC 7519 §2 allows, so that short lifetimes are exact
	IssuedAt float64  `json:"iat"`
	ID       string   `json:"jti"`
	Email    string   `json:"email,omitempty"`
	Name     string   `json:"name,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Canary   string   `json:"canary"`
}

// idClaims are the claims of an id token (OpenID Connect Core §2).
type idClaims struct {
	Issuer   string  `json:"iss"`
	Subject  string  `json:"sub"`
	Audience string  `json:"aud"`
	Expires  float64 `json:"exp"`
	IssuedAt float64 `json:"iat"`
	Nonce    string  `json:"nonce,omitempty"`
	Email    string  `json:"email,omitempty"`
	Name     string  `json:"name,omitempty"`
	Canary   string  `json:"canary"`
}

// tokenAnswer is the successful answer of the token endpoint (RFC 6749 §5.1).
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
	IDToken      string `json:"id_token,omitempty"`
}

// issueTokens makes the tokens of g, with scopes. A refresh token is left out where keepRefresh is set.
func (p *IdP) issueTokens(s *state, g *grant, scopes []string, keepRefresh bool) (tokenAnswer, error) {
	a := s.users[g.user]
	answer := tokenAnswer{TokenType: "Bearer", Scope: strings.Join(scopes, " "),
		ExpiresIn: int(math.Ceil(s.lifetime.Seconds()))}
	var err error
	if answer.AccessToken, err = p.accessToken(s, g, a.User, answer.Scope); err != nil {
		return tokenAnswer{}, err
	}
	if slices.Contains(scopes, "openid") {
		if answer.IDToken, err = p.idToken(s, g, a.User); err != nil {
			return tokenAnswer{}, err
		}
	}
	if !keepRefresh && s.mayRefresh(g) {
		answer.RefreshToken = s.newSecret("refresh")
		s.refresh[answer.RefreshToken] = &refreshToken{grant: g}
	}
	return answer, nil
}

func (s *state) mayRefresh(g *grant) bool {
	if s.faults.NoRefreshTokens || !slices.Contains(g.client.GrantTypes, "refresh_token") {
		return false
	}
	return !s.faults.OfflineAccessOnly || slices.Contains(g.scopes, "offline_access")
}

func (p *IdP) accessToken(s *state, g *grant, u User, scope string) (string, error) {
	now, jti := p.now(), s.newSecret("jti")
	token, err := p.signer.sign("at+jwt", accessClaims{
		Issuer: p.issuer, Subject: u.Name, Audience: g.resource, ClientID: g.client.ID, Scope: scope,
		Expires: numericDate(now.Add(s.lifetime)), IssuedAt: numericDate(now), ID: jti,
		Email: u.Email, Name: u.FullName, Groups: u.Groups, Canary: "CANARY",
	})
	s.access[jti] = g
	s.issued = append(s.issued, token)
	return token, err
}

func (p *IdP) idToken(s *state, g *grant, u User) (string, error) {
	now := p.now()
	token, err := p.signer.sign("JWT", idClaims{
		Issuer: p.issuer, Subject: u.Name, Audience: g.client.ID, Expires: numericDate(now.Add(s.lifetime)),
		IssuedAt: numericDate(now), Nonce: g.nonce, Email: u.Email, Name: u.FullName, Canary: "CANARY",
	})
	s.issued = append(s.issued, token)
	return token, err
}

// numericDate is RFC 7519 §2's seconds since 1970, to the millisecond.
func numericDate(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
