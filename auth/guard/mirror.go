package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// Mirror makes clients that can only register themselves (RFC 7591) work with an issuer where nobody can: the guard
// publishes the issuer's metadata under the resource's own URL, with a registration endpoint that answers everybody with
// one client that was registered at the issuer by hand.
//
// It is off unless configured, because it bends a rule: the metadata's issuer is then not the one that tokens and
// authorization responses name. The sign-in itself stays between client and issuer. The guard sees no code and no token,
// asks for no consent and redirects nobody, so that it cannot become a confused deputy (MCP security best practices);
// whom a code may be sent to is decided by the issuer's list of redirect URIs. The client must be public: a secret that
// everybody is given is none.
type Mirror struct {
	// ClientID is the public client at the issuer.
	ClientID string

	// RedirectURIs are those that the issuer has for the client. A registration that asks for others is refused. One on
	// loopback that names no port stands for all ports (RFC 8252 section 7.3).
	RedirectURIs []string

	// AssumePKCE says that the issuer checks PKCE with S256 although its metadata does not list it (Entra ID). MCP clients
	// must not go on where that is not said.
	AssumePKCE bool
}

func (m *Mirror) check() error {
	if m.ClientID == "" || len(m.RedirectURIs) == 0 {
		return errors.New("the mirror of the issuer's metadata needs the client id and the redirect URIs of a client registered there")
	}
	for _, uri := range m.RedirectURIs {
		if err := checkRedirectURI(uri); err != nil {
			return err
		}
	}
	return nil
}

// checkRedirectURI wants https, http on loopback, or the scheme of an application (RFC 8252 section 7).
func checkRedirectURI(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("redirect URI %s: not one that can be registered", quoted(raw))
	}
	page := slices.Contains([]string{"javascript", "data", "vbscript", "file", "blob", "about"}, u.Scheme)
	if page || u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return fmt.Errorf("redirect URI %s: want https, http on loopback, or an application's own scheme", quoted(raw))
	}
	return nil
}

// allows reports whether a client may have its codes sent to a URI.
func (m *Mirror) allows(asked string) bool {
	return slices.ContainsFunc(m.RedirectURIs, func(registered string) bool {
		return asked == registered || isPortOf(asked, registered)
	})
}

// isPortOf reports whether asked is a registered loopback URI with a port in addition. Only on loopback is http registered.
func isPortOf(asked, registered string) bool {
	r, err := url.Parse(registered)
	if err != nil || r.Scheme != "http" {
		return false
	}
	a, err := url.Parse(asked)
	return err == nil && a.Port() != "" && asked == strings.Replace(registered, r.Host, r.Host+":"+a.Port(), 1)
}

// mirrored are the members of an issuer's metadata that a client needs for a sign-in. Others are left out: what they
// promise may not hold under another issuer, or for the client that everybody gets.
var mirrored = []string{
	"authorization_endpoint", "token_endpoint", "jwks_uri", "scopes_supported", "response_types_supported",
	"response_modes_supported", "grant_types_supported", "code_challenge_methods_supported", "revocation_endpoint",
	"device_authorization_endpoint", "pushed_authorization_request_endpoint", "require_pushed_authorization_requests",
	"userinfo_endpoint", "subject_types_supported", "id_token_signing_alg_values_supported", "prompt_values_supported",
}

// mirrorPage publishes a provider's metadata under the resource's URL.
type mirrorPage struct {
	*Mirror
	by           *provider
	issuer       string // what the mirror calls itself
	registration string // endpoint
	now          func() time.Time
}

// document makes the mirror's metadata, or says why there must be none.
func (m *mirrorPage) document(ctx context.Context) (map[string]any, error) {
	s, err := m.by.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	// RFC 9207 section 2.4: a client compares iss of the response with the issuer of the metadata, and they would differ.
	if s.IssParameter {
		return nil, fmt.Errorf("issuer %s puts its name into authorization responses, which clients would compare with the mirror's: "+
			"turn the mirror off, so that the metadata points at the issuer itself, and give clients their client id", quoted(m.by.URL))
	}
	if !m.AssumePKCE && !slices.Contains(s.PKCEMethods, "S256") {
		return nil, fmt.Errorf("metadata of issuer %s does not say that it checks PKCE with S256: "+
			"assume it only if the vendor documents it", quoted(m.by.URL))
	}
	d := map[string]any{
		"issuer": m.issuer, "registration_endpoint": m.registration, "token_endpoint_auth_methods_supported": []string{"none"},
		"code_challenge_methods_supported": []string{"S256"},
	}
	for _, name := range mirrored {
		if v, ok := s.document[name]; ok {
			d[name] = v
		}
	}
	return d, nil
}

// serveMetadata answers with the mirror's metadata.
func (m *mirrorPage) serveMetadata(w http.ResponseWriter, r *http.Request) {
	d, err := m.document(r.Context())
	if err != nil {
		m.by.warn("the mirror of the issuer's metadata cannot be shown", "err", err)
		w.Header().Set("Retry-After", strconv.Itoa(int(issuerPause/time.Second)))
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	serveDocument(w, r, d)
}

// registrationLimit is how long a registration may be.
const registrationLimit = 64 << 10

// register answers a client registration (RFC 7591 section 3). Nothing is kept of it.
func (m *mirrorPage) register(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodOptions:
		preflight(w, "POST, OPTIONS")
		return
	case http.MethodPost:
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var asked struct {
		RedirectURIs []string `json:"redirect_uris"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, registrationLimit)).Decode(&asked); err != nil {
		answerRegistration(w, http.StatusBadRequest, refusedRegistration("invalid_client_metadata", "the registration is no JSON object"))
		return
	}
	if len(asked.RedirectURIs) == 0 || slices.ContainsFunc(asked.RedirectURIs, func(uri string) bool { return !m.allows(uri) }) {
		answerRegistration(w, http.StatusBadRequest, refusedRegistration("invalid_redirect_uri",
			"only redirect URIs that the administrator registered can be used: "+printable(strings.Join(m.RedirectURIs, " "))))
		return
	}
	answerRegistration(w, http.StatusCreated, map[string]any{
		"client_id": m.ClientID, "client_id_issued_at": m.now().Unix(), "redirect_uris": asked.RedirectURIs,
		"token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code", "refresh_token"},
		"response_types": []string{"code"},
	})
}

func refusedRegistration(code, text string) map[string]any {
	return map[string]any{"error": code, "error_description": text}
}

func answerRegistration(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller has gone
}
