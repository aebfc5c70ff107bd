package auth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// TestOwner: a sign-in has one name through its renewals and in all processes, and another one than the next sign-in.
func TestOwner(t *testing.T) {
	st := newStage(t, func(c *demo.Config) { c.TokenLifetime = time.Hour })
	owner := func(s *Session) string {
		t.Helper()
		name, known := s.Owner()
		if !known {
			t.Error("the owner is not known")
		}
		return name
	}
	s := st.session()
	if name, known := s.Owner(); name != "" || known {
		t.Errorf("before the store is read the owner is %q, known: %v", name, known)
	}
	s.Warm(t.Context())
	if name := owner(s); name != "" {
		t.Errorf("nobody is called %q", name)
	}
	st.mustCall(s)
	first := owner(s)
	st.clock.advance(time.Hour)
	st.mustCall(s)
	other := st.session()
	other.Warm(t.Context())
	if first == "" || owner(s) != first || owner(other) != first {
		t.Errorf("the owner is %q, after a renewal %q, in another process %q", first, owner(s), owner(other))
	}
	if _, err := s.SignIn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if owner(s) == first {
		t.Errorf("two sign-ins are called %q", first)
	}
	st.IdP.RevokeUser("ada")
	st.clock.advance(time.Hour)
	_ = s.Authorize(st.request(t.Context())) // finds out; what it does about that is tested elsewhere
	if name := owner(s); name != "" {
		t.Errorf("after the sign-in was refused the owner is %q", name)
	}
}

// TestOwnerIsThePerson where the sign-in disclosed who that is, and not in a record that says neither.
func TestOwnerIsThePerson(t *testing.T) {
	names := map[string]string{}
	for what, c := range map[string]tokenstore.Credential{
		"ada":             {Issuer: "https://idp.example.com", Subject: "ada", SignIn: "1"},
		"ada once more":   {Issuer: "https://idp.example.com", Subject: "ada", SignIn: "2"},
		"ada's namesake":  {Issuer: "https://other.example.com", Subject: "ada", SignIn: "1"},
		"bob":             {Issuer: "https://idp.example.com", Subject: "bob", SignIn: "1"},
		"nameless record": {Issuer: "https://idp.example.com"},
	} {
		c.ServerURL, c.Resource, c.AccessToken = farServer, farServer, secret.New("CANARY-token")
		store := tokenstore.NewMemory()
		if err := tokenstore.SaveCredential(t.Context(), store, c); err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{ServerURL: farServer, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		s.Warm(t.Context())
		name, known := s.Owner()
		if known != (what != "nameless record") {
			t.Errorf("%s: known %v", what, known)
		}
		if strings.Contains(name, "CANARY") {
			t.Errorf("the owner is called %q", name)
		}
		names[what] = name
	}
	if names["ada"] != names["ada once more"] || names["ada"] == names["bob"] || names["ada"] == names["ada's namesake"] {
		t.Errorf("the owners are %q", names)
	}
}

// TestPassing: an error says that it may pass where something does not answer, and not where something is wrong.
func TestPassing(t *testing.T) {
	challenged := func(t *testing.T, network roundTrips) error {
		t.Helper()
		s, err := New(Config{ServerURL: farServer, Store: tokenstore.NewMemory(), HTTP: &http.Client{Transport: network}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, farServer, nil)
		if err != nil {
			t.Fatal(err)
		}
		verdict, err := s.Challenged(t.Context(), &http.Response{StatusCode: 401, Header: http.Header{}, Body: http.NoBody, Request: req}, Attempt{})
		if err == nil {
			t.Fatalf("verdict %v without an error", verdict)
		}
		return err
	}
	metadata := func(status int, body string) roundTrips {
		return func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "protected-resource") {
				return jsonResponse(`{"resource":"` + farServer + `","authorization_servers":["https://idp.example.com"]}`), nil
			}
			resp := jsonResponse(body)
			resp.StatusCode = status
			return resp, nil
		}
	}
	const noRegistration = `{"issuer":"https://idp.example.com","authorization_endpoint":"https://idp.example.com/a","token_endpoint":"https://idp.example.com/t","code_challenge_methods_supported":["S256"]}`
	for name, tt := range map[string]struct {
		network roundTrips
		want    bool
	}{
		"no network": {func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("network is unreachable")}
		}, true},
		"time-out":          {func(*http.Request) (*http.Response, error) { return nil, context.DeadlineExceeded }, true},
		"overloaded":        {metadata(503, "<html>"), true},
		"too many requests": {metadata(429, "{}"), true},
		"no such document":  {metadata(404, "{}"), false},
		"a web page":        {metadata(200, "<html>"), false},
		"another issuer":    {metadata(200, `{"issuer":"https://evil.example.com"}`), false},
		"no registration":   {metadata(200, noRegistration), false},
		"no PKCE":           {metadata(200, strings.Replace(noRegistration, "S256", "plain", 1)), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := challenged(t, tt.network)
			var p interface{ Passing() bool }
			if got := errors.As(err, &p) && p.Passing(); got != tt.want {
				t.Errorf("%v: passing %v, want %v", err, got, tt.want)
			}
		})
	}
}
