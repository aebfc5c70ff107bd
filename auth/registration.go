package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// clientName is how this program introduces itself on a consent page.
const clientName = "Drawbridge"

// identify chooses the client to sign in as (MCP 2025-11-25: pre-registered, then client id metadata document, then
// dynamic registration) and opens the port that its redirect URI names.
func (s *Session) identify(ctx context.Context, as serverMetadata) (tokenstore.Client, *landing, error) {
	switch id := s.cfg.Client; {
	case id.ID != "":
		return s.preRegistered(ctx, as)
	case id.MetadataURL != "" && as.ClientDocuments:
		at, err := s.openRegistered(as)
		return tokenstore.Client{ID: id.MetadataURL, AuthMethod: authNone}, at, err
	case as.RegistrationEndpoint != "":
		return s.registered(ctx, as)
	}
	return tokenstore.Client{}, nil, hint(
		fmt.Errorf("authorization server %s: it offers no dynamic client registration", quoted(as.Issuer)),
		"have a client registered there with the redirect URI %s and name it with --client-id", s.cfg.Callback.withDefaults().uri(0))
}

// preRegistered checks that the issuer may see this client at all before anything is opened or sent.
func (s *Session) preRegistered(ctx context.Context, as serverMetadata) (tokenstore.Client, *landing, error) {
	client := tokenstore.Client{ID: s.cfg.Client.ID, Secret: s.cfg.Client.Secret, AuthMethod: authNone}
	if err := s.checkPin(ctx, as.Issuer); err != nil {
		return client, nil, err
	}
	if !client.Secret.IsZero() {
		method, err := as.secretMethod()
		if err != nil {
			return client, nil, err
		}
		client.AuthMethod = method
	}
	at, err := s.openRegistered(as)
	return client, at, err
}

// openRegistered opens the redirect URI that an administrator registers. Where its port is not compared, a busy default
// port is no obstacle.
func (s *Session) openRegistered(as serverMetadata) (*landing, error) {
	at, err := openLanding(s.cfg.Callback.withDefaults())
	if p := recognise(as); err != nil && s.cfg.Callback.Port == 0 && p.anyPort {
		s.log.Info("the default port is busy and the identity provider accepts any", "idp", p.name)
		return openLanding(s.cfg.Callback)
	}
	return at, err
}

// secretMethod chooses how to send a client secret. RFC 8414 section 2: without a list it is client_secret_basic.
func (m *serverMetadata) secretMethod() (string, error) {
	switch {
	case len(m.TokenAuthMethods) == 0 || slices.Contains(m.TokenAuthMethods, authBasic):
		return authBasic, nil
	case slices.Contains(m.TokenAuthMethods, authPost):
		return authPost, nil
	}
	return "", fmt.Errorf("authorization server %s: it takes a client secret neither by %s nor by %s", quoted(m.Issuer), authBasic, authPost)
}

// registered returns the stored registration with its redirect URI, or makes a new one. Processes do so one at a time.
func (s *Session) registered(ctx context.Context, as serverMetadata) (tokenstore.Client, *landing, error) {
	name := tokenstore.RegistrationName(as.Issuer)
	unlock, err := s.lock(ctx, "registration", name)
	if err != nil {
		return tokenstore.Client{}, nil, err
	}
	defer unlock()
	old, ok := s.storedRegistration(ctx, name)
	if ok {
		at, err := openLandingAt(old.RedirectURI)
		if err == nil {
			return old.Client, at, nil
		}
		s.log.Info("the redirect URI of the stored registration cannot be used: registering again", "cause", err)
	}
	return s.registerAnew(ctx, as, old)
}

// storedRegistration returns a registration that can still be used with this configuration.
func (s *Session) storedRegistration(ctx context.Context, name tokenstore.Name) (tokenstore.Registration, bool) {
	reg, err := tokenstore.LoadRegistration(ctx, s.cfg.Store, name)
	if err != nil {
		if !errors.Is(err, tokenstore.ErrNotFound) {
			s.log.Warn("stored client registration is not usable", "cause", err)
		}
		return reg, false
	}
	if !reg.SecretExpiry.IsZero() && s.cfg.Now().Add(time.Minute).After(reg.SecretExpiry) {
		return reg, false
	}
	return reg, s.cfg.Callback.admits(reg.RedirectURI)
}

