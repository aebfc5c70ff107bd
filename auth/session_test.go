package auth

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

func TestFirstSignInThenNone(t *testing.T) {
	st := newStage(t)
	st.mustCall(st.session())
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
	if page := <-st.pages; !strings.Contains(page, "You are signed in") || !strings.Contains(page, st.URL()) {
		t.Errorf("the last page is %q", page)
	}
	got, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	want := tokenstore.Credential{
		ServerURL: st.URL(), Resource: st.URL(), Issuer: st.Issuer(), TokenType: "Bearer",
		Client: tokenstore.Client{AuthMethod: "none"},
		IdP: tokenstore.IdP{
			Profile: "standard", Asked: []string{"mcp", "offline_access"}, Refresh: map[string]string{"resource": st.URL()},
		},
		TokenEndpoint: st.Issuer() + "/token", RevocationEndpoint: st.Issuer() + "/revoke",
		Scopes: []string{"mcp", "offline_access"},
	}
	if diff := cmp.Diff(want, got, recordOptions()...); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}

	st.mustCall(st.session())
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// recordOptions leaves out of a record what differs from run to run, and checks secrets for presence only.
func recordOptions() []cmp.Option {
	return []cmp.Option{
		cmpopts.IgnoreFields(tokenstore.Credential{}, "SignIn", "IssuedAt", "Expiry", "AccessToken", "RefreshToken"),
		cmpopts.IgnoreFields(tokenstore.Client{}, "ID"),
		cmp.Comparer(func(a, b secret.Text) bool { return a.IsZero() == b.IsZero() }),
	}
}

func TestRefreshAheadOfExpiry(t *testing.T) {
	st := newStage(t, func(c *demo.Config) { c.TokenLifetime = time.Hour })
	s := st.session()
	st.mustCall(s)
	refused := st.Server.Counts().Refused[401]

	st.clock.advance(58 * time.Minute)
	st.mustCall(s)
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
	st.clock.advance(90 * time.Second) // within the last minute
	st.mustCall(s)
	st.mustCall(s)
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 1})
	if now := st.Server.Counts().Refused[401]; now != refused {
		t.Errorf("the server refused %d requests, want none", now-refused)
	}
}

func TestStale(t *testing.T) {
	issued := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name     string
		lifetime time.Duration
		after    time.Duration
		want     bool
	}{
		{"unknown lifetime", 0, 1000 * time.Hour, false},
		{"an hour, early", time.Hour, 58*time.Minute + 59*time.Second, false},
		{"an hour, last minute", time.Hour, 59 * time.Minute, true},
		{"ten seconds, early", 10 * time.Second, 8 * time.Second, false},
		{"ten seconds, last tenth", 10 * time.Second, 9 * time.Second, true},
		{"expired", time.Hour, 2 * time.Hour, true},
	} {
		h := held{credential: tokenstore.Credential{IssuedAt: issued, Expiry: expiry(issued, c.lifetime)}}
		if got := h.stale(issued.Add(c.after)); got != c.want {
			t.Errorf("%s: stale is %v", c.name, got)
		}
	}
}

// TestRefreshOn401 has the server refuse a token that looks fine from here.
func TestRefreshOn401(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	old, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	st.Server.SetIntercept(refuseToken(old.AccessToken))
	st.mustCall(s)
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 1})
}

// refuseToken answers 401 to requests with the given token.
func refuseToken(token secret.Text) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !sentToken(r).Equal(token) {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="revoked"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func TestParallelRequestsShare(t *testing.T) {
	for _, c := range []struct {
		name     string
		sessions int
	}{{"one process", 1}, {"two processes", 2}} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t)
			first := st.session()
			parallel(t, 8, func() { st.mustCall(first) })
			st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})

			sessions := []*Session{first}
			for len(sessions) < c.sessions {
				sessions = append(sessions, st.session())
			}
			st.clock.advance(time.Hour)
			parallel(t, 8*c.sessions, func() func() {
				next := make(chan *Session, 8*c.sessions)
				for range 8 {
					for _, s := range sessions {
						next <- s
					}
				}
				return func() { st.mustCall(<-next) }
			}())
			st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 1})

			old, err := st.stored()
			if err != nil {
				t.Fatal(err)
			}
			st.Server.SetIntercept(refuseToken(old.AccessToken))
			parallel(t, 8, func() { st.mustCall(first) })
			st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 2})
		})
	}
}

func parallel(t *testing.T, n int, f func()) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(f)
	}
	wg.Wait()
}

// TestDeactivated is the story the program exists for.
func TestDeactivated(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	st.IdP.Deactivate("ada")
	st.clock.advance(time.Hour)

	// Background traffic notices first, and asks nobody.
	resp := st.send(s)
	verdict, err := s.Challenged(t.Context(), resp, Attempt{Background: true})
	if verdict != Refused || !errors.Is(err, ErrSignInRequired) || !strings.Contains(err.Error(), reasonRefused) {
		t.Errorf("background: %v, %v", verdict, err)
	}
	if _, err := st.stored(); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("the record is still there: %v", err)
	}

	verdict, err = s.Challenged(t.Context(), resp, Attempt{})
	if verdict != Pending || err != nil {
		t.Fatalf("client request: %v, %v", verdict, err)
	}
	p, _ := s.Pending()
	if p.Reason != reasonRefused {
		t.Errorf("the reason is %q", p.Reason)
	}
	var refusal *OAuthError
	if err := wait(t.Context(), s); !errors.As(err, &refusal) || refusal.Code != "access_denied" {
		t.Errorf("the sign-in ended with %v", err)
	}
	if _, ok := s.Pending(); ok {
		t.Error("the sign-in is still pending")
	}
}

