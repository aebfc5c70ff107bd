package auth

import (
	"net/http"
	"strings"
	"testing"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// TestStaticKey: a stored key goes to the server's origin in its header, and nowhere else; refused, it leads to no sign-in, and
// to one in its place only where another process stored one.
func TestStaticKey(t *testing.T) {
	for _, test := range []struct{ header, carries, value string }{
		{"", "Authorization", "Bearer CANARY-key"},
		{"authorization", "Authorization", "Bearer CANARY-key"},
		{"x-api-key", "X-Api-Key", "CANARY-key"},
	} {
		t.Run(test.header, func(t *testing.T) {
			store := tokenstore.NewMemory()
			session := func() *Session {
				s, err := New(Config{ServerURL: farServer, Store: store, Issuer: "https://idp.example.com", Client: ClientIdentity{ID: "c"},
					HTTP: &http.Client{Transport: roundTrips(func(r *http.Request) (*http.Response, error) {
						t.Errorf("request to %s", r.URL)
						return nil, http.ErrNotSupported
					})}})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s, other := session(), session()
			if _, err := s.KeepKey(t.Context(), test.header, secret.New("CANARY-key")); err != nil {
				t.Fatal(err)
			}
			to := func(s *Session, url string) *http.Request {
				req, err := http.NewRequest(http.MethodPost, url, nil)
				if err == nil {
					err = s.Authorize(req)
				}
				if err != nil {
					t.Fatal(err)
				}
				return req
			}
			req := to(other, farServer)
			if got := req.Header.Get(test.carries); got != test.value || len(req.Header) != 1 {
				t.Errorf("the server gets %v", req.Header)
			}
			for _, url := range []string{"http://mcp.example.com/mcp", "https://mcp.example.com:8443/mcp", "https://idp.example.com/token"} {
				if got := to(other, url).Header; len(got) != 0 {
					t.Errorf("%s gets %v", url, got)
				}
			}
			for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
				challenge := http.Header{"Www-Authenticate": {`Bearer error="insufficient_scope", scope="more"`}}
				verdict, err := other.Challenged(t.Context(), &http.Response{StatusCode: status, Header: challenge, Body: http.NoBody, Request: req}, Attempt{})
				if verdict != Refused || (err != nil) != (status == http.StatusUnauthorized) || err != nil && strings.Contains(err.Error(), "CANARY") {
					t.Errorf("status %d: verdict %v, error %v", status, verdict, err)
				}
			}
			if _, err := s.KeepKey(t.Context(), test.header, secret.New("CANARY-second")); err != nil {
				t.Fatal(err)
			}
			verdict, err := other.Challenged(t.Context(), &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody, Request: req}, Attempt{})
			if got := to(other, farServer).Header.Get(test.carries); verdict != Resend || err != nil || !strings.HasSuffix(got, "CANARY-second") {
				t.Errorf("after a new key was stored: verdict %v, error %v, header %q", verdict, err, got)
			}
		})
	}
}
