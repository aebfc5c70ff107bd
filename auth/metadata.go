package auth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// serverMetadata is the part of RFC 8414 section 2 (and OpenID Connect Discovery) that a client acts on.
type serverMetadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	RegistrationEndpoint  string   `json:"registration_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	ScopesSupported       []string `json:"scopes_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	PKCEMethods           []string `json:"code_challenge_methods_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	DeviceEndpoint        string   `json:"device_authorization_endpoint"` // RFC 8628 section 4
	ClientDocuments       bool     `json:"client_id_metadata_document_supported"`
	IssAdvertised         bool     `json:"authorization_response_iss_parameter_supported"`

	// trusted is another issuer that responses may come from, because the user said so; "" when not.
	trusted string
}

// target is what discovery yields: what to ask a token for, and whom.
type target struct {
	resource string // RFC 8707 value, verbatim from validated metadata
	name     string // resource_name, untrusted; "" when absent
	scopes   []string
	as       serverMetadata
}

// find walks from a challenge to a validated authorization server.
func (d *discovery) find(ctx context.Context, w wanted) (target, error) {
	doc, err := d.resourceMetadata(ctx, w.metadata)
	if errors.Is(err, errNoMetadata) {
		return d.withoutResource(ctx, w, err)
	}
	if err != nil {
		return target{}, err
	}
	issuer, err := d.choose(doc.AuthorizationServers)
	if err != nil {
		return target{}, err
	}
	as, err := d.serverMetadata(ctx, issuer, issuer)
	return target{doc.Resource, doc.ResourceName, legible(doc.ScopesSupported), as}, err
}

// withoutResource serves a server without protected resource metadata: the issuer is the pinned one, else, as MCP
// 2025-03-26 has it, the server's own origin. That revision's default endpoints are not guessed, because without
// metadata nothing proves that PKCE is checked.
func (d *discovery) withoutResource(ctx context.Context, w wanted, cause error) (target, error) {
	resource := d.server.String()
	if d.issuer != "" {
		as, err := d.serverMetadata(ctx, d.issuer, d.issuer)
		return target{resource: resource, as: as}, err
	}
	if !w.bearer && len(w.schemes) > 0 {
		return target{}, hint(fmt.Errorf("the server wants %s authentication", quoted(strings.Join(w.schemes, ", "))),
			"give the server what it wants with --header 'Name: value'")
	}
	home := origin(d.server)
	d.log.Info("no protected resource metadata: trying the server's origin as MCP 2025-03-26 has it", "issuer", home)
	as, err := d.serverMetadata(ctx, home, home, home+"/")
	if err != nil && w.open {
		return target{}, hint(fmt.Errorf("the server answers without a sign-in and names no authorization server: %w", cause),
			"it does not seem to need a sign-in: use it as it is")
	}
	if errors.As(err, new(hinted)) { // whose metadata is there and lacks something: that is the better hint
		return target{}, fmt.Errorf("the server names no authorization server: %w; %w", cause, err)
	}
	if err != nil {
		return target{}, hint(fmt.Errorf("the server names no authorization server: %w; %w", cause, err),
			"name it with --issuer URL, or give the server a key with --header 'Name: value'")
	}
	return target{resource: resource, as: as}, nil
}

// choose picks the pinned issuer, else the first one listed (RFC 9728 section 7.6 leaves the choice to the client). A
// pin is met by a list that writes it with or without the slash at the end.
func (d *discovery) choose(listed []string) (string, error) {
	same := func(s string) bool { return strings.TrimSuffix(s, "/") == strings.TrimSuffix(d.issuer, "/") }
	switch {
	case d.issuer != "" && (len(listed) == 0 || slices.ContainsFunc(listed, same)):
		return d.issuer, nil
	case d.issuer != "":
		return "", hint(fmt.Errorf("the server names the authorization server %s, not the pinned %s",
			quoted(strings.Join(listed, " ")), quoted(d.issuer)),
			"check --issuer, and that the server's URL is the one you mean")
	case len(listed) == 0:
		return "", hint(errors.New("protected resource metadata: it names no authorization server"), "name it with --issuer URL")
	}
	return listed[0], nil
}

// serverMetadata fetches the metadata of issuer, from the next place when one holds nothing usable, and validates it.
// accepted lists the spellings of the issuer that the document may carry.
func (d *discovery) serverMetadata(ctx context.Context, issuer string, accepted ...string) (serverMetadata, error) {
	u, err := d.issuerURL(issuer)
	if err != nil {
		return serverMetadata{}, err
	}
	var tried attempts
	var other *otherIssuer
	for _, place := range metadataPlaces(u) {
		var as serverMetadata
		err := d.fetch.document(ctx, place, d.issuer != "", &as)
		if err == nil {
			err = d.checkIssuer(&as, issuer, accepted)
		}
		if err == nil {
			return as, as.validate(d)
		}
		if errors.Is(err, errPrivate) || ctx.Err() != nil {
			return serverMetadata{}, fmt.Errorf("authorization server metadata at %s: %w", quoted(place.String()), err)
		}
		tried.add(place, err)
		errors.As(err, &other)
	}
	err = fmt.Errorf("metadata of authorization server %s: %w", quoted(issuer), tried.err())
	if other != nil {
		err = hint(err, "%s", other.hint())
	}
	return serverMetadata{}, err
}

