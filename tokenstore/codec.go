package tokenstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"drawbridge/internal/secret"
)

// recordVersion is the version of the JSON below. Members may be added without raising it, as decoders skip what they
// do not know; a change that an older program would misread raises it.
const recordVersion = 1

// envelope is the part of a record that every version shares.
type envelope struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
}

type wireClient struct {
	ID         string `json:"id"`
	Secret     string `json:"secret,omitempty"`
	AuthMethod string `json:"auth_method,omitempty"`
}

type wireIdP struct {
	Profile string            `json:"profile,omitempty"`
	Changes []string          `json:"changes,omitempty"`
	Asked   []string          `json:"asked,omitempty"`
	Refresh map[string]string `json:"refresh,omitempty"`
}

type wireCredential struct {
	envelope
	ServerURL          string     `json:"server_url"`
	Profile            string     `json:"profile,omitempty"`
	Resource           string     `json:"resource,omitempty"`
	Issuer             string     `json:"issuer,omitempty"`
	Subject            string     `json:"subject,omitempty"`
	SignIn             string     `json:"sign_in,omitempty"`
	Client             wireClient `json:"client"`
	IdP                wireIdP    `json:"idp,omitzero"`
	TokenEndpoint      string     `json:"token_endpoint,omitempty"`
	RevocationEndpoint string     `json:"revocation_endpoint,omitempty"`
	KeyHeader          string     `json:"key_header,omitempty"`
	AccessToken        string     `json:"access_token,omitempty"`
	TokenType          string     `json:"token_type,omitempty"`
	RefreshToken       string     `json:"refresh_token,omitempty"`
	Scopes             []string   `json:"scopes,omitempty"`
	IssuedAt           time.Time  `json:"issued_at,omitzero"`
	Expiry             time.Time  `json:"expiry,omitzero"`
}

type wireRegistration struct {
	envelope
	Issuer          string     `json:"issuer"`
	Client          wireClient `json:"client"`
	RedirectURI     string     `json:"redirect_uri,omitempty"`
	SecretExpiry    time.Time  `json:"secret_expiry,omitzero"`
	Doubts          int        `json:"doubts,omitempty"`
	ManagementURI   string     `json:"management_uri,omitempty"`
	ManagementToken string     `json:"management_token,omitempty"`

	Superseded []wireSuperseded `json:"superseded,omitempty"`
}

type wireSuperseded struct {
	ClientID        string `json:"client_id"`
	ManagementURI   string `json:"management_uri"`
	ManagementToken string `json:"management_token,omitempty"`
}

// SaveCredential saves c under the name of its server and profile.
func SaveCredential(ctx context.Context, s Store, c Credential) error {
	name, err := CredentialName(c.ServerURL, c.Profile)
	if err != nil {
		return err
	}
	return saveRecord(ctx, s, name, credentialToWire(c))
}

// LoadCredential loads the credential called name. It returns ErrDamaged for a record of another server or profile:
// a token goes to the place it was issued for and nowhere else.
func LoadCredential(ctx context.Context, s Store, name Name) (Credential, error) {
	text, err := s.Load(ctx, name)
	if err != nil {
		return Credential{}, fmt.Errorf("load %s: %w", name, err)
	}
	c, err := decodeCredential(text)
	if err != nil {
		return Credential{}, fmt.Errorf("load %s: %w", name, err)
	}
	if own, err := CredentialName(c.ServerURL, c.Profile); err != nil || own != name {
		return Credential{}, fmt.Errorf("load %s: %w", name, damaged("it belongs to another server or profile"))
	}
	return c, nil
}

// SaveRegistration saves r under the name of its issuer.
func SaveRegistration(ctx context.Context, s Store, r Registration) error {
	return saveRecord(ctx, s, RegistrationName(r.Issuer), registrationToWire(r))
}

// LoadRegistration loads the registration called name. It returns ErrDamaged for a record of another issuer: a client
// secret goes to the issuer that gave it and to no other.
func LoadRegistration(ctx context.Context, s Store, name Name) (Registration, error) {
	text, err := s.Load(ctx, name)
	if err != nil {
		return Registration{}, fmt.Errorf("load %s: %w", name, err)
	}
	r, err := decodeRegistration(text)
	if err != nil {
		return Registration{}, fmt.Errorf("load %s: %w", name, err)
	}
	if RegistrationName(r.Issuer) != name {
		return Registration{}, fmt.Errorf("load %s: %w", name, damaged("it belongs to another issuer"))
	}
	return r, nil
}

func saveRecord(ctx context.Context, s Store, name Name, wire any) error {
	text, err := json.Marshal(wire)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	if err := s.Save(ctx, name, secret.New(string(text))); err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	return nil
}

