package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// identityHeaders are headers that servers behind proxies believe about who is calling. Clients must not be able to set
// them. A name that ends in - stands for all that begin so.
var identityHeaders = []string{
	"Authorization", "Proxy-Authorization", "Cookie",
	"Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name", "X-Remote-User", "X-Remote-Groups", "X-Remote-Extra-",
	"X-User", "X-User-", "X-Username", "X-Email", "X-Groups", "X-Auth-", "X-Authenticated-", "X-Webauth-", "X-Authentik-",
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token",
	"X-Original-User", "X-Identity", "X-Goog-Authenticated-User-", "X-Goog-Iap-Jwt-Assertion", "X-Amzn-Oidc-",
	"X-Ms-Client-Principal", "X-Ms-Client-Principal-", "X-Ms-Token-", "Cf-Access-", "Tailscale-User-", "X-Pomerium-",
	"X-Client-Cert", "X-Ssl-", "Ssl-Client-", "X-Forwarded-Client-Cert", "Drawbridge-",
}

// overrides make some servers take a request for another.
var overrides = []string{
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url", "X-Original-Host", "X-Host",
}

// names is a set of header names and of beginnings of names.
type names struct {
	exact    map[string]bool
	prefixes []string
}

func newNames(lists ...[]string) (n names) {
	n.exact = map[string]bool{}
	for _, name := range slices.Concat(lists...) {
		name = http.CanonicalHeaderKey(name)
		if strings.HasSuffix(name, "-") {
			n.prefixes = append(n.prefixes, name)
		} else {
			n.exact[name] = true
		}
	}
	return n
}

// has reports whether a name, in canonical form, is in the set.
func (n names) has(name string) bool {
	// CGI and WSGI make the same variable of X-Remote-User and X_Remote_User.
	return n.exact[name] || strings.Contains(name, "_") ||
		slices.ContainsFunc(n.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// clean removes from a client's headers what could speak for somebody or change what was judged.
func (n names) clean(h http.Header) {
	for name := range h {
		if n.has(name) {
			delete(h, name)
		}
	}
	// The guard has judged the origin; the server behind knows nothing of the public name and might refuse it.
	delete(h, "Origin")
}
