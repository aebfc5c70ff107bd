package cli

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"drawbridge/auth"
	"drawbridge/auth/guard"
	"drawbridge/internal/demo"
	"drawbridge/tokenstore"
)

// TestSignInThroughTheMirror: at an identity provider that registers nobody, drawbridge registers at the guard in front of
// the server, signs in at the provider as the one client that everybody gets, and is let through.
func TestSignInThroughTheMirror(t *testing.T) {
	const redirect = "http://127.0.0.1/callback"
	var mirrored *guard.Guard
	world, err := demo.Start(t.Context(), demo.Config{
		IdP: demo.IdPConfig{AnyLoopbackPort: true, Clients: []demo.Client{{ID: "everybody", RedirectURIs: []string{redirect}}}},
		Server: demo.ServerConfig{Guard: func(resource, issuer string, _ http.Handler) (_ http.Handler, err error) {
			mirrored, err = guard.New(guard.Config{
				Resource: resource, Scopes: []string{demoScope},
				Issuers: []guard.Issuer{{URL: issuer, Mirror: &guard.Mirror{ClientID: "everybody", RedirectURIs: []string{redirect}}}},
			})
			return mirrored.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Subject", guard.FromContext(r.Context()).Subject)
				w.WriteHeader(http.StatusTeapot)
			})), err
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close() })
	world.IdP.SetFaults(demo.Faults{NoIss: true, NoIssAdvertised: true, NoRegistration: true})
	if err := mirrored.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	session, err := auth.New(auth.Config{ServerURL: world.URL(), Store: tokenstore.NewMemory(), Open: func(address string) error {
		if !strings.HasPrefix(address, world.Issuer()) {
			return errors.New("the person is sent to " + address)
		}
		go func() {
			if page, err := (demo.Human{}).SignIn(ctx, address, demo.Ada().Name, demo.Ada().Password); err != nil {
				t.Errorf("sign-in: %v: %s", err, page)
				cancel()
			}
		}()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	credential, err := session.SignIn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if credential.Client.ID != "everybody" || !credential.Client.Secret.IsZero() || credential.Issuer != world.URL() {
		t.Errorf("client %q of %s", credential.Client.ID, credential.Issuer)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, world.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Authorize(req); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if who := resp.Header.Get("X-Subject"); resp.StatusCode != http.StatusTeapot || who != "ada" {
		t.Errorf("the guard lets %q through: %s, %s", who, resp.Status, resp.Header.Get("WWW-Authenticate"))
	}
}
