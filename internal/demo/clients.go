package demo

import (
	"net/http"
	"net/url"
	"slices"

	"drawbridge/internal/secret"
)

// Client is an OAuth client that the identity provider knows (RFC 7591 §2 has the words).
type Client struct {
	ID string
	// Secret is empty for a public client.
	Secret secret.Text
	// AuthMethod is "none", "client_secret_basic" or "client_secret_post". If empty, "none" without a Secret and
	// "client_secret_basic" with one.
	AuthMethod   string
	Name         string
	RedirectURIs []string
	// GrantTypes are the grants it may use. If nil, authorization_code and refresh_token.
	GrantTypes []string
	// Scopes limit what it may ask for. If nil, every scope.
	Scopes []string

	management secret.Text // registration access token (RFC 7592 §3); zero for clients that did not register themselves
}

func (s *state) addClient(c Client) {
	if c.AuthMethod == "" {
		c.AuthMethod = "none"
		if !c.Secret.IsZero() {
			c.AuthMethod = "client_secret_basic"
		}
	}
	if c.GrantTypes == nil {
		c.GrantTypes = []string{"authorization_code", "refresh_token"}
	}
	s.clients[c.ID] = c
}

func (p *IdP) client(id string) (c Client, known bool) {
	p.update(func(s *state) { c, known = s.clients[id] })
	return c, known
}

// allowsRedirect compares redirect URIs as strings (OAuth 2.1 §2.3.1). With anyPort, the port of a loopback address
// may differ (RFC 8252 §7.3).
func (c Client) allowsRedirect(uri string, anyPort bool) bool {
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		return uri == registered || anyPort && sameButPort(uri, registered)
	})
}

func sameButPort(uri, registered string) bool {
	a, errA := url.Parse(uri)
	b, errB := url.Parse(registered)
	if errA != nil || errB != nil || !isLoopback(a.Hostname()) || a.Hostname() != b.Hostname() {
		return false
	}
	a.Host, b.Host = "", ""
	return a.Scheme == "http" && a.String() == b.String()
}

// authenticate finds out which client sent a form, by the one method it is registered for (RFC 6749 §2.3.1).
func (p *IdP) authenticate(r *http.Request) (Client, *refusal) {
	id, given, method := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"), "none"
	if given != "" {
		method = "client_secret_post"
	}
	if user, password, ok := r.BasicAuth(); ok {
		if method != "none" || id != "" && id != formDecode(user) {
			return Client{}, &refusal{Code: "invalid_request", Description: "more than one client authentication method"}
		}
		id, given, method = formDecode(user), formDecode(password), "client_secret_basic"
	}
	c, known := p.client(id)
	if !known || c.AuthMethod != method || method != "none" && !c.Secret.Equal(secret.New(given)) {
		return Client{}, &refusal{Status: http.StatusUnauthorized, Code: "invalid_client",
			Description: "unknown client or wrong client authentication"}
	}
	return c, nil
}

// formDecode undoes the encoding that RFC 6749 §2.3.1 puts around the two halves of Basic credentials. Text that is
// not encoded well is taken as it stands.
func formDecode(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}
