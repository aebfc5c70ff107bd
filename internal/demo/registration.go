package demo

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"drawbridge/internal/secret"
)

// registered is the answer to a registration (RFC 7591 §3.2.1). oauthex's own type leaves out
// client_secret_expires_at when it is 0, which is required beside a secret.
type registered struct {
	oauthex.ClientRegistrationMetadata
	ClientID              string `json:"client_id"`
	ClientIDIssuedAt      int64  `json:"client_id_issued_at"`
	ClientSecret          string `json:"client_secret,omitempty"`
	ClientSecretExpiresAt *int   `json:"client_secret_expires_at,omitempty"` // 0 is never
	ManagementURI         string `json:"registration_client_uri,omitempty"`
	ManagementToken       string `json:"registration_access_token,omitempty"`
}

// register is the dynamic registration endpoint (RFC 7591 §3).
func (p *IdP) register(w http.ResponseWriter, r *http.Request) {
	f := p.faults()
	switch {
	case f.NoRegistration:
		http.NotFound(w, r)
		return
	case f.RegistrationError != "":
		(&refusal{Code: f.RegistrationError, Description: "this provider does not want to"}).write(w)
		return
	}
	var m oauthex.ClientRegistrationMetadata
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&m); err != nil {
		(&refusal{Code: "invalid_client_metadata", Description: "the body is not a JSON object of metadata"}).write(w)
		return
	}
	fillRegistration(&m)
	if no := p.checkRegistration(m); no != nil {
		no.write(w)
		return
	}
	writeJSON(w, http.StatusCreated, p.addRegistration(m))
}

// fillRegistration applies the defaults of RFC 7591 §2 and OpenID Connect Dynamic Client Registration §2.
func fillRegistration(m *oauthex.ClientRegistrationMetadata) {
	if m.TokenEndpointAuthMethod == "" {
		m.TokenEndpointAuthMethod = "client_secret_basic"
	}
	if m.GrantTypes == nil {
		m.GrantTypes = []string{"authorization_code"}
	}
	if m.ResponseTypes == nil {
		m.ResponseTypes = []string{"code"}
	}
	if m.ApplicationType == "" {
		m.ApplicationType = "web"
	}
}

func (p *IdP) checkRegistration(m oauthex.ClientRegistrationMetadata) *refusal {
	bad := func(description string) *refusal {
		return &refusal{Code: "invalid_client_metadata", Description: description}
	}
	if !among([]string{m.TokenEndpointAuthMethod}, "none", "client_secret_basic", "client_secret_post") {
		return bad("this token_endpoint_auth_method is not supported")
	}
	if !among(m.GrantTypes, "authorization_code", "refresh_token") || !among(m.ResponseTypes, "code") {
		return bad("a grant type or response type is not supported")
	}
	if !among([]string{m.ApplicationType}, "native", "web") {
		return bad("application_type must be native or web")
	}
	if !among(strings.Fields(m.Scope), p.scopes...) {
		return bad("a scope is unknown")
	}
	for _, uri := range m.RedirectURIs {
		if why := redirectProblem(uri, m.ApplicationType == "native"); why != "" {
			return &refusal{Code: "invalid_redirect_uri", Description: why}
		}
	}
	if len(m.RedirectURIs) == 0 {
		return &refusal{Code: "invalid_redirect_uri", Description: "redirect_uris is empty"}
	}
	return nil
}

// among reports whether every value is allowed.
func among(values []string, allowed ...string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(allowed, v) })
}

// redirectProblem says why a client may not have this redirect URI, or "" (RFC 8252 §7, OAuth 2.1 §2.3).
func redirectProblem(uri string, native bool) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil || !u.IsAbs():
		return "a redirect URI is not an absolute URI"
	case u.Fragment != "" || strings.Contains(uri, "#"):
		return "a redirect URI has a fragment"
	case u.Scheme == "https" && u.Host != "":
		return ""
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "plain http is for loopback addresses"
	case !native:
		return "only an application_type of native may have loopback addresses or schemes of its own"
	case u.Scheme != "http" && !strings.Contains(u.Scheme, "."):
		return "a scheme of its own must be a reversed domain name" // RFC 8252 §7.1; also keeps javascript: out
	}
	return ""
}

func (p *IdP) addRegistration(m oauthex.ClientRegistrationMetadata) registered {
	answer := registered{ClientRegistrationMetadata: m, ClientID: "client-" + rand.Text(), ClientIDIssuedAt: p.now().Unix()}
	c := Client{ID: answer.ClientID, AuthMethod: m.TokenEndpointAuthMethod, Name: m.ClientName,
		RedirectURIs: m.RedirectURIs, GrantTypes: m.GrantTypes}
	if m.Scope != "" {
		c.Scopes = strings.Fields(m.Scope)
	}
	p.update(func(s *state) {
		if c.AuthMethod != "none" {
			answer.ClientSecret, answer.ClientSecretExpiresAt = s.newSecret("secret"), new(int)
			c.Secret = secret.New(answer.ClientSecret)
		}
		if !s.faults.NoManagement {
			answer.ManagementURI, answer.ManagementToken = p.issuer+"/register/"+c.ID, s.newSecret("management")
			c.management = secret.New(answer.ManagementToken)
		}
		s.addClient(c)
		s.counts.Registrations++
	})
	p.log.Info("registered a client", "client", c.ID)
	return answer
}

// deregister deletes a client that registered itself (RFC 7592 §2.3).
func (p *IdP) deregister(w http.ResponseWriter, r *http.Request) {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	id, deleted := r.PathValue("client"), false
	p.update(func(s *state) {
		c, known := s.clients[id]
		if deleted = known && !c.management.IsZero() && c.management.Equal(secret.New(given)); deleted {
			delete(s.clients, id)
			s.counts.Deregistrations++
		}
	})
	if !deleted {
		(&refusal{Status: http.StatusUnauthorized, Code: "invalid_token"}).write(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
