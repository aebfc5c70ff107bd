package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
)

// grantedTo reads the scopes of a JWT access token, as the demo provider issues them.
func grantedTo(token secret.Text) []string {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return nil
	}
	var claims struct{ Scope string }
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	return strings.Fields(claims.Scope)
}

// needing answers 403 insufficient_scope to a token without scope.
func needing(scope string, satisfied bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		granted := grantedTo(sentToken(r))
		if r.URL.Path != "/mcp" || len(granted) == 0 || satisfied && slices.Contains(granted, scope) {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope=%q`, scope))
		w.WriteHeader(http.StatusForbidden)
		return true
	}
}

// TestStepUp asks for the union of scopes in one new sign-in, and sends the request again.
func TestStepUp(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	st.Server.SetIntercept(needing("mcp:admin", true))
	st.mustCall(s)
	st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 1})
	c, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	for _, scope := range []string{"mcp", "mcp:admin", "offline_access"} {
		if !slices.Contains(c.Scopes, scope) {
			t.Errorf("the new sign-in has %q only", c.Scopes)
		}
	}
}

// TestStepUpThatCannotHelp ends with the server's refusal and without another tab.
func TestStepUpThatCannotHelp(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	st.Server.SetIntercept(needing("mcp", false))
	status, err := st.call(s)
	if status != http.StatusForbidden {
		t.Errorf("status %d", status)
	}
	wantError(t, err, "already has them")

	st.Server.SetIntercept(needing("mcp:admin", false)) // granted, and refused still
	_, err = st.call(s)
	wantError(t, err, "already has them")
	st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 1})

	narrow := st.session(func(c *Config) { c.Scopes = []string{"mcp"}; c.Profile = "narrow" })
	st.Server.SetIntercept(nil)
	st.mustCall(narrow)
	st.Server.SetIntercept(needing("mcp:admin", true))
	_, err = st.call(narrow)
	wantError(t, err, "--scope leaves them out")
}

// TestOldTokenOutlivesFailedStepUp keeps what works until the new sign-in does.
func TestOldTokenOutlivesFailedStepUp(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	st.human.Deny = true
	st.Server.SetIntercept(needing("mcp:admin", true))
	_, err := st.call(s)
	wantError(t, err, "access_denied")
	st.Server.SetIntercept(nil)
	st.mustCall(s)
	st.wantTally(tally{Tabs: 2, SignIns: 1, Registrations: 1})
}

func TestStepUpCap(t *testing.T) {
	st := newStage(t)
	s := st.session()
	var got []bool
	for range 3 {
		got = append(got, s.countStepUp("tools/call a"))
	}
	got = append(got, s.countStepUp("tools/call b"))
	st.clock.advance(time.Hour)
	got = append(got, s.countStepUp("tools/call a"))
	if want := []bool{true, true, false, true, true}; !slices.Equal(got, want) {
		t.Errorf("step-ups allowed: %v, want %v", got, want)
	}
	for i := range 3 * stepUpEntries {
		s.countStepUp(fmt.Sprint(i))
	}
	if n := len(s.view().stepUps); n > stepUpEntries {
		t.Errorf("%d operations are remembered", n)
	}
}

// TestPlain403 leaves the word to the server.
func TestPlain403(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	for _, challenge := range []string{"", `Bearer error="invalid_token"`, `Basic realm="x"`} {
		st.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusForbidden)
			return true
		})
		if status, err := st.call(s); status != http.StatusForbidden || err != nil {
			t.Errorf("%q: status %d, %v", challenge, status, err)
		}
	}
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// TestServerThatRefusesEveryToken ends in an error that quotes the server, not in a stream of tabs.
func TestServerThatRefusesEveryToken(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/mcp" || sentToken(r).IsZero() {
			return false
		}
		// Some servers echo what they refuse.
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="wrong audience in `+sentToken(r).Reveal()+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, err := st.call(s)
	wantError(t, err, `sign-in that just succeeded: status 401, "invalid_token wrong audience in [secret]`)
	for range 3 {
		_, err := st.call(s)
		wantError(t, err, "just succeeded")
	}
	if tabs := st.tally().Tabs; tabs != 1 {
		t.Errorf("%d tabs were opened", tabs)
	}
	st.clock.advance(2 * rejectedMemory)
	_, err = st.call(s)
	wantError(t, err, "just succeeded")
	if tabs := st.tally().Tabs; tabs != 2 {
		t.Errorf("%d tabs were opened", tabs)
	}
}

// TestRenewedTokenThatAgesOnItsWay: a renewed token that is refused at once needs a human. One that was held up and had ended
// before the server saw it does not: the storm, on a slow machine, had sign-ins that nobody needed.
func TestRenewedTokenThatAgesOnItsWay(t *testing.T) {
	for _, test := range []struct {
		heldUp time.Duration
		want   string
		tabs   int
	}{
		{time.Minute, "long after it was issued", 1},
		{time.Second, "", 2},
	} {
		st := newStage(t)
		s := st.session()
		st.mustCall(s)
		var refused int
		st.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/mcp" || sentToken(r).IsZero() || refused == 2 {
				return false
			}
			if refused++; refused == 2 {
				st.clock.advance(test.heldUp)
			}
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		_, err := st.call(s)
		if test.want == "" && err != nil {
			t.Errorf("held up %v: %v", test.heldUp, err)
		} else if test.want != "" {
			wantError(t, err, test.want)
		}
		st.mustCall(s)
		if got := st.tally(); got.Tabs != test.tabs || got.SignIns != test.tabs {
			t.Errorf("held up %v: %d tabs and %d sign-ins, want %d", test.heldUp, got.Tabs, got.SignIns, test.tabs)
		}
	}
}

