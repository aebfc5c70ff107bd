package guard

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"drawbridge/internal/secret"
)

// Issuer is an authorization server whose tokens are accepted. URL is required; the rest is for issuers that differ from
// the standards, and for tokens that are not JWTs.
type Issuer struct {
	// URL is the issuer identifier: what the metadata calls itself and tokens say in iss, letter for letter (RFC 8414
	// section 3.3).
	URL string

	// Audiences are accepted in the token's audience beside [Config.Resource], for issuers that cannot put a resource there
	// (RFC 8707): usually the client id of the application. An id token has the same audience, so these tokens must show
	// by another mark that they are access tokens.
	Audiences []string

	// Groups are the claims that hold groups, as names ("groups"), paths ("realm_access.roles") or JSON pointers
	// ("/https:~1~1example.com~1teams"). If empty, all places are looked at that are usual.
	Groups []string

	// LookupGroups finds the groups of a subject whose token says that they did not fit in. If nil, such a subject is denied
	// everything, with a text that says why. It is called once a token.
	LookupGroups GroupLookup

	// ClientID and ClientSecret authenticate the guard at the introspection endpoint.
	ClientID     string
	ClientSecret secret.Text

	// Opaque accepts tokens that are not JWTs; the issuer is asked about them (RFC 7662). At most one issuer can have this:
	// nothing in an opaque token says whose it is, and it must not be shown to others.
	Opaque bool

	// Mirror publishes the issuer's metadata here, with a registration endpoint that the issuer does not have. If nil, the
	// resource's metadata points at the issuer. At most one issuer can have it.
	Mirror *Mirror

	// Freshness asks the issuer about every JWT again when the last answer is that old, so that a token that was withdrawn is
	// refused before it expires. If zero, a JWT is good until it expires.
	Freshness time.Duration
}

// minFreshness keeps a busy guard from asking about every request.
const minFreshness = time.Second

func (i *Issuer) check() error {
	u, err := secureURL("issuer", i.URL)
	if err != nil {
		return err
	}
	if u.RawQuery != "" {
		return fmt.Errorf("issuer %s: want no query", quoted(i.URL)) // RFC 8414 section 2
	}
	asks := i.Opaque || i.Freshness != 0
	switch {
	case asks && (i.ClientID == "" || i.ClientSecret.IsZero()):
		return fmt.Errorf("issuer %s: introspection needs a client id and a client secret", quoted(i.URL))
	case i.Freshness != 0 && i.Freshness < minFreshness:
		return fmt.Errorf("issuer %s: freshness %s: want at least %s", quoted(i.URL), i.Freshness, minFreshness)
	}
	if i.Mirror != nil {
		return i.Mirror.check()
	}
	return nil
}

// checkIssuers looks at what must hold among issuers.
func checkIssuers(list []Issuer) error {
	seen, opaque, mirrors := map[string]bool{}, 0, 0
	for _, i := range list {
		if err := i.check(); err != nil {
			return err
		}
		if seen[i.URL] {
			return fmt.Errorf("issuer %s: it is there twice", quoted(i.URL))
		}
		seen[i.URL] = true
		if i.Opaque {
			opaque++
		}
		if i.Mirror != nil {
			mirrors++
		}
	}
	if mirrors > 1 {
		return errors.New("several issuers with a mirror: it has one URL, that of the resource")
	}
	if opaque > 1 {
		return errors.New("several issuers of opaque tokens: a token of one would be shown to the others, name one")
	}
	return nil
}

// wellKnownIssuer returns where the metadata of an issuer may be, in the order of MCP 2025-11-25: RFC 8414 section 3.1,
// then OpenID Connect Discovery section 4 in both readings.
func wellKnownIssuer(issuer *url.URL) []string {
	const oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	origin, path := issuer.Scheme+"://"+issuer.Host, trimmedPath(issuer)
	return union([]string{origin + oauth + path, origin + openid + path, origin + path + openid})
}