func decodeCredential(text secret.Text) (Credential, error) {
	var w wireCredential
	if err := decodeRecord(text, KindCredential, &w); err != nil {
		return Credential{}, err
	}
	return w.credential(), nil
}

func decodeRegistration(text secret.Text) (Registration, error) {
	var w wireRegistration
	if err := decodeRecord(text, KindRegistration, &w); err != nil {
		return Registration{}, err
	}
	return w.registration(), nil
}

// decodeRecord never quotes a decoder's error, since that may carry a piece of the secret.
func decodeRecord(text secret.Text, kind string, into any) error {
	raw := []byte(text.Reveal())
	var e envelope
	switch err := json.Unmarshal(raw, &e); {
	case err != nil:
		return damaged("it is not JSON")
	case e.Version > recordVersion:
		return newer(e.Version)
	case e.Version != recordVersion || e.Kind != kind:
		return damaged("it is not a " + kind)
	}
	if json.Unmarshal(raw, into) != nil {
		return damaged("a member has the wrong type")
	}
	return nil
}

func credentialToWire(c Credential) wireCredential {
	return wireCredential{
		envelope:           envelope{recordVersion, KindCredential},
		ServerURL:          c.ServerURL,
		Profile:            c.Profile,
		Resource:           c.Resource,
		Issuer:             c.Issuer,
		Subject:            c.Subject,
		SignIn:             c.SignIn,
		Client:             clientToWire(c.Client),
		IdP:                wireIdP(c.IdP),
		TokenEndpoint:      c.TokenEndpoint,
		RevocationEndpoint: c.RevocationEndpoint,
		KeyHeader:          c.KeyHeader,
		AccessToken:        c.AccessToken.Reveal(),
		TokenType:          c.TokenType,
		RefreshToken:       c.RefreshToken.Reveal(),
		Scopes:             c.Scopes,
		IssuedAt:           c.IssuedAt.UTC(),
		Expiry:             c.Expiry.UTC(),
	}
}

func (w wireCredential) credential() Credential {
	return Credential{
		ServerURL:          w.ServerURL,
		Profile:            w.Profile,
		Resource:           w.Resource,
		Issuer:             w.Issuer,
		Subject:            w.Subject,
		SignIn:             w.SignIn,
		Client:             w.Client.client(),
		IdP:                IdP(w.IdP),
		TokenEndpoint:      w.TokenEndpoint,
		RevocationEndpoint: w.RevocationEndpoint,
		KeyHeader:          w.KeyHeader,
		AccessToken:        conceal(w.AccessToken),
		TokenType:          w.TokenType,
		RefreshToken:       conceal(w.RefreshToken),
		Scopes:             w.Scopes,
		IssuedAt:           w.IssuedAt.UTC(),
		Expiry:             w.Expiry.UTC(),
	}
}

func registrationToWire(r Registration) wireRegistration {
	w := wireRegistration{
		envelope:        envelope{recordVersion, KindRegistration},
		Issuer:          r.Issuer,
		Client:          clientToWire(r.Client),
		RedirectURI:     r.RedirectURI,
		SecretExpiry:    r.SecretExpiry.UTC(),
		Doubts:          r.Doubts,
		ManagementURI:   r.ManagementURI,
		ManagementToken: r.ManagementToken.Reveal(),
	}
	for _, old := range r.Superseded {
		w.Superseded = append(w.Superseded, wireSuperseded{old.ClientID, old.ManagementURI, old.ManagementToken.Reveal()})
	}
	return w
}

func (w wireRegistration) registration() Registration {
	r := Registration{
		Issuer:          w.Issuer,
		Client:          w.Client.client(),
		RedirectURI:     w.RedirectURI,
		SecretExpiry:    w.SecretExpiry.UTC(),
		Doubts:          w.Doubts,
		ManagementURI:   w.ManagementURI,
		ManagementToken: conceal(w.ManagementToken),
	}
	for _, old := range w.Superseded {
		r.Superseded = append(r.Superseded, Superseded{old.ClientID, old.ManagementURI, conceal(old.ManagementToken)})
	}
	return r
}

func clientToWire(c Client) wireClient {
	return wireClient{ID: c.ID, Secret: c.Secret.Reveal(), AuthMethod: c.AuthMethod}
}

func (w wireClient) client() Client {
	return Client{ID: w.ID, Secret: conceal(w.Secret), AuthMethod: w.AuthMethod}
}

// conceal keeps the zero secret zero.
func conceal(s string) secret.Text {
	if s == "" {
		return secret.Text{}
	}
	return secret.New(s)
}
