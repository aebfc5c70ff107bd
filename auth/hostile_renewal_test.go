package auth

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestHostileRenewal has an expired token renewed by the same answers as TestHostileTokenEndpoint. What may be an accident
// opens no browser; the sign-in stays what it was, and the next honest answer renews it.
func TestHostileRenewal(t *testing.T) {
	for _, b := range badTokens() {
		t.Run(b.name, func(t *testing.T) {
			v := newVictim(t, misdeed{do: atIdP("/token", b.answer), patience: b.patience, err: b.err, hint: "the sign-in is kept"})
			v.mustCall(v.stage.session())
			v.page()
			v.begin()
			good := v.mustStored()
			v.clock.advance(time.Hour)
			_, err := v.call(v.session)
			v.judge(err, int(v.stage.tabs.Load())-1)
			if diff := cmp.Diff(fingerprint(good), fingerprint(v.mustStored())); diff != "" {
				t.Errorf("the sign-in is not what it was (-want +got):\n%s", diff)
			}
			v.recover()
			v.clock.advance(longestPause)
			v.mustCall(v.session)
			v.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 1})
		})
	}
}

// TestRefusedRenewal has the provider say no without saying that the sign-in is over. A person is asked, and until they
// have answered the record stays.
func TestRefusedRenewal(t *testing.T) {
	for _, b := range refusals() {
		t.Run(b.name, func(t *testing.T) {
			v := newVictim(t, misdeed{do: atIdP("/token", b.answer)})
			v.mustCall(v.stage.session())
			v.begin()
			good := v.mustStored()
			v.clock.advance(time.Hour)

			verdict, err := v.session.Challenged(t.Context(), v.send(v.session), Attempt{Background: true})
			if verdict != Refused || !errors.Is(err, ErrSignInRequired) {
				t.Errorf("background: %v, %v", verdict, err)
			}
			p, _, _ := v.pending(v.session)
			if p.Reason != reasonRefused {
				t.Errorf("the reason is %q", p.Reason)
			}
			if diff := cmp.Diff(fingerprint(good), fingerprint(v.mustStored())); diff != "" {
				t.Errorf("the record is not what it was (-want +got):\n%s", diff)
			}
			if n := v.stage.tabs.Load(); n != 1 {
				t.Errorf("%d tabs", n)
			}
			v.harmless("log", v.said.String())
			v.recover()
			v.mustCall(v.session)
		})
	}
}

// TestOddTokens are answers that are wrong in a way that a token can still be read from. They are used with care.
func TestOddTokens(t *testing.T) {
	for _, c := range []struct {
		name    string
		members string
		want    time.Duration // lifetime; zero when it counts as unknown
		keeps   bool          // the refresh token before it
	}{
		{name: "plain", members: `"expires_in":3600,"refresh_token":"CANARY-next"`, want: time.Hour},
		{name: "negative lifetime", members: `"expires_in":-1,"refresh_token":"CANARY-next"`},
		{name: "no lifetime", members: `"refresh_token":"CANARY-next"`},
		{name: "lifetime of zero", members: `"expires_in":0,"refresh_token":"CANARY-next"`},
		{name: "fractional lifetime", members: `"expires_in":3599.5,"refresh_token":"CANARY-next"`, want: time.Hour - time.Second/2},
		{name: "lifetime as text", members: `"expires_in":"3600","refresh_token":"CANARY-next"`, want: time.Hour},
		{name: "lifetime that is no number", members: `"expires_in":"soon","refresh_token":"CANARY-next"`},
		{name: "lifetime as an object", members: `"expires_in":{"seconds":1},"refresh_token":"CANARY-next"`},
		{name: "endless lifetime", members: `"expires_in":1e300,"refresh_token":"CANARY-next"`, want: maxLifetime},
		{name: "lifetime that overflows", members: `"expires_in":9223372036854775808,"refresh_token":"CANARY-next"`, want: maxLifetime},
		{name: "empty refresh token", members: `"expires_in":3600,"refresh_token":""`, want: time.Hour, keeps: true},
		{name: "no refresh token", members: `"expires_in":3600`, want: time.Hour, keeps: true},
		{name: "refresh token that is null", members: `"expires_in":3600,"refresh_token":null`, want: time.Hour, keeps: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVictim(t, misdeed{})
			v.mustCall(v.stage.session())
			v.begin()
			good := v.mustStored()
			v.clock.advance(time.Hour)
			atIdP("/token", answerStatus(200, `{"access_token":"CANARY-odd","token_type":"bearer",`+c.members+`}`))(v.stage)
			var sent string
			v.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
				sent = r.Header.Get("Authorization")
				w.WriteHeader(http.StatusAccepted)
				return true
			})
			if status, err := v.call(v.session); err != nil || status != http.StatusAccepted || sent != "Bearer CANARY-odd" {
				t.Errorf("call: status %d, %v", status, err)
			}
			got := v.mustStored()
			lifetime := time.Duration(0)
			if !got.Expiry.IsZero() {
				lifetime = got.Expiry.Sub(got.IssuedAt)
			}
			if lifetime != c.want {
				t.Errorf("the lifetime is %v, want %v", lifetime, c.want)
			}
			if kept := got.RefreshToken.Equal(good.RefreshToken); kept != c.keeps || got.RefreshToken.IsZero() {
				t.Errorf("the refresh token was kept: %v", kept)
			}
			if strings.Contains(v.said.String(), "CANARY") {
				t.Error("a token is in the log")
			}
		})
	}
}