// registerAnew puts another registration in the place of old, which is zero where there is none.
func (s *Session) registerAnew(ctx context.Context, as serverMetadata, old tokenstore.Registration) (tokenstore.Client, *landing, error) {
	at, err := s.openForRegistration(as)
	if err != nil {
		return tokenstore.Client{}, nil, err
	}
	reg, err := s.fetch.register(ctx, as, at.uri, s.cfg.Issuer != "")
	if errors.As(err, new(*OAuthError)) && as.offersDevice() {
		// Some servers have the device grant and let no dynamic client ask for it. The browser's way needs it not.
		as.DeviceEndpoint = ""
		reg, err = s.fetch.register(ctx, as, at.uri, s.cfg.Issuer != "")
	}
	if err == nil && !reg.SecretExpiry.IsZero() && !s.cfg.Now().Before(reg.SecretExpiry) {
		err = hint(fmt.Errorf("register client at %s: the client secret that came has expired already", quoted(as.RegistrationEndpoint)),
			"check this machine's clock; if it is right, the identity provider's is not")
	}
	if err != nil {
		at.close()
		return tokenstore.Client{}, nil, err
	}
	reg.Superseded = s.supersede(ctx, old, reg.Client.ID)
	if err := tokenstore.SaveRegistration(ctx, s.cfg.Store, reg); err != nil {
		// Best effort: the sign-in works without, and the next one registers again.
		s.log.Warn("the client registration could not be kept", "cause", err)
	}
	return reg.Client, at, nil
}

// openForRegistration opens any free port, which the registration remembers. Where registration and token endpoint are on
// different hosts, though, the registration is that of a gateway: it hands out a client that an administrator registered
// at the identity provider, with the redirect URI that is documented.
func (s *Session) openForRegistration(as serverMetadata) (*landing, error) {
	registration, err1 := url.Parse(as.RegistrationEndpoint)
	token, err2 := url.Parse(as.TokenEndpoint)
	if err1 == nil && err2 == nil && !sameOrigin(registration, token) {
		return s.openRegistered(as)
	}
	return openLanding(s.cfg.Callback)
}

// forgetRegistration drops the registration of a client that its issuer no longer knows. A newer one is left alone.
func (s *Session) forgetRegistration(ctx context.Context, issuer string, client tokenstore.Client) {
	err := s.withRegistration(ctx, issuer, client, func(reg tokenstore.Registration) error {
		return dropClient(ctx, s.cfg.Store, reg)
	})
	if err != nil {
		s.log.Warn("the refused client registration could not be deleted", "cause", err)
	}
}

