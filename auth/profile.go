package auth

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// profile says in what the identity providers of one vendor differ from the specifications. A profile changes how a
// sign-in is phrased, never what is checked; the one exception, PKCE, holds only where the vendor's own hosts answer.
type profile struct {
	name string // stored with credentials

	// hosts are the vendor's own, as path.Match patterns. They decide when both endpoints are on them.
	hosts []string

	// shapes recognise the vendor on a customer's host: path.Match patterns for host and path of the token endpoint, the
	// registration endpoint or the issuer.
	shapes []string

	resource resourceNaming
	renewal  renewal

	// scopeOnRefresh has a refresh repeat the scopes that were asked for.
	scopeOnRefresh bool

	// pkceUnlisted says that hosts check PKCE with S256 and that their metadata does not list it.
	pkceUnlisted bool

	// anyPort says that the port of a loopback redirect is not compared (RFC 8252 section 7.3).
	anyPort bool
}

// resourceNaming is how the server that a token is for is named.
type resourceNaming int

const (
	byParameter resourceNaming = iota // resource, in every request (RFC 8707, MCP)
	byAudience                        // audience in the authorization request, and resource as well
	byScope                           // scopes in the form resource/name; resource/.default without any
	unnamed                           // the client's registration decides
)

// renewal is how a refresh token is asked for.
type renewal int

const (
	whereListed  renewal = iota // offline_access where the metadata lists it (MCP 2026-07-28)
	byOffline                   // offline_access always
	byAccessType                // access_type=offline, and consent each time, since only consent yields a refresh token
	unadded                     // comes by itself; offline_access is for those who ask for it
	unasked                     // comes by itself; offline_access would be refused
)

// standard is the profile of an identity provider that is not recognised: the specifications and nothing else.
func standard() profile { return profile{name: "standard"} }

// profiles lists the vendors. Where hosts overlap the first one that fits is taken.
func profiles() []profile {
	microsoft := []string{
		"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn",
		"login.windows.net", "*.ciamlogin.com", "*.b2clogin.com",
	}
	return []profile{
		{
			// AADSTS9010010: resource beside scopes is refused; AADSTS90009: so is a refresh without scope.
			name: "entra", hosts: microsoft, shapes: []string{"*/*/oauth2/v2.0/token", "*.ciamlogin.com/*/v2.0"},
			resource: byScope, renewal: byOffline, scopeOnRefresh: true, pkceUnlisted: true, anyPort: true,
		},
		{
			// The endpoints before v2.0 know resource and no scopes.
			name: "entra-v1", hosts: microsoft, shapes: []string{"sts.windows.net/*"},
			renewal: unasked, pkceUnlisted: true, anyPort: true,
		},
		{
			name:   "okta",
			hosts:  []string{"*.okta.com", "*.oktapreview.com", "*.okta-emea.com", "*.okta-gov.com", "*.okta.mil"},
			shapes: []string{"*/oauth2/default/v1/token", "*/oauth2/aus*/v1/token", "*/oauth2/default", "*/oauth2/aus*"},
		},
		{
			name: "auth0", hosts: []string{"*.auth0.com"}, shapes: []string{"*/oidc/register"},
			resource: byAudience, renewal: byOffline,
		},
		{
			// An offline session of Keycloak outlives the person's session, and not everybody may have one.
			name: "keycloak", renewal: unadded,
			shapes: []string{
				"*/realms/*", "*/*/realms/*",
				"*/realms/*/protocol/openid-connect/token", "*/*/realms/*/protocol/openid-connect/token",
			},
		},
		{
			name: "google", hosts: []string{"accounts.google.com", "oauth2.googleapis.com"}, shapes: []string{"accounts.google.com"},
			resource: unnamed, renewal: byAccessType, anyPort: true,
		},
		{
			name: "cognito", hosts: []string{"*.amazoncognito.com"}, shapes: []string{"cognito-idp.*.amazonaws.com/*"},
			resource: unnamed, renewal: unasked, pkceUnlisted: true,
		},
		{
			name: "ping",
			hosts: []string{
				"auth.pingone.com", "auth.pingone.eu", "auth.pingone.ca", "auth.pingone.asia", "auth.pingone.com.au", "auth.pingone.sg",
			},
			shapes: []string{"*/as/token.oauth2"},
		},
	}
}

// recognise finds the profile: by the hosts of both endpoints, then by the shape of endpoints and issuer. The endpoints
// come first because a gateway may publish an identity provider's endpoints under an issuer of its own.
func recognise(as serverMetadata) profile {
	for _, p := range profiles() {
		if p.owns(as) && p.speaks(as) {
			return p
		}
	}
	for _, p := range profiles() {
		if p.fits(as.TokenEndpoint) || p.fits(as.RegistrationEndpoint) || p.fits(as.Issuer) {
			return p
		}
	}
	return standard()
}

// owns reports whether both endpoints are on the vendor's hosts.
func (p *profile) owns(as serverMetadata) bool {
	own := func(raw string) bool {
		u, err := url.Parse(raw)
		return err == nil && u.Scheme == "https" && matches(p.hosts, host(u))
	}
	return own(as.AuthorizationEndpoint) && own(as.TokenEndpoint)
}

// speaks tells the two generations of Entra's endpoints apart, which share their hosts.
func (p *profile) speaks(as serverMetadata) bool {
	second := strings.Contains(as.TokenEndpoint, "/oauth2/v2.0/")
	return p.name != "entra" && p.name != "entra-v1" || second == (p.name == "entra")
}

func (p *profile) fits(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && raw != "" && matches(p.shapes, host(u)+strings.TrimRight(u.EscapedPath(), "/"))
}

func host(u *url.URL) string { return strings.ToLower(u.Hostname()) }

// matches reports whether s fits one of the patterns. In a pattern * stands for anything but a slash.
func matches(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, s) // the patterns are ours
		return ok
	})
}

// checksPKCE reports whether a vendor's own hosts are known to check PKCE without saying so. Anybody else's endpoints
// do not count, whatever their issuer is called.
func checksPKCE(as serverMetadata) bool {
	return slices.ContainsFunc(profiles(), func(p profile) bool { return p.pkceUnlisted && p.owns(as) })
}
