package guard

import (
	"context"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// GroupLookup finds groups that a token does not hold, with what the token says. An error denies the subject everything
// until it is asked again.
type GroupLookup func(ctx context.Context, id *Identity, claims map[string]any) ([]string, error)

// usualGroups are the claims that are looked at where none is configured. Roles of other applications of a Keycloak realm
// are added with the application's name before them: another application's admin is not ours.
var usualGroups = []string{
	"groups",             // Okta, Entra ID, Keycloak, JumpCloud, PingOne: names, ids or paths
	"roles",              // Entra ID: the roles of the application
	"realm_access.roles", // Keycloak
	"cognito:groups",     // Cognito
	"memberOf",           // PingFederate, JumpCloud
}

// groups puts the subject's groups into id: one list, whatever the issuer makes of them.
func (p *provider) groups(ctx context.Context, c claims, id *Identity) {
	id.Groups = groupsOf(c, p.Groups)
	if !overflowed(c) {
		return
	}
	if p.LookupGroups == nil {
		id.GroupsUnknown = "the identity provider left your groups out of the access token because they are too many: " +
			"ask your administrator to limit the groups of this application's tokens"
		return
	}
	found, err := p.LookupGroups(ctx, id, c)
	if err != nil {
		p.warn("groups cannot be looked up", "err", err)
		id.GroupsUnknown = "your groups cannot be looked up at the moment"
		return
	}
	id.Groups = union(id.Groups, found)
}

// overflowed reports whether Entra ID left groups out: it then points to where they are (OpenID Connect Core section
// 5.6.2), or, in older flows, says hasgroups.
func overflowed(c claims) bool {
	elsewhere, _ := c["_claim_names"].(map[string]any)
	_, groups := elsewhere["groups"]
	return groups || c["hasgroups"] == true || c["hasgroups"] == "true"
}

// groupsOf reads the groups from the places configured, or from the usual ones.
func groupsOf(c claims, places []string) (groups []string) {
	if len(places) == 0 {
		groups = c.keycloakClientRoles()
		places = append(slices.Clone(usualGroups), c.namespaced()...)
	}
	var lists [][]string
	for _, place := range places {
		lists = append(lists, names(c.at(place)))
	}
	return union(append(lists, groups)...)
}

// at finds a claim by its name, by a path with dots, or by a JSON pointer (RFC 6901). A name that has dots in it is found
// before a path is made of it.
func (c claims) at(place string) any {
	if v, ok := c[place]; ok {
		return v
	}
	var steps []string
	if pointer, ok := strings.CutPrefix(place, "/"); ok {
		unescape := strings.NewReplacer("~1", "/", "~0", "~")
		for _, step := range strings.Split(pointer, "/") {
			steps = append(steps, unescape.Replace(step))
		}
	} else {
		steps = strings.Split(place, ".")
	}
	var v any = map[string]any(c)
	for _, step := range steps {
		object, _ := v.(map[string]any)
		v = object[step]
	}
	return v
}

// namespaced returns the claims that Auth0 demands for what is not standard: a URL whose last part says what it is.
func (c claims) namespaced() (names []string) {
	for name := range c {
		last := name[strings.LastIndexByte(name, '/')+1:]
		if strings.HasPrefix(name, "https://") && (last == "groups" || last == "roles") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// keycloakClientRoles returns resource_access.CLIENT.roles as CLIENT:ROLE.
func (c claims) keycloakClientRoles() (roles []string) {
	clients, _ := c["resource_access"].(map[string]any)
	for client, access := range clients {
		access, _ := access.(map[string]any)
		for _, role := range names(access["roles"]) {
			roles = append(roles, client+":"+role)
		}
	}
	slices.Sort(roles)
	return roles
}

// names makes a list of names of what an issuer says: a list, one name, names with spaces between them, a list that was
// written into a string, or an object whose members are the names. A distinguished name of a directory is one name.
func names(v any) (list []string) {
	switch v := v.(type) {
	case string:
		list = namesIn(v)
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
	case map[string]any: // Zitadel: {"admin": {"org id": "org domain"}}
		for name := range v {
			list = append(list, name)
		}
		slices.Sort(list)
	}
	for i, name := range list {
		list[i] = shown(strings.TrimSpace(strings.TrimLeft(name, "/ "))) // Keycloak's names are paths
	}
	return slices.DeleteFunc(list, func(name string) bool { return name == "" })
}

// namesIn takes a string apart. Names between commas may have spaces in them.
func namesIn(s string) []string {
	var written []string
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		if json.Unmarshal([]byte(s), &written) == nil {
			return written
		}
		s = s[1 : len(s)-1] // Cognito writes lists that it takes over from SAML as [a, b]
	}
	switch {
	case isDistinguishedName(s):
		return []string{s}
	case strings.ContainsAny(s, ",;"):
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' })
	}
	return strings.Fields(s)
}

// isDistinguishedName reports whether s begins like one (RFC 4514): "CN=Domain Admins,OU=...".
func isDistinguishedName(s string) bool {
	kind, _, ok := strings.Cut(s, "=")
	return ok && slices.Contains([]string{"cn", "ou", "uid", "dc"}, strings.ToLower(kind))
}