// registrationRequest is RFC 7591 section 2. There is no scope in it: a list that the server does not know in full is
// a reason for refusal, and scopes are asked for at each sign-in anyway.
type registrationRequest struct {
	ClientName      string   `json:"client_name"`
	ApplicationType string   `json:"application_type"` // OpenID Connect Registration; without it "web" is assumed
	RedirectURIs    []string `json:"redirect_uris"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
}

// registrationAnswer is RFC 7591 section 3.2 and RFC 7592 section 3.
type registrationAnswer struct {
	ClientID         string          `json:"client_id"`
	ClientSecret     string          `json:"client_secret"`
	SecretExpiresAt  json.RawMessage `json:"client_secret_expires_at"`
	AuthMethod       string          `json:"token_endpoint_auth_method"`
	RedirectURIs     []string        `json:"redirect_uris"`
	ManagementURI    string          `json:"registration_client_uri"`
	ManagementToken  string          `json:"registration_access_token"`
	Error            string          `json:"error"`
	ErrorDescription string          `json:"error_description"`
}

// register makes a dynamic registration (RFC 7591) for redirectURI at the issuer of as.
func (f *fetcher) register(ctx context.Context, as serverMetadata, redirectURI string, anyAddress bool) (tokenstore.Registration, error) {
	var none tokenstore.Registration
	u, err := secureURL("registration_endpoint", as.RegistrationEndpoint)
	if err != nil {
		return none, err
	}
	body, err := json.Marshal(registrationRequest{
		ClientName: clientName, ApplicationType: "native", RedirectURIs: []string{redirectURI},
		GrantTypes: as.registrationGrants(), ResponseTypes: []string{"code"},
		AuthMethod: as.registrationMethod(),
	})
	if err != nil {
		return none, fmt.Errorf("register client: %w", err)
	}
	req, err := http.NewRequestWithContext(withDestination(ctx, u, anyAddress), http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return none, fmt.Errorf("register client: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	a, err := f.do(f.post, req)
	if err != nil {
		return none, fmt.Errorf("register client at %s: %w", quoted(u.String()), err)
	}
	reg, err := parseRegistration(a, as.Issuer, redirectURI)
	if err != nil {
		return none, fmt.Errorf("register client at %s: %w", quoted(u.String()), err)
	}
	return reg, nil
}

// registrationGrants are the grants that a sign-in may use at this server.
func (m *serverMetadata) registrationGrants() []string {
	grants := []string{"authorization_code", "refresh_token"}
	if m.offersDevice() {
		grants = append(grants, deviceGrant)
	}
	return grants
}

// registrationMethod asks to be a public client wherever possible: a secret on a laptop is none.
func (m *serverMetadata) registrationMethod() string {
	if len(m.TokenAuthMethods) == 0 {
		return authNone
	}
	for _, method := range []string{authNone, authBasic, authPost} {
		if slices.Contains(m.TokenAuthMethods, method) {
			return method
		}
	}
	return authNone
}

// parseRegistration takes the answer as authoritative: the server may have changed what was asked for.
func parseRegistration(a answer, issuer, redirectURI string) (tokenstore.Registration, error) {
	var none tokenstore.Registration
	var j registrationAnswer
	bad := json.Unmarshal(a.body, &j) != nil
	switch {
	case !bad && j.Error != "":
		return none, &OAuthError{j.Error, j.ErrorDescription, a.status}
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		return none, passing{fmt.Errorf("status %d", a.status)}
	case a.status != http.StatusCreated && a.status != http.StatusOK:
		return none, fmt.Errorf("status %d", a.status)
	case bad || j.ClientID == "":
		return none, errors.New("the answer has no client_id")
	case !isVisible(j.ClientID):
		return none, fmt.Errorf("the client_id %s has characters that OAuth does not allow (RFC 6749 appendix A.1)", quoted(j.ClientID))
	case len(j.RedirectURIs) > 0 && !slices.Contains(j.RedirectURIs, redirectURI):
		return none, fmt.Errorf("the server replaced the redirect URI by %s", quoted(j.RedirectURIs[0]))
	}
	method, err := j.method()
	if err != nil {
		return none, err
	}
	reg := tokenstore.Registration{
		Issuer: issuer, RedirectURI: redirectURI, SecretExpiry: unixTime(j.SecretExpiresAt),
		Client: tokenstore.Client{ID: j.ClientID, Secret: text(j.ClientSecret), AuthMethod: method},
	}
	if _, err := secureURL("", j.ManagementURI); err == nil {
		reg.ManagementURI, reg.ManagementToken = j.ManagementURI, text(j.ManagementToken)
	}
	return reg, nil
}

// method returns how the registered client authenticates. A secret without a method means client_secret_basic
// (RFC 7591 section 2); without a secret the methods that need one mean none, which servers echo from their defaults.
func (j *registrationAnswer) method() (string, error) {
	known := j.AuthMethod == "" || j.AuthMethod == authNone || j.AuthMethod == authBasic || j.AuthMethod == authPost
	switch {
	case !known:
		return "", fmt.Errorf("the server wants the client to authenticate by %s", quoted(j.AuthMethod))
	case j.ClientSecret == "":
		return authNone, nil
	case j.AuthMethod == "":
		return authBasic, nil
	}
	return j.AuthMethod, nil
}

// unixTime reads client_secret_expires_at; 0, absence and nonsense mean never.
func unixTime(raw json.RawMessage) time.Time {
	seconds, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// text wraps s; the empty string is the zero secret.
func text(s string) secret.Text {
	if s == "" {
		return secret.Text{}
	}
	return secret.New(s)
}

// parseCallback reads a redirect URI that this program once made.
func parseCallback(redirectURI string) (CallbackConfig, error) {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Scheme != "http" {
		return CallbackConfig{}, fmt.Errorf("redirect URI %s: not one of ours", quoted(redirectURI))
	}
	p, err := strconv.Atoi(u.Port())
	if err != nil {
		return CallbackConfig{}, fmt.Errorf("redirect URI %s: it has no port", quoted(redirectURI))
	}
	return CallbackConfig{Host: u.Hostname(), Port: p, Path: u.Path}, nil
}
