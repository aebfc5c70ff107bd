package guard

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// claims are what a token says: the payload of a JWT or the answer of an introspection endpoint.
type claims map[string]any

// text returns a claim that is a string; "" if it is none.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// has reports whether a claim is there and not null.
func (c claims) has(name string) bool { return c[name] != nil }

// words returns a claim that is a list of strings, or a string with spaces between its words.
func (c claims) words(name string) (words []string) {
	switch v := c[name].(type) {
	case string:
		return strings.Fields(v)
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				words = append(words, s)
			}
		}
	}
	return words
}

// latest is the last second that a NumericDate may name: the year 9999. Beyond it the arithmetic would overflow.
const latest = 253402300799

// date returns a NumericDate (RFC 7519 section 2). ok is false for everything that is none.
func (c claims) date(name string) (at time.Time, ok bool) {
	seconds, ok := c[name].(float64)
	if !ok || seconds < 0 || seconds > latest {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true // a fraction of a second decides nothing
}

// audience returns aud, which is a string or a list (RFC 7519 section 4.1.3). An aud of any other form names nobody.
func (c claims) audience() []string {
	if s, ok := c["aud"].(string); ok {
		return []string{s}
	}
	return c.words("aud")
}

// client is the program that the token was issued to, as issuers call it: RFC 9068, then azp (OpenID Connect, Auth0,
// Keycloak, Google, Entra ID), cid (Okta), appid (Entra ID v1).
func (c claims) client() string {
	for _, name := range []string{"client_id", "azp", "cid", "appid"} {
		if s := c.text(name); s != "" {
			return s
		}
	}
	return ""
}

// scopes are the granted scopes: RFC 9068 and RFC 7662 have "scope", Okta and Entra ID "scp".
func (c claims) scopes() []string { return union(c.words("scope"), c.words("scp")) }

// email is an address that the issuer does not call unverified.
func (c claims) email() string {
	verified, said := c["email_verified"]
	if said && verified != true && verified != "true" { // Cognito writes it as a string
		return ""
	}
	return shown(c.text("email"))
}

// username is what the issuer calls the person beside the subject.
func (c claims) username() string {
	for _, name := range []string{"preferred_username", "upn", "username", "cognito:username", "unique_name", "name"} {
		if s := shown(c.text(name)); s != "" {
			return s
		}
	}
	return ""
}

// subject is sub, if it can be shown. OpenID Connect Core section 2 allows at most 255 ASCII characters.
func (c claims) subject() string { return shown(c.text("sub")) }

// shown returns text that can be written into an audit, and nothing of any other: a part of a name is another name.
func shown(s string) string {
	if len(s) > 255 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return s
}

// identity makes an identity of claims that were found valid.
func (c claims) identity(p *provider, key tokenKey, via Via) *Identity {
	id := &Identity{
		Issuer: p.URL, Subject: c.subject(), Email: c.email(), Username: c.username(), ClientID: shown(c.client()),
		Scopes: c.scopes(), ACR: shown(c.text("acr")), AMR: c.words("amr"), TokenHash: key.String(), Via: via,
	}
	id.Expiry, _ = c.date("exp")
	id.AuthTime, _ = c.date("auth_time")
	return id
}

// judge decides whether valid claims are of an access token for this resource that is good now (RFC 9068 section 4).
func (p *provider) judge(c claims, typ string, rules *rules) *refusal {
	for _, check := range []func() string{
		func() string { return rules.time(c) },
		func() string { return kind(c, typ) },
		func() string { return p.audience(c, typ, rules) },
	} {
		if wrong := check(); wrong != "" {
			return badToken(wrong)
		}
	}
	if c.subject() == "" {
		return badToken("the access token names no subject")
	}
	return nil
}

// rules are what all issuers' tokens are held against.
type rules struct {
	resources []string // spellings of the resource
	skew      time.Duration
	now       func() time.Time
}

// time checks exp, nbf and iat. A JWT without exp is refused by its caller; the answer of an introspection endpoint may
// lack it (RFC 7662 section 2.2).
func (r *rules) time(c claims) string {
	now := r.now()
	for _, name := range []string{"exp", "nbf", "iat"} {
		at, ok := c.date(name)
		switch {
		case c.has(name) && !ok:
			return "the access token has a " + name + " that is no date"
		case ok && name == "exp" && !now.Before(at.Add(r.skew)):
			return "the access token has expired"
		case ok && name != "exp" && now.Add(r.skew).Before(at):
			return "the access token is not valid yet"
		}
	}
	return ""
}

// audience wants a token that was issued for this server (MCP, authorization: token audience validation).
func (p *provider) audience(c claims, typ string, rules *rules) string {
	aud := c.audience()
	if slices.ContainsFunc(rules.resources, func(r string) bool { return slices.Contains(aud, r) }) {
		return ""
	}
	if len(aud) == 0 && c.text("token_use") == "access" {
		aud = []string{c.text("client_id")} // Cognito's access tokens have a client and no audience
	}
	if !slices.ContainsFunc(p.Audiences, func(a string) bool { return slices.Contains(aud, a) }) {
		return "the access token is for another resource"
	}
	if !marked(c, typ) {
		return "nothing shows that the token is an access token"
	}
	if c.has("nonce") {
		return "the token is an id token: send the access token"
	}
	return ""
}

// marked reports whether something that id tokens do not have shows that this is an access token.
func marked(c claims, typ string) bool {
	return typ == "at+jwt" || // RFC 9068 section 2.1
		strings.HasPrefix(c.text("token_use"), "access") || // Cognito, Hydra
		c.has("scp") || // Okta, Entra ID
		strings.EqualFold(c.text("typ"), "Bearer") || // Keycloak
		slices.Contains([]string{"bearer", "access_token"}, strings.ToLower(c.text("token_type"))) // RFC 7662 section 2.2
}

// kind refuses what is signed by the issuer and is no access token, and access tokens that are bound to a key: presented
// as bearer tokens, nobody has shown the key (RFC 9449 section 7.2, RFC 8705 section 3).
func kind(c claims, typ string) string {
	said := func(name string, words ...string) bool {
		return c.has(name) && !slices.Contains(words, strings.ToLower(c.text(name)))
	}
	switch {
	case c.has("at_hash") || c.has("c_hash") || c.has("nonce") && !marked(c, typ):
		return "the token is an id token: send the access token"
	case said("typ", "bearer", "at+jwt", "jwt"): // Keycloak: ID, Refresh, Offline, Logout
		return "the token is not an access token"
	case said("token_use", "access", "access_token"): // Cognito: id
		return "the token is not an access token"
	case said("token_type", "bearer", "access_token"): // Hydra: refresh_token; DPoP
		return "the token is not a bearer token"
	case c.has("events"): // RFC 8417: a security event or logout token
		return "the token is not an access token"
	case c.has("cnf"):
		return "the access token is bound to a key, which this server cannot check"
	}
	return ""
}