// TestDeactivatedIsToldByAll: the process that learns of it deletes the record. The others find none, and say why too.
func TestDeactivatedIsToldByAll(t *testing.T) {
	st := newStage(t)
	first, second := st.session(), st.session()
	st.mustCall(first)
	st.mustCall(second)
	st.IdP.Deactivate("ada")
	st.clock.advance(time.Hour)
	for _, s := range []*Session{first, second} {
		_, err := s.Challenged(t.Context(), st.send(s), Attempt{Background: true})
		if !errors.Is(err, ErrSignInRequired) || !strings.Contains(err.Error(), reasonRefused) {
			t.Errorf("one of the two says %v", err)
		}
	}
	// Nobody but the first signs in, so no record of a sign-in says why.
	if verdict, err := second.Challenged(t.Context(), st.send(second), Attempt{}); verdict != Pending || err != nil {
		t.Fatalf("%v, %v", verdict, err)
	}
	if p, _ := second.Pending(); p.Reason != reasonGone {
		t.Errorf("the reason is %q", p.Reason)
	}
}

// send sends one authorized request and returns the answer, body drained.
func (st *stage) send(s *Session) *http.Response {
	st.t.Helper()
	req := st.request(st.t.Context())
	if err := s.Authorize(req); err != nil {
		st.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		st.t.Fatal(err)
	}
	if err := drain(resp); err != nil {
		st.t.Fatal(err)
	}
	return resp
}

// TestPassingFaultsKeepTokens checks that nothing short of a refusal costs a sign-in.
func TestPassingFaultsKeepTokens(t *testing.T) {
	for name, faults := range map[string]demo.Faults{
		"500":                     {TokenStatus: 500},
		"429":                     {TokenStatus: 429},
		"html with 200":           {TokenHTML: true},
		"html with 502":           {TokenHTML: true, TokenStatus: 502},
		"html with 403":           {TokenHTML: true, TokenStatus: 403},
		"temporarily_unavailable": {TokenError: "temporarily_unavailable"},
		"invalid_grant with 503":  {TokenError: "invalid_grant", TokenStatus: 503},
		"redirect":                {TokenRedirect: "http://127.0.0.1:1/token"},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t, func(c *demo.Config) { c.TokenLifetime = time.Hour })
			s := st.session()
			st.mustCall(s)
			st.IdP.SetFaults(faults)

			st.clock.advance(time.Hour - 30*time.Second)
			st.mustCall(s) // the token still lives

			st.clock.advance(time.Minute)
			_, err := st.call(s)
			var h interface{ Hint() string }
			if err == nil || !errors.As(err, &h) || h.Hint() == "" {
				t.Errorf("an expired token and a passing fault give %v, want an error with a hint", err)
			}
			st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})

			st.IdP.SetFaults(demo.Faults{})
			st.clock.advance(longestPause)
			st.mustCall(s)
			st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 1})
		})
	}
}

// TestUnreachableProvider is a passing fault without any answer.
func TestUnreachableProvider(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	if err := st.IdP.Close(); err != nil {
		t.Fatal(err)
	}
	st.clock.advance(time.Hour)
	if _, err := st.call(s); err == nil || errors.Is(err, ErrSignInRequired) {
		t.Errorf("call gave %v", err)
	}
	if _, err := st.stored(); err != nil {
		t.Errorf("the record is gone: %v", err)
	}
}

// TestForgottenRegistration has the provider forget the client between two refreshes.
func TestForgottenRegistration(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	c, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	st.IdP.RemoveClient(c.Client.ID)
	st.clock.advance(time.Hour)
	st.mustCall(s)
	st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 2})
}

// TestRegistrationIsReused signs in twice and registers once, with the same redirect URI.
func TestRegistrationIsReused(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	st.IdP.RevokeUser("ada")
	st.clock.advance(time.Hour)
	st.mustCall(s)
	st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 1})
}

func TestNoRefreshToken(t *testing.T) {
	st := newStage(t)
	st.IdP.SetFaults(demo.Faults{NoRefreshTokens: true})
	s := st.session()
	st.mustCall(s)
	st.clock.advance(time.Hour)
	st.mustCall(s)
	st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 1})
}

// TestNoRotation keeps a refresh token that the answer leaves out.
func TestNoRotation(t *testing.T) {
	st := newStage(t)
	st.IdP.SetFaults(demo.Faults{NoRotation: true})
	s := st.session()
	for range 3 {
		st.mustCall(s)
		st.clock.advance(time.Hour)
	}
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 2})
}
