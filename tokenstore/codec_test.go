package tokenstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/secret"
)

var (
	fullCredential = Credential{
		KeyHeader: "X-Api-Key",
		ServerURL: "https://mcp.example.com/mcp",
		Profile:   "work",
		Resource:  "https://mcp.example.com/mcp",
		Issuer:    "https://login.example.com",
		Subject:   "ada@example.com",
		SignIn:    "JBSWY3DPEHPK3PXP",
		Client:    Client{ID: "client", Secret: secret.New("CANARY-s"), AuthMethod: "client_secret_post"},
		IdP: IdP{
			Profile: "entra", Changes: []string{"no resource parameter"}, Asked: []string{"read", "offline_access"},
			Refresh: map[string]string{"scope": "read offline_access"},
		},
		TokenEndpoint:      "https://login.example.com/token",
		RevocationEndpoint: "https://login.example.com/revoke",
		AccessToken:        secret.New("CANARY-a"),
		TokenType:          "Bearer",
		RefreshToken:       secret.New("CANARY-r"),
		Scopes:             []string{"read", "write"},
		IssuedAt:           time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		Expiry:             time.Date(2026, 1, 2, 4, 4, 5, 0, time.UTC),
	}
	fullRegistration = Registration{
		Issuer:          "https://login.example.com",
		Client:          Client{ID: "client", Secret: secret.New("CANARY-s"), AuthMethod: "client_secret_basic"},
		RedirectURI:     "http://127.0.0.1:33418/callback",
		Doubts:          1,
		SecretExpiry:    time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
		ManagementURI:   "https://login.example.com/register/client",
		ManagementToken: secret.New("CANARY-m"),
		Superseded: []Superseded{
			{ClientID: "older", ManagementURI: "https://login.example.com/register/older", ManagementToken: secret.New("CANARY-o")},
		},
	}
)

func TestCredentialsRoundTrip(t *testing.T) {
	for _, want := range []Credential{fullCredential, {ServerURL: "http://127.0.0.1:9"}} {
		s := NewMemory()
		if err := SaveCredential(t.Context(), s, want); err != nil {
			t.Fatal(err)
		}
		name, _ := CredentialName(want.ServerURL, want.Profile)
		got, err := LoadCredential(t.Context(), s, name)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("error %v (-want +got):\n%s", err, diff)
		}
	}
}

func TestRegistrationsRoundTrip(t *testing.T) {
	for _, want := range []Registration{fullRegistration, {Issuer: "https://x.example"}} {
		s := NewMemory()
		if err := SaveRegistration(t.Context(), s, want); err != nil {
			t.Fatal(err)
		}
		got, err := LoadRegistration(t.Context(), s, RegistrationName(want.Issuer))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("error %v (-want +got):\n%s", err, diff)
		}
	}
}

// TestTimesLoseTheirZone keeps instants: a record is compared and hashed by nobody who wants local time.
func TestTimesLoseTheirZone(t *testing.T) {
	c := fullCredential
	c.Expiry = c.Expiry.In(time.FixedZone("", 3600))
	s := NewMemory()
	if err := SaveCredential(t.Context(), s, c); err != nil {
		t.Fatal(err)
	}
	name, _ := CredentialName(c.ServerURL, c.Profile)
	got, err := LoadCredential(t.Context(), s, name)
	if diff := cmp.Diff(fullCredential, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

// TestRecordUnderAnotherName moves records in a store, as somebody who can write the keychain could.
func TestRecordUnderAnotherName(t *testing.T) {
	s := NewMemory()
	if err := SaveCredential(t.Context(), s, fullCredential); err != nil {
		t.Fatal(err)
	}
	if err := SaveRegistration(t.Context(), s, fullRegistration); err != nil {
		t.Fatal(err)
	}
	own, _ := CredentialName(fullCredential.ServerURL, fullCredential.Profile)
	evil, _ := CredentialName("https://evil.example", "")
	otherProfile, _ := CredentialName(fullCredential.ServerURL, "")
	for _, name := range []Name{evil, otherProfile, RegistrationName("https://evil.example")} {
		move(t, s, own, name)
		if _, err := LoadCredential(t.Context(), s, name); !errors.Is(err, ErrDamaged) {
			t.Errorf("credential under %s: %v, want ErrDamaged", name, err)
		}
	}
	other := RegistrationName("https://evil.example")
	move(t, s, RegistrationName(fullRegistration.Issuer), other)
	if _, err := LoadRegistration(t.Context(), s, other); !errors.Is(err, ErrDamaged) {
		t.Errorf("registration under another issuer: %v, want ErrDamaged", err)
	}
}

func move(t *testing.T, s Store, from, to Name) {
	t.Helper()
	text, err := s.Load(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, to, text.Reveal())
}

func TestDecodeRefuses(t *testing.T) {
	refusals := map[string]error{
		``:                                    ErrDamaged,
		`null`:                                ErrDamaged,
		`[]`:                                  ErrDamaged,
		`{}`:                                  ErrDamaged,
		`{"ver`:                               ErrDamaged,
		`CANARY`:                              ErrDamaged,
		`{"version":1,"kind":"registration"}`: ErrDamaged,
		`{"version":-1,"kind":"credential"}`:  ErrDamaged,
		`{"version":1,"kind":"credential","scopes":"CANARY"}`:     ErrDamaged,
		`{"version":1,"kind":"credential","expiry":"CANARY"}`:     ErrDamaged,
		`{"version":2,"kind":"credential"}`:                       ErrNewer,
		`{"version":2,"kind":"credential","scopes":{"CANARY":1}}`: ErrNewer,
	}
	for text, want := range refusals {
		_, err := decodeCredential(secret.New(text))
		if !errors.Is(err, want) || hintOf(err) == "" || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v (hint %q), want %v", text, err, hintOf(err), want)
		}
	}
}

func TestLoadNothing(t *testing.T) {
	_, errC := LoadCredential(t.Context(), NewMemory(), NewName(KindCredential, "x"))
	_, errR := LoadRegistration(t.Context(), NewMemory(), NewName(KindRegistration, "x"))
	if !errors.Is(errC, ErrNotFound) || !errors.Is(errR, ErrNotFound) {
		t.Errorf("load nothing: %v, %v; want ErrNotFound", errC, errR)
	}
	if err := SaveCredential(t.Context(), NewMemory(), Credential{ServerURL: "nonsense"}); err == nil {
		t.Error("a credential without a server was saved")
	}
}

func FuzzDecodeCredential(f *testing.F) {
	f.Add(`{"version":1,"kind":"credential","server_url":"https://x","scopes":["a"],"expiry":"2026-01-02T03:04:05Z"}`)
	f.Add(`{"version":1,"kind":"credential","scopes":[],"expiry":"9999-12-31T23:59:59+23:59"}`)
	f.Add(`{"version":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := decodeCredential(secret.New(text))
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		s := NewMemory()
		name, nameErr := CredentialName(c.ServerURL, c.Profile)
		if nameErr != nil || SaveCredential(t.Context(), s, c) != nil {
			return
		}
		again, err := LoadCredential(t.Context(), s, name)
		if len(c.Scopes) == 0 {
			c.Scopes = nil // an empty list is not kept apart from none
		}
		if diff := cmp.Diff(c, again); diff != "" || err != nil {
			t.Errorf("error %v (-first +again):\n%s", err, diff)
		}
	})
}
