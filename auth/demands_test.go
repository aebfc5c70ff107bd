package auth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const policy = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`

// TestDemands reads how a challenge wants the person to sign in.
func TestDemands(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(policy))
	for _, c := range []struct {
		name, header string
		want         url.Values
	}{
		{"none", `Bearer error="invalid_token"`, nil},
		{"acr", `Bearer error="insufficient_user_authentication", acr_values="phr mfa"`, url.Values{"acr_values": {"phr mfa"}}},
		{"age", `Bearer error="insufficient_user_authentication", max_age="5"`, url.Values{"max_age": {"5"}}},
		{"both", `Bearer error="insufficient_user_authentication", acr_values="mfa", max_age=0`, url.Values{"acr_values": {"mfa"}, "max_age": {"0"}}},
		{"age that is none", `Bearer error="insufficient_user_authentication", max_age="-1"`, nil},
		{"age too large", `Bearer error="insufficient_user_authentication", max_age="99999999999999999999"`, nil},
		{"acr that hides something", "Bearer error=\"insufficient_user_authentication\", acr_values=\"mfa\u202e\"", nil},
		{"acr of another error", `Bearer error="invalid_token", acr_values="mfa"`, nil},
		{"claims", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="` + encoded + `"`,
			url.Values{"claims": {policy}}},
		{"claims without padding", `Bearer error="insufficient_claims", claims="` + strings.TrimRight(encoded, "=") + `"`, url.Values{"claims": {policy}}},
		{"claims in the other alphabet", `Bearer error="insufficient_claims", claims="eyJhIjoiPz8_In0"`, url.Values{"claims": {`{"a":"???"}`}}},
		{"claims that are no JSON", `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte("x")) + `"`, nil},
		{"claims that are no object", `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte("[1]")) + `"`, nil},
		{"claims that ask for nothing", `Bearer error="insufficient_claims", claims="e30="`, nil},
		{"claims that are no base64", `Bearer error="insufficient_claims", claims="{}"`, nil},
		{"claims too long", `Bearer error="insufficient_claims", claims="` +
			base64.StdEncoding.EncodeToString([]byte(`{"a":"`+strings.Repeat("x", maxClaimsBytes)+`"}`)) + `"`, nil},
	} {
		got := readChallenge(http.Header{"Www-Authenticate": {c.header}}).demands
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func FuzzDecodeClaims(f *testing.F) {
	for _, seed := range []string{"", "e30=", base64.StdEncoding.EncodeToString([]byte(policy)), "eyJhIjoiPz8_In0", "===="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		got := decodeClaims(encoded)
		if got == "" {
			return
		}
		again := decodeClaims(base64.RawURLEncoding.EncodeToString([]byte(got)))
		if again != got || len(got) > maxClaimsBytes || !strings.HasPrefix(got, "{") {
			t.Errorf("%q decodes to %q and that to %q", encoded, got, again)
		}
	})
}

// demanding challenges tokens whose sign-in did not have the parameter.
func demanding(name, value, challenge string) func(url.Values) string {
	return func(first url.Values) string {
		if first.Get(name) == value {
			return ""
		}
		return challenge
	}
}

const (
	wantsACR    = `error="insufficient_user_authentication", acr_values="mfa", max_age="60"`
	wantsClaims = `error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19"`
)

// TestDemandedSignIn has the server ask for more than the person has shown, while the token is good: one sign-in carries
// the demand, keeps the scopes, and the request is sent again.
func TestDemandedSignIn(t *testing.T) {
	for _, c := range []struct {
		name   string
		demand func(url.Values) string
		want   url.Values // of the second authorization request
	}{
		{"RFC 9470", demanding("acr_values", "mfa", wantsACR), url.Values{"acr_values": {"mfa"}, "max_age": {"60"}}},
		{"Entra claims", demanding("claims", policy, wantsClaims), url.Values{"claims": {policy}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVendorStage(t, entra())
			s := v.session(func(c *Config) { c.AuthorizeParams = map[string]string{"claims": "{}", "max_age": "9"} })
			if _, err := v.call(s); err != nil {
				t.Fatal(err)
			}
			v.demand = c.demand
			before := v.credential()
			if status, err := v.call(s); status != http.StatusOK || err != nil {
				t.Fatalf("call: %d, %v", status, err)
			}
			asked, forms := v.requests()
			if len(asked) != 2 || len(forms) != 2 {
				t.Fatalf("%d sign-ins and %d token requests, want 2 and 2", len(asked), len(forms))
			}
			for name, want := range c.want {
				if diff := cmp.Diff(want, asked[1][name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			if asked[1].Get("scope") != asked[0].Get("scope") {
				t.Errorf("the scopes were %q and are %q", asked[0].Get("scope"), asked[1].Get("scope"))
			}
			if v.credential().AccessToken.Equal(before.AccessToken) {
				t.Error("the old token is still stored")
			}
		})
	}
}

// TestDemandFromTheStart is met by a first sign-in that no token preceded.
func TestDemandFromTheStart(t *testing.T) {
	v := newVendorStage(t, okta())
	v.demand = demanding("acr_values", "mfa", wantsACR)
	if status, err := v.call(v.session()); status != http.StatusOK || err != nil {
		t.Errorf("call: %d, %v", status, err)
	}
	if asked, _ := v.requests(); len(asked) != 2 {
		t.Errorf("%d sign-ins, want 2: one to be known, one as demanded", len(asked))
	}
}

// TestDemandThatIsNeverMet ends after the same number of sign-ins as a step-up, and keeps the token.
func TestDemandThatIsNeverMet(t *testing.T) {
	v := newVendorStage(t, okta())
	s := v.session()
	if _, err := v.call(s); err != nil {
		t.Fatal(err)
	}
	v.demand = demanding("acr_values", "never", wantsACR)
	for range 3 {
		status, err := v.call(s)
		if status != http.StatusUnauthorized {
			t.Errorf("status %d", status)
		}
		wantError(t, err, "2 sign-ins for it did not help")
	}
	if asked, _ := v.requests(); len(asked) != 1+maxStepUps {
		t.Errorf("%d sign-ins, want %d", len(asked), 1+maxStepUps)
	}
	if v.credential().AccessToken.IsZero() {
		t.Error("the token is gone")
	}
}

// TestBackgroundMeetsNoDemand leaves the human alone for traffic that nobody waits for.
func TestBackgroundMeetsNoDemand(t *testing.T) {
	v := newVendorStage(t, okta())
	s := v.session()
	if _, err := v.call(s); err != nil {
		t.Fatal(err)
	}
	v.demand = demanding("acr_values", "mfa", wantsACR)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, vendorServer, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Authorize(req); err != nil {
		t.Fatal(err)
	}
	resp, err := v.transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	verdict, err := s.Challenged(t.Context(), resp, Attempt{Background: true})
	if verdict != Refused || !errors.Is(err, ErrSignInRequired) {
		t.Errorf("verdict %v, error %v", verdict, err)
	}
	if _, ok := s.Pending(); ok {
		t.Error("a sign-in is pending")
	}
}

// TestRefusedDemandKeepsTheToken has the person fail to meet the demand: what they could do before they still can.
func TestRefusedDemandKeepsTheToken(t *testing.T) {
	v := newVendorStage(t, okta())
	s := v.session()
	if _, err := v.call(s); err != nil {
		t.Fatal(err)
	}
	v.demand = demanding("acr_values", "mfa", wantsACR)
	v.idp.refuse = func(url.Values) *OAuthError {
		return &OAuthError{Code: "unmet_authentication_requirements"} // OpenID Connect Core Error Code
	}
	_, err := v.call(s)
	wantError(t, err, "unmet_authentication_requirements")
	v.demand = nil
	if status, err := v.call(s); status != http.StatusOK || err != nil {
		t.Errorf("without the demand: %d, %v", status, err)
	}
}

// TestVendorTakenOver begins a sign-in in one process and ends it in another, which speaks to the identity provider as
// the first one did.
func TestVendorTakenOver(t *testing.T) {
	for _, trusted := range []string{"", keycloak().issuer} { // first at the provider itself, then behind a gateway
		v := newVendorStage(t, keycloak())
		if trusted != "" {
			v.gateway(false)
		}
		v.takeOver(func(c *Config) { c.TrustIssuer = trusted })
	}
	for _, idp := range []fakeIdP{entra(), google()} {
		idp.serverScopes = []string{"openid", "email"} // named otherwise on the wire
		newVendorStage(t, idp).takeOver(func(*Config) {})
	}
}

func (v *vendorStage) takeOver(edit func(*Config)) {
	v.t.Helper()
	first := v.session(edit, quietly)
	address := v.pendingURL(first, wanted{})
	first.Close()
	second := v.session(edit)
	if again := v.pendingURL(second, wanted{}); again != address {
		v.t.Errorf("the second process asks by itself: %s", again)
	}
	if err := wait(v.t.Context(), second); err != nil {
		v.t.Fatal(err)
	}
	got, err := v.course(edit)
	if err != nil || got != (course{SignIns: 1, Refreshes: 1}) {
		v.t.Errorf("%s: %+v, %v", v.idp.issuer, got, err)
	}
}

// quietly has nobody react to the tab, for long enough that another process goes on with the sign-in.
func quietly(c *Config) {
	c.Open, c.LoginTimeout = func(string) error { return nil }, time.Minute
}

// TestDemandIsNotTakenOver starts another sign-in where the one that was left behind does not meet the demand.
func TestDemandIsNotTakenOver(t *testing.T) {
	v := newVendorStage(t, okta())
	first := v.session(quietly)
	address := v.pendingURL(first, wanted{})
	first.Close()
	demands := wanted{demands: url.Values{"acr_values": {"mfa"}}}
	second := v.session(quietly)
	demanding := v.pendingURL(second, demands)
	if demanding == address || !strings.Contains(demanding, "acr_values=mfa") {
		t.Errorf("the second process goes on with %s", demanding)
	}
	second.Close()
	if third := v.pendingURL(v.session(quietly), demands); third != demanding {
		t.Errorf("the third process does not go on with %s but asks %s", demanding, third)
	}
}

// pendingURL starts a sign-in, or goes on with one, and returns its page.
func (v *vendorStage) pendingURL(s *Session, w wanted) string {
	v.t.Helper()
	if _, err := s.ask(v.t.Context(), want{wanted: w, always: true}); err != nil {
		v.t.Fatal(err)
	}
	p, ok := s.Pending()
	if !ok {
		v.t.Fatal("no sign-in is pending")
	}
	return p.URL
}

// TestDeviceParams asks for a device code with what says whom the token is for and how to sign in, and nothing that is
// about browsers.
func TestDeviceParams(t *testing.T) {
	p := &signIn{asks: url.Values{
		"resource": {"r"}, "audience": {"a"}, "acr_values": {"mfa"}, "prompt": {"consent"}, "access_type": {"offline"},
	}}
	p.idp.Asked = []string{"x", "offline_access"}
	want := url.Values{"resource": {"r"}, "audience": {"a"}, "acr_values": {"mfa"}, "scope": {"x offline_access"}}
	if diff := cmp.Diff(want, p.deviceParams()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLoginMeetsDemands: a person who signs in by themselves is asked for the same as one who ran into the server's refusal,
// be it that the server says so to the token that is stored, or that it said so before a sign-in that nobody finished.
func TestLoginMeetsDemands(t *testing.T) {
	for _, c := range []struct {
		name   string
		demand func(url.Values) string
		want   string // of the second authorization request
	}{
		{"RFC 9470", demanding("acr_values", "mfa", wantsACR), "acr_values"},
		{"Entra claims", demanding("claims", policy, wantsClaims), "claims"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVendorStage(t, entra())
			s := v.session()
			if _, err := v.call(s); err != nil {
				t.Fatal(err)
			}
			v.demand = c.demand
			if _, err := v.session().SignIn(t.Context()); err != nil {
				t.Fatal(err)
			}
			asked, _ := v.requests()
			if len(asked) != 2 || asked[1].Get(c.want) == "" || asked[1].Get("scope") != asked[0].Get("scope") {
				t.Errorf("the sign-ins ask for %q", asked)
			}
			if status, err := v.call(v.session()); status != http.StatusOK || err != nil {
				t.Errorf("call: %d, %v", status, err)
			}
			if asked, _ := v.requests(); len(asked) != 2 {
				t.Errorf("%d sign-ins, want 2", len(asked))
			}
		})
	}
}

// TestLoginAfterDemandRanOut has nobody finish the sign-in that a call asked for.
func TestLoginAfterDemandRanOut(t *testing.T) {
	v := newVendorStage(t, okta())
	if _, err := v.call(v.session()); err != nil {
		t.Fatal(err)
	}
	v.demand = demanding("acr_values", "mfa", wantsACR)
	idle := v.session(func(c *Config) {
		c.LoginTimeout = 50 * time.Millisecond
		c.Open = func(string) error { return nil }
	})
	if _, err := v.call(idle); !errors.Is(err, errUnanswered) {
		t.Fatalf("the call ended with %v", err)
	}
	settle(t, idle)
	v.demand = nil // of this very request: the server asks for it only where it matters
	if _, err := v.session().SignIn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked, _ := v.requests(); len(asked) != 2 || asked[1].Get("acr_values") != "mfa" || asked[1].Get("max_age") != "60" {
		t.Errorf("the sign-ins ask for %q", asked)
	}
	v.clock.advance(2 * demandMemory)
	if _, err := v.session().SignIn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked, _ := v.requests(); asked[len(asked)-1].Has("acr_values") {
		t.Error("a demand that was met is made again")
	}
}