func (d *discovery) issuerURL(issuer string) (*url.URL, error) {
	u, err := secureURL("authorization server", issuer)
	if err == nil && u.RawQuery != "" {
		return nil, fmt.Errorf("authorization server %s: an issuer has no query", quoted(issuer))
	}
	return u, err
}

// metadataPlaces lists the URLs in the order of MCP 2025-11-25. For an issuer with a path the root document is never
// asked: it may describe another tenant.
func metadataPlaces(issuer *url.URL) []*url.URL {
	at := func(path string) *url.URL { return &url.URL{Scheme: issuer.Scheme, Host: issuer.Host, Path: path} }
	const oauth, openID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	path := strings.TrimRight(issuer.Path, "/")
	if path == "" {
		return []*url.URL{at(oauth), at(openID)}
	}
	return []*url.URL{at(oauth + path), at(openID + path), at(path + openID)}
}

// checkIssuer is RFC 8414 section 3.3: identical, character by character. A document under the trusted issuer passes as
// one of the place where it was found: what is registered or pinned there stays apart from the trusted issuer's own.
func (d *discovery) checkIssuer(m *serverMetadata, place string, accepted []string) error {
	m.trusted = d.trusted
	switch {
	case slices.Contains(accepted, m.Issuer):
		return nil
	case d.trusted != "" && m.Issuer == d.trusted:
		m.Issuer = place
		return nil
	}
	return &otherIssuer{m.Issuer}
}

// otherIssuer means that a document's issuer is not the one it was fetched for.
type otherIssuer struct{ stated string }

func (o *otherIssuer) Error() string { return "its issuer is " + quoted(o.stated) }

// hint names the flag that accepts it.
func (o *otherIssuer) hint() string {
	return "if the server is a gateway of that identity provider, accept it with --trust-issuer " + flagValue(o.stated)
}

func (m *serverMetadata) validate(d *discovery) error {
	endpoints := []struct {
		name, url string
		required  bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, true},
		{"token_endpoint", m.TokenEndpoint, true},
		{"registration_endpoint", m.RegistrationEndpoint, false},
		{"revocation_endpoint", m.RevocationEndpoint, false},
	}
	for _, e := range endpoints {
		if e.url == "" && !e.required {
			continue
		}
		if err := d.checkEndpoint(e.name, e.url); err != nil {
			return fmt.Errorf("metadata of authorization server %s: %w", quoted(m.Issuer), err)
		}
	}
	if name := ownParameter(m.AuthorizationEndpoint); name != "" {
		return fmt.Errorf("metadata of authorization server %s: authorization_endpoint %s: its query sets %s, which is ours to set",
			quoted(m.Issuer), quoted(m.AuthorizationEndpoint), quoted(name))
	}
	return m.checkPKCE(d.assumePKCE)
}

// requestParameters are the parameters of an authorization request that the query of an authorization endpoint must not
// carry: twice is once too often (RFC 6749 section 3.1), and a request object takes the place of all others (RFC 9101).
var requestParameters = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "resource",
	"code_challenge", "code_challenge_method", "request", "request_uri",
}

// ownParameter names a parameter in the query of endpoint that this program sets itself; "" when there is none. Other
// parameters may be there (RFC 6749 section 3.1).
func ownParameter(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	query := u.Query()
	for _, name := range requestParameters {
		if query.Has(name) {
			return name
		}
	}
	return ""
}

func (d *discovery) checkEndpoint(name, raw string) error {
	u, err := secureURL(name, raw)
	if err != nil {
		return err
	}
	if err := d.fetch.allowed(u, d.issuer != ""); err != nil {
		return fmt.Errorf("%s %s: %w", name, quoted(raw), err)
	}
	return nil
}

// checkPKCE is the MCP rule: a client must refuse to go on when the metadata does not say that PKCE is checked. Silence
// is accepted of vendors that are known to check it, and where the user vouches for it; a list without S256 never is.
func (m *serverMetadata) checkPKCE(assumed bool) error {
	switch {
	case slices.Contains(m.PKCEMethods, "S256"):
		return nil
	case m.PKCEMethods == nil && (assumed || checksPKCE(*m)):
		return nil
	case m.PKCEMethods == nil:
		return hint(
			fmt.Errorf("metadata of authorization server %s: code_challenge_methods_supported is missing: nothing says that PKCE with S256 is checked", quoted(m.Issuer)),
			"have the identity provider advertise PKCE with S256, or, if its operator assures you that it checks PKCE, add --assume-pkce")
	}
	return hint(
		fmt.Errorf("metadata of authorization server %s: code_challenge_methods_supported does not list S256", quoted(m.Issuer)),
		"the identity provider has to advertise PKCE with S256; without it a stolen code could be redeemed")
}
