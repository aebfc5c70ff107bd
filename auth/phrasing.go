package auth

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"drawbridge/tokenstore"
)

// phrasing is what one sign-in says to its identity provider beyond what every sign-in says: the profile's habits, the
// user's flags, and what a challenge demands.
type phrasing struct {
	profile   profile
	scopes    []string   // of the authorization request
	authorize url.Values // parameters of the authorization request
	refresh   url.Values // parameters of every refresh
	changes   []string   // what differs from the specifications, in words
}

// noResource is the value of --resource that names no resource at all.
const noResource = "none"

// phrase finds the words for a sign-in at t that is to bring about w.
func (s *Session) phrase(t target, w want) phrasing {
	ph := phrasing{profile: recognise(t.as), authorize: url.Values{}, refresh: url.Values{}}
	ph.scopes = s.chooseScopes(w, t)
	ph.nameResource(t.resource, s.cfg.Resource)
	ph.askForRenewal(t.as)
	if ph.profile.scopeOnRefresh && len(ph.scopes) > 0 {
		ph.refresh.Set("scope", strings.Join(ph.scopes, " "))
		ph.change("a refresh repeats the scopes")
	}
	ph.override(s.cfg, t.as)
	maps.Copy(ph.authorize, w.wanted.demands) // last: what the server demands now is the point of this sign-in
	return ph
}

func (ph *phrasing) change(what string) { ph.changes = append(ph.changes, what) }

// nameResource says whom the token is for. choice is the user's: "", noResource or a resource of their own.
func (ph *phrasing) nameResource(resource, choice string) {
	naming := ph.profile.resource
	switch choice {
	case "":
	case noResource:
		ph.change("no resource is named (--resource none)")
		return
	default:
		resource = choice
		ph.change("the resource is named as --resource has it")
		if naming == unnamed {
			naming = byParameter
		}
	}
	switch naming {
	case byParameter, byAudience:
		ph.authorize.Set("resource", resource) // MCP: in authorization and token requests
		ph.refresh.Set("resource", resource)
	case byScope:
		ph.scopes = qualify(ph.scopes, resource)
		ph.change("the scopes name the resource, no parameter does")
	case unnamed:
		ph.change("no resource is named")
	}
	if naming == byAudience {
		ph.authorize.Set("audience", resource)
		ph.change("the resource is named as audience too")
	}
}

// askForRenewal asks for a refresh token in the vendor's way.
func (ph *phrasing) askForRenewal(as serverMetadata) {
	const offline = "offline_access"
	switch ph.profile.renewal {
	case whereListed:
		if len(ph.scopes) > 0 && slices.Contains(as.ScopesSupported, offline) {
			ph.scopes = union(ph.scopes, []string{offline})
		}
	case byOffline:
		ph.scopes = union(ph.scopes, []string{offline})
	case byAccessType:
		ph.scopes = without(ph.scopes, []string{offline}) // Google refuses scopes it does not know
		ph.authorize.Set("access_type", "offline")
		ph.authorize.Set("prompt", "consent")
		ph.change("access_type=offline and prompt=consent ask for a refresh token")
	case unasked:
		ph.scopes = without(ph.scopes, []string{offline})
		ph.change("offline_access is not asked for")
	case unadded:
		ph.change("offline_access is not added")
	}
}

// override applies the user's parameters, and notes the flags that loosened a check.
func (ph *phrasing) override(c Config, as serverMetadata) {
	for _, name := range slices.Sorted(maps.Keys(c.AuthorizeParams)) {
		ph.authorize.Set(name, c.AuthorizeParams[name])
		ph.change("--authorize-param " + printable(name))
	}
	if as.PKCEMethods == nil {
		why := "the vendor is known to check it"
		if !checksPKCE(as) {
			why = "--assume-pkce"
		}
		ph.change("PKCE is used though the metadata does not list it (" + why + ")")
	}
	if as.trusted != "" {
		ph.change("the issuer may also be called " + printable(as.trusted) + " (--trust-issuer)")
	}
}

// record is what the credential keeps of it.
func (ph *phrasing) record() tokenstore.IdP {
	r := tokenstore.IdP{Profile: ph.profile.name, Changes: ph.changes, Asked: ph.scopes}
	for name := range ph.refresh {
		if r.Refresh == nil {
			r.Refresh = map[string]string{}
		}
		r.Refresh[name] = ph.refresh.Get(name)
	}
	return r
}

// refreshParams returns what a refresh sends beside the refresh token, for a resource and a recorded phrasing.
func refreshParams(resource string, r tokenstore.IdP) url.Values {
	form := url.Values{}
	if r.Profile == "" { // the record is older than profiles
		form.Set("resource", resource)
	}
	for name, value := range r.Refresh {
		form.Set(name, value)
	}
	return form
}

// tokenParams is the same for the first tokens of a sign-in, whose scopes are settled.
func tokenParams(resource string, r tokenstore.IdP) url.Values {
	form := refreshParams(resource, r)
	form.Del("scope")
	return form
}

// deviceParams returns what the device authorization request (RFC 8628 section 3.1) sends of the phrasing.
func (p *signIn) deviceParams() url.Values {
	form := url.Values{}
	for _, name := range []string{"resource", "audience", "acr_values", "max_age", "claims"} {
		if p.asks.Has(name) {
			form.Set(name, p.asks.Get(name))
		}
	}
	if len(p.idp.Asked) > 0 {
		form.Set("scope", strings.Join(p.idp.Asked, " "))
	}
	return form
}

// qualify puts scopes in the form resource/name, which is how Entra ID knows whom a token is for. Names that are
// qualified already, and those of OpenID Connect, stay. The resource's .default stands for all that was consented to;
// it must not stand beside others.
func qualify(scopes []string, resource string) []string {
	var named, plain []string
	for _, scope := range scopes {
		switch {
		case isOpenID(scope):
			plain = append(plain, scope)
		case strings.HasSuffix(scope, "/.default"):
		case strings.ContainsAny(scope, "/:"):
			named = append(named, scope)
		default:
			named = append(named, resource+"/"+scope)
		}
	}
	if len(named) == 0 {
		named = defaults(scopes, resource)
	}
	return union(named, plain)
}

// defaults returns the .default scopes of a list, or the resource's where there is none.
func defaults(scopes []string, resource string) []string {
	all := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !strings.HasSuffix(s, "/.default") })
	if len(all) == 0 {
		// With a slash at its end the resource has two here: what comes before "/.default" is the audience.
		return []string{resource + "/.default"}
	}
	return all
}

// isOpenID reports whether a scope belongs to no resource (OpenID Connect Core sections 5.4 and 11).
func isOpenID(scope string) bool {
	return slices.Contains([]string{"openid", "profile", "email", "address", "phone", "offline_access"}, scope)
}
