package tokenstore

import (
	"context"
	"fmt"
	"time"

	"drawbridge/internal/secret"
)

// KindSignIn is the kind of item that holds a sign-in under way.
const KindSignIn = "sign-in"

// PendingSignIn is a sign-in that waits for a human: everything that another process needs to show it, and to finish
// it in the same browser tab when the process that began it is gone. It is kept when the sign-in has ended, without its
// secrets, to tell those who waited how it ended and to count tabs.
type PendingSignIn struct {
	ServerURL string // canonical URL the user typed
	Profile   string

	Resource           string // RFC 8707
	Issuer             string // of the validated metadata, recorded before the URL was built
	IssAdvertised      bool   // RFC 9207: the answer must carry iss
	TokenEndpoint      string
	RevocationEndpoint string
	Client             Client

	URL         string // what the human opens
	Device      Device // another way in; zero where there is none
	RedirectURI string
	State       secret.Text
	Verifier    secret.Text // PKCE (RFC 7636)
	Scopes      []string    // asked for, as the server names them
	IdP         IdP         // what the credential will keep of how it was asked
	Reason      string
	Deadline    time.Time

	Presented bool // a tab was opened for it
	Taken     bool // its answer arrived, at TakenAt: nobody need wait for it at the port
	TakenAt   time.Time
	Code      secret.Text // the code that arrived; zero when the answer was none
	Outcome   string

	Opened []time.Time // tabs opened for this server lately, over several sign-ins
}

// Device is a device authorization under way (RFC 8628).
type Device struct {
	Code                       secret.Text
	UserCode, URI, CompleteURI string
	Interval                   time.Duration
	Expiry                     time.Time
}

// Outcomes of a sign-in that ended; any other text is why it failed.
const (
	OutcomePending = ""
	OutcomeDone    = "done"
)

// SignInName names the sign-in under way of one profile at one server.
func SignInName(serverURL, profile string) (Name, error) {
	canonical, err := CanonicalURL(serverURL)
	if err != nil {
		return "", err
	}
	return NewName(KindSignIn, canonical, profile), nil
}

// SavePendingSignIn saves p under the name of its server and profile.
func SavePendingSignIn(ctx context.Context, s Store, p PendingSignIn) error {
	name, err := SignInName(p.ServerURL, p.Profile)
	if err != nil {
		return err
	}
	return saveRecord(ctx, s, name, pendingToWire(p))
}

// LoadPendingSignIn loads the sign-in called name. It returns ErrDamaged for a record of another server or profile.
func LoadPendingSignIn(ctx context.Context, s Store, name Name) (PendingSignIn, error) {
	text, err := s.Load(ctx, name)
	if err != nil {
		return PendingSignIn{}, fmt.Errorf("load %s: %w", name, err)
	}
	var w wirePending
	if err := decodeRecord(text, KindSignIn, &w); err != nil {
		return PendingSignIn{}, fmt.Errorf("load %s: %w", name, err)
	}
	if own, err := SignInName(w.ServerURL, w.Profile); err != nil || own != name {
		return PendingSignIn{}, fmt.Errorf("load %s: %w", name, damaged("it belongs to another server or profile"))
	}
	return w.pending(), nil
}

type wirePending struct {
	envelope
	ServerURL          string      `json:"server_url"`
	Profile            string      `json:"profile,omitempty"`
	Resource           string      `json:"resource,omitempty"`
	Issuer             string      `json:"issuer,omitempty"`
	IssAdvertised      bool        `json:"iss_advertised,omitempty"`
	TokenEndpoint      string      `json:"token_endpoint,omitempty"`
	RevocationEndpoint string      `json:"revocation_endpoint,omitempty"`
	Client             wireClient  `json:"client"`
	URL                string      `json:"url,omitempty"`
	Device             wireDevice  `json:"device,omitzero"`
	RedirectURI        string      `json:"redirect_uri,omitempty"`
	State              string      `json:"state,omitempty"`
	Verifier           string      `json:"verifier,omitempty"`
	Scopes             []string    `json:"scopes,omitempty"`
	IdP                wireIdP     `json:"idp,omitzero"`
	Reason             string      `json:"reason,omitempty"`
	Deadline           time.Time   `json:"deadline,omitzero"`
	Presented          bool        `json:"presented,omitempty"`
	Taken              bool        `json:"taken,omitempty"`
	TakenAt            time.Time   `json:"taken_at,omitzero"`
	Code               string      `json:"code,omitempty"`
	Outcome            string      `json:"outcome,omitempty"`
	Opened             []time.Time `json:"opened,omitempty"`
}

type wireDevice struct {
	Code        string        `json:"code,omitempty"`
	UserCode    string        `json:"user_code,omitempty"`
	URI         string        `json:"uri,omitempty"`
	CompleteURI string        `json:"complete_uri,omitempty"`
	Interval    time.Duration `json:"interval_ns,omitempty"`
	Expiry      time.Time     `json:"expiry,omitzero"`
}

func pendingToWire(p PendingSignIn) wirePending {
	return wirePending{
		envelope: envelope{recordVersion, KindSignIn}, ServerURL: p.ServerURL, Profile: p.Profile,
		Resource: p.Resource, Issuer: p.Issuer, IssAdvertised: p.IssAdvertised,
		TokenEndpoint: p.TokenEndpoint, RevocationEndpoint: p.RevocationEndpoint, Client: clientToWire(p.Client),
		URL: p.URL, Device: wireDevice{p.Device.Code.Reveal(), p.Device.UserCode, p.Device.URI, p.Device.CompleteURI, p.Device.Interval, p.Device.Expiry},
		RedirectURI: p.RedirectURI, State: p.State.Reveal(), Verifier: p.Verifier.Reveal(),
		Scopes: p.Scopes, IdP: wireIdP(p.IdP), Reason: p.Reason, Deadline: p.Deadline.UTC(),
		Presented: p.Presented, Taken: p.Taken, TakenAt: p.TakenAt.UTC(), Code: p.Code.Reveal(), Outcome: p.Outcome, Opened: p.Opened,
	}
}

func (w wirePending) pending() PendingSignIn {
	return PendingSignIn{
		ServerURL: w.ServerURL, Profile: w.Profile,
		Resource: w.Resource, Issuer: w.Issuer, IssAdvertised: w.IssAdvertised,
		TokenEndpoint: w.TokenEndpoint, RevocationEndpoint: w.RevocationEndpoint, Client: w.Client.client(),
		URL: w.URL, Device: Device{conceal(w.Device.Code), w.Device.UserCode, w.Device.URI, w.Device.CompleteURI, w.Device.Interval, w.Device.Expiry},
		RedirectURI: w.RedirectURI, State: conceal(w.State), Verifier: conceal(w.Verifier),
		Scopes: w.Scopes, IdP: IdP(w.IdP), Reason: w.Reason, Deadline: w.Deadline.UTC(),
		Presented: w.Presented, Taken: w.Taken, TakenAt: w.TakenAt.UTC(), Code: conceal(w.Code), Outcome: w.Outcome, Opened: w.Opened,
	}
}
