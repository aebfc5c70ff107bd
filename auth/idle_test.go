package auth

import (
	"net/http"
	"testing"
	"time"

	"drawbridge/internal/demo"
)

// background sends a request as the GET stream does, and returns the status and how often the provider was asked to renew.
func (st *stage) background(s *Session) (status, renewals int) {
	st.t.Helper()
	before := st.IdP.Counts().TokenRequests["refresh_token"]
	req := st.request(Background(st.t.Context()))
	if err := s.Authorize(req); err != nil {
		st.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		st.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		if v, err := s.Challenged(st.t.Context(), resp, Attempt{Background: true}); v == Pending {
			st.t.Fatalf("background traffic starts a sign-in (%v)", err)
		}
	}
	_ = drain(resp) // the status is what counts
	return resp.StatusCode, st.IdP.Counts().TokenRequests["refresh_token"] - before
}

// TestIdleIsIdle: the background renews the sign-in for 30 minutes after the last request of the client, then not until
// there is another one.
func TestIdleIsIdle(t *testing.T) {
	st := newStage(t, func(c *demo.Config) { c.TokenLifetime = 5 * time.Minute })
	s := st.session()
	st.mustCall(s)
	for range 4 { // 28 minutes
		st.clock.advance(7 * time.Minute)
		if status, n := st.background(s); status != http.StatusOK || n != 1 {
			t.Errorf("within the limit: status %d after %d renewals, want 200 after 1", status, n)
		}
	}
	for range 10 {
		st.clock.advance(7 * time.Minute)
		if status, n := st.background(s); status != http.StatusUnauthorized || n != 0 {
			t.Errorf("beyond the limit: status %d after %d renewals, want 401 after 0", status, n)
		}
	}
	st.mustCall(s)
	st.clock.advance(7 * time.Minute)
	if status, n := st.background(s); status != http.StatusOK || n != 1 {
		t.Errorf("after another request: status %d after %d renewals, want 200 after 1", status, n)
	}
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 6})
}

// TestEndingRenewsNothing: the DELETE of a process that ends must not spend a refresh token whose answer nobody reads.
func TestEndingRenewsNothing(t *testing.T) {
	st := newStage(t, func(c *demo.Config) { c.TokenLifetime = time.Minute })
	s := st.session()
	st.mustCall(s)
	st.clock.advance(2 * time.Minute)
	req := st.request(t.Context())
	req.Method = http.MethodDelete
	if err := s.Authorize(req); err != nil || req.Header.Get("Authorization") != "" {
		t.Errorf("Authorize: %v, header %q", err, req.Header.Get("Authorization"))
	}
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// TestCloseLetsRenewalEnd: a renewal under way when the process is told to end is stored before it ends.
func TestCloseLetsRenewalEnd(t *testing.T) {
	st := newStage(t, func(c *demo.Config) { c.TokenLifetime = time.Minute })
	s := st.session()
	st.mustCall(s)
	before, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	st.clock.advance(2 * time.Minute)
	st.IdP.SetFaults(demo.Faults{TokenDelay: 100 * time.Millisecond})
	go func() { _ = s.Authorize(st.request(t.Context())) }() // nobody waits for it: the process ends
	st.until("the provider has the request", func() bool { return st.IdP.Counts().TokenRequests["refresh_token"] > 0 || s.view().renewing != nil })
	s.Close()
	after, err := st.stored()
	if err != nil || after.RefreshToken.Equal(before.RefreshToken) {
		t.Errorf("the store holds the spent refresh token (%v)", err)
	}
}