// TestVerdictsEnd answers 401 to whatever comes: the loop of a caller that obeys ends.
func TestVerdictsEnd(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	for resent := range 10 {
		resp := &http.Response{StatusCode: 401, Request: st.request(t.Context()), Body: http.NoBody, Header: http.Header{}}
		resp.Request.Header.Set("Authorization", "Bearer old")
		v, err := s.Challenged(t.Context(), resp, Attempt{Resent: resent})
		if want := resent < maxResends; (v == Resend) != want || (err == nil) != want {
			t.Errorf("after %d resends: %v, %v", resent, v, err)
		}
	}
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// TestNewerTokenInStore takes over what another process has put there, without a refresh of its own.
func TestNewerTokenInStore(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	old, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.session().SignIn(t.Context()); err != nil {
		t.Fatal(err)
	}
	st.Server.SetIntercept(refuseToken(old.AccessToken))
	st.mustCall(s)
	st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 1})
}

// TestRefreshedTokenRefused goes from a refresh that did not help to one sign-in.
func TestRefreshedTokenRefused(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	var refuse = true
	st.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/mcp" || !refuse || st.IdP.Counts().SignIns > 1 {
			return false
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	st.mustCall(s)
	st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 1, Refreshes: 1})
}

// TestReasonOfOtherRefusals asks a human when the token endpoint will not renew for good, and only then.
func TestReasonOfOtherRefusals(t *testing.T) {
	for _, code := range []string{"unauthorized_client", "interaction_required", "invalid_scope"} {
		t.Run(code, func(t *testing.T) {
			st := newStage(t, func(c *demo.Config) { c.TokenLifetime = time.Hour })
			s := st.session()
			st.mustCall(s)
			st.IdP.SetFaults(demo.Faults{TokenError: code})
			st.clock.advance(2 * time.Hour)
			p, _, _ := st.pending(s)
			if p.Reason != reasonRefused {
				t.Errorf("the reason is %q", p.Reason)
			}
		})
	}
}

// TestBackgroundWaitsForOthers never starts a sign-in, but may wait for one.
func TestBackgroundWaitsForOthers(t *testing.T) {
	st := newStage(t)
	s := st.session()
	resp := st.send(s)
	if v, err := s.Challenged(t.Context(), resp, Attempt{Background: true}); v != Refused || !errors.Is(err, ErrSignInRequired) {
		t.Errorf("alone: %v, %v", v, err)
	}
	st.wantTally(tally{})
	p, _, _ := st.pending(s)
	for _, background := range []bool{true, false} {
		if v, err := s.Challenged(t.Context(), resp, Attempt{Background: background}); v != Pending || err != nil {
			t.Errorf("beside a sign-in: %v, %v", v, err)
		}
		if now, _ := s.Pending(); now.URL != p.URL {
			t.Error("another sign-in took its place")
		}
	}
}

func TestChooseScopes(t *testing.T) {
	for _, c := range []struct {
		name               string
		configured         []string
		challenge, have    []string
		resource, provider []string
		want               string
	}{
		{name: "challenge first", challenge: []string{"a"}, resource: []string{"b"}, want: "a"},
		{name: "else all of the resource", resource: []string{"b", "c"}, want: "b c"},
		{name: "else none", provider: []string{"x", "offline_access"}, want: ""},
		{name: "never the provider's", provider: []string{"x"}, want: ""},
		{name: "offline where the provider has it", challenge: []string{"a"}, provider: []string{"x", "offline_access"}, want: "a offline_access"},
		{name: "once", challenge: []string{"a", "offline_access", "a"}, provider: []string{"offline_access"}, want: "a offline_access"},
		{name: "narrowed", configured: []string{"n"}, challenge: []string{"a"}, resource: []string{"b"}, want: "n"},
		{name: "union", have: []string{"a"}, challenge: []string{"b", "a"}, want: "a b"},
	} {
		s := &Session{cfg: Config{Scopes: c.configured}}
		w := want{wanted: wanted{scopes: c.challenge}, have: c.have}
		got := s.phrase(target{scopes: c.resource, as: serverMetadata{ScopesSupported: c.provider}}, w).scopes
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
