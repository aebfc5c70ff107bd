package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

func (st *stage) logout() Logout { return Logout{Store: st.store, Now: st.clock.Now, Log: st.log()} }

func (st *stage) logOut(ctx context.Context, l Logout) Receipt {
	r, err := l.One(ctx, st.URL(), "")
	if err != nil {
		st.t.Error(err)
	}
	return r
}

// told is what a receipt says, with causes in words.
type told struct{ Local, Refresh, Access, Registration string }

func inWords(r Receipt) told {
	words := func(o Outcome) string {
		s := string(o.State)
		if !o.Until.IsZero() {
			s += " (until known)"
		}
		if o.Cause != nil {
			s += ": " + o.Cause.Error()
		}
		return s
	}
	return told{words(r.Local), words(r.RefreshToken), words(r.AccessToken), words(r.Registration)}
}

func (st *stage) name(profile string) tokenstore.Name {
	st.t.Helper()
	name, err := tokenstore.CredentialName(st.URL(), profile)
	if err != nil {
		st.t.Fatal(err)
	}
	return name
}

// left returns the kinds of what is in the store.
func (st *stage) left() (kinds []string) {
	st.t.Helper()
	names, err := st.store.List(st.t.Context())
	if err != nil {
		st.t.Fatal(err)
	}
	for _, name := range names {
		kinds = append(kinds, name.Kind())
	}
	slices.Sort(kinds)
	return kinds
}

// answerRevocations makes the revocation endpoint answer with status and body.
func (st *stage) answerRevocations(status int, body string) {
	st.IdP.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/revoke") {
			return false
		}
		w.Header().Set("Location", st.Issuer()+"/elsewhere")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(strings.ReplaceAll(body, "{token}", r.PostFormValue("token")))) // the client may have left
		return true
	})
}

// TestLogout signs in, has things go wrong, and logs out. Whatever the issuer does, the store is empty afterwards, and the
// receipt claims nothing that was not confirmed.
func TestLogout(t *testing.T) {
	all := told{"ended", "ended", "ended", "ended"}
	const until = "unconfirmed (until known): "
	refused := func(registration, cause string) told {
		return told{"ended", "unconfirmed: " + cause, until + cause, registration}
	}
	for _, tt := range []struct {
		name   string
		faults demo.Faults // while signing in
		wreck  func(st *stage)
		want   told // ENDPOINT stands for the revocation endpoint
		kinds  []string
	}{
		{name: "all is well", want: all},
		{name: "already invalid, in Google's words", want: all, wreck: func(st *stage) {
			st.answerRevocations(400, `{"error":"invalid_token","error_description":"Token expired or revoked"}`)
		}},
		{name: "no refresh token", faults: demo.Faults{NoRefreshTokens: true}, want: told{"ended", "absent", "ended", "ended"}},
		{name: "no revocation", faults: demo.Faults{NoRevocation: true},
			want: refused("ended", "the identity provider offers no revocation")},
		{name: "no revocation, expired", faults: demo.Faults{NoRevocation: true}, wreck: func(st *stage) { st.clock.advance(time.Hour) },
			want: told{"ended", "unconfirmed: the identity provider offers no revocation", "expired", "ended"}},
		{name: "no management", faults: demo.Faults{NoManagement: true}, kinds: []string{"registration"},
			want: told{"ended", "ended", "ended", "kept: the identity provider offers no way to delete it, and the next sign-in can use it"}},
		{name: "fault of the server", wreck: func(st *stage) { st.answerRevocations(503, "") },
			want: refused("ended", "ENDPOINT: status 503")},
		{name: "redirect", wreck: func(st *stage) { st.answerRevocations(307, "") },
			want: refused("ended", "ENDPOINT: status 307: redirects are not followed")},
		{name: "portal on the way", wreck: func(st *stage) { st.answerRevocations(200, "<!doctype html><p>Sign in to the Wi-Fi") },
			want: refused("ended", "ENDPOINT: an HTML page instead of a confirmation")},
		{name: "token in the words of the server", wreck: func(st *stage) {
			st.answerRevocations(400, `{"error":"unsupported_token_type {token}","error_description":"what is {token}?"}`)
		}, want: refused("ended", `ENDPOINT: "unsupported_token_type [secret]": "what is [secret]?"`)},
		{name: "the client is gone", wreck: func(st *stage) {
			c, _ := st.stored() // there is one: it was just signed in
			st.IdP.RemoveClient(c.Client.ID)
		}, want: refused(`unconfirmed: registration management "ISSUER": "invalid_token"`,
			`ENDPOINT: "invalid_client": "unknown client or wrong client authentication"`)},
		{name: "damaged record", wreck: func(st *stage) { st.put(st.name(""), "{}") }, kinds: []string{"registration"},
			want: told{"ended", "unconfirmed: DAMAGED", "unconfirmed: DAMAGED", "absent"}},
		{name: "another registration", wreck: func(st *stage) { st.register("newer") }, kinds: []string{"registration"},
			want: told{"ended", "ended", "ended", "absent"}},
		{name: "another profile", wreck: func(st *stage) { st.copyTo("work") }, kinds: []string{"credential", "registration"},
			want: told{"ended", "ended", "ended", "kept: another sign-in uses it"}},
		{name: "not signed in", wreck: func(st *stage) { st.remove(st.name("")) }, kinds: []string{"registration"},
			want: told{"absent", "absent", "absent", "absent"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := newStage(t)
			st.IdP.SetFaults(tt.faults)
			st.mustCall(st.session())
			if tt.wreck != nil {
				tt.wreck(st)
			}
			got := inWords(st.logOut(t.Context(), st.logout()))
			words := strings.NewReplacer("ENDPOINT", fmt.Sprintf("revocation endpoint %q", st.Issuer()+"/revoke"), "ISSUER", st.Issuer(),
				"DAMAGED", fmt.Sprintf("load %s: the stored record is damaged: it is not a credential", st.name("")))
			want := told{tt.want.Local, words.Replace(tt.want.Refresh), words.Replace(tt.want.Access), words.Replace(tt.want.Registration)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("receipt (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.kinds, st.left()); diff != "" {
				t.Errorf("left in the store (-want +got):\n%s", diff)
			}
		})
	}
}

func (st *stage) put(name tokenstore.Name, text string) {
	st.t.Helper()
	if err := st.store.Save(st.t.Context(), name, secret.New(text)); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) remove(name tokenstore.Name) {
	st.t.Helper()
	if err := st.store.Delete(st.t.Context(), name); err != nil {
		st.t.Fatal(err)
	}
}

// register stores a registration of another client at the issuer.
func (st *stage) register(id string) {
	st.t.Helper()
	reg := tokenstore.Registration{Issuer: st.Issuer(), Client: tokenstore.Client{ID: id, AuthMethod: authNone}}
	if err := tokenstore.SaveRegistration(st.t.Context(), st.store, reg); err != nil {
		st.t.Fatal(err)
	}
}

// copyTo stores the sign-in under another profile too.
func (st *stage) copyTo(profile string) {
	st.t.Helper()
	c, err := st.stored()
	c.Profile = profile
	if err := errors.Join(err, tokenstore.SaveCredential(st.t.Context(), st.store, c)); err != nil {
		st.t.Fatal(err)
	}
}

// TestLogoutEndsAccess: the tokens that a bridge still holds in memory are refused, and it finds that nothing renews them.
func TestLogoutEndsAccess(t *testing.T) {
	st := newStage(t)
	running := st.session()
	st.mustCall(running)
	before, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	if r := st.logOut(t.Context(), st.logout()); !r.Wiped() || !r.Confirmed() {
		t.Fatalf("receipt: %+v", inWords(r))
	}
	resp := st.send(running)
	if resp.StatusCode != http.StatusUnauthorized || !sentToken(resp.Request).Equal(before.AccessToken) {
		t.Fatalf("the token in memory: status %d, want 401", resp.StatusCode)
	}
	if v, err := running.Challenged(t.Context(), resp, Attempt{Background: true}); v != Refused || !errors.Is(err, ErrSignInRequired) {
		t.Errorf("verdict %v, %v; want that a person has to sign in", v, err)
	}
	c := st.IdP.Counts()
	if got := [3]int{c.Revocations, c.Deregistrations, c.Refreshes}; got != [3]int{2, 1, 0} {
		t.Errorf("revocations, deregistrations, refreshes: %v, want 2, 1, 0", got)
	}
}

// TestLogoutAsTheClient: revocation takes the same client authentication as the token endpoint, with the secret as it is
// configured now.
func TestLogoutAsTheClient(t *testing.T) {
	for _, method := range []string{authBasic, authPost} {
		t.Run(method, func(t *testing.T) {
			st := newStage(t)
			client := demo.Client{ID: "laptops", Secret: secret.New("old secret"), AuthMethod: method}
			st.IdP.AddClient(client)
			c := tokenstore.Credential{ServerURL: st.URL(), Issuer: st.Issuer(), RevocationEndpoint: st.Issuer() + "/revoke",
				Client:      tokenstore.Client{ID: client.ID, Secret: client.Secret, AuthMethod: method},
				AccessToken: secret.New("a"), RefreshToken: secret.New("r")}
			if err := tokenstore.SaveCredential(t.Context(), st.store, c); err != nil {
				t.Fatal(err)
			}
			client.Secret = secret.New("new secret")
			st.IdP.AddClient(client)
			l := st.logout()
			l.Client = ClientIdentity{ID: client.ID, Secret: client.Secret}
			want := told{"ended", "ended", "ended", "absent"}
			if diff := cmp.Diff(want, inWords(st.logOut(t.Context(), l))); diff != "" {
				t.Errorf("receipt (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLogoutOrder looks at the store while the issuer is being told: a crash at that moment must leave no token.
func TestLogoutOrder(t *testing.T) {
	st := newStage(t)
	st.mustCall(st.session())
	var mu sync.Mutex
	var order []string
	st.IdP.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, strings.TrimRight(r.Method+" "+r.PostFormValue("token_type_hint"), " "))
		for _, kind := range st.left() {
			t.Errorf("%s: the store still holds a %s", order[len(order)-1], kind)
		}
		return false
	})
	st.logOut(t.Context(), st.logout())
	if diff := cmp.Diff([]string{"POST refresh_token", "POST access_token", "DELETE"}, order); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestLogoutAll ends sign-ins at two issuers, one of which is away, and deletes what else is in the store.
func TestLogoutAll(t *testing.T) {
	st := newStage(t)
	st.mustCall(st.session())
	st.copyTo("work")
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	away := tokenstore.Credential{ServerURL: "https://mcp.example.com", Issuer: gone.URL, RevocationEndpoint: gone.URL + "/revoke",
		Client: tokenstore.Client{ID: "x"}, AccessToken: secret.New("a"), Expiry: st.clock.Now().Add(time.Hour)}
	if err := tokenstore.SaveCredential(t.Context(), st.store, away); err != nil {
		t.Fatal(err)
	}
	st.put(tokenstore.NewName("anything-else", "x"), "x")
	st.put(tokenstore.NewName(kindPin, "x"), "https://idp.example.com")

	got := map[string]told{}
	err := st.logout().All(t.Context(), func(r Receipt) {
		if diff := cmp.Diff([]string{kindPin}, st.left()); diff != "" {
			t.Errorf("left in the store when the first issuer has been told (-want +got):\n%s", diff)
		}
		words := inWords(r)
		words.Access, _, _ = strings.Cut(words.Access, `"`) // the rest is the system's
		got[r.Name.Kind()+" "+r.ServerURL+" "+r.Profile] = words
	})
	want := map[string]told{
		"credential " + st.URL() + " ":     {"ended", "ended", "ended", "absent"},
		"credential " + st.URL() + " work": {"ended", "ended", "ended", "absent"},
		"credential " + away.ServerURL + " ": {"ended", "absent",
			"unconfirmed (until known): revocation endpoint ", "absent"},
		"registration  ": {"ended", "absent", "absent", "ended"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, receipts (-want +got):\n%s", err, diff)
	}
}

// TestLogoutAgainstARefresh has another process in the middle of a refresh: it either finishes first, and its new tokens
// are the ones that end, or it finds nothing to renew.
func TestLogoutAgainstARefresh(t *testing.T) {
	st := newStage(t)
	st.mustCall(st.session())
	unlock, err := lockItem(t.Context(), st.store, "refresh", st.name(""))
	if err != nil {
		t.Fatal(err)
	}
	c, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan Receipt)
	go func() { done <- st.logOut(context.WithoutCancel(t.Context()), st.logout()) }()
	c.RefreshToken = secret.New("rotated meanwhile")
	if err := tokenstore.SaveCredential(t.Context(), st.store, c); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-done:
		t.Fatalf("the logout did not wait: %+v", inWords(r))
	default:
	}
	unlock()
	if r := <-done; !r.Wiped() {
		t.Errorf("receipt: %+v", inWords(r))
	}
	if kinds := st.left(); slices.Contains(kinds, "credential") {
		t.Errorf("left: %v", kinds)
	}
}

// TestLogoutWithoutTheLock: a stopped process that holds the lock does not keep the tokens in the store, and the receipt
// does not say that all is well.
func TestLogoutWithoutTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := tokenstore.NewMemory()
		c := tokenstore.Credential{ServerURL: "https://mcp.example.com", AccessToken: secret.New("a")}
		name, _ := tokenstore.CredentialName(c.ServerURL, "") // it is a URL
		if err := tokenstore.SaveCredential(t.Context(), store, c); err != nil {
			t.Fatal(err)
		}
		if _, err := lockItem(t.Context(), store, "refresh", name); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		r, err := Logout{Store: store}.One(t.Context(), c.ServerURL, "")
		if err != nil || r.Wiped() || !strings.Contains(r.Local.Cause.Error(), "may store another token") || time.Since(start) != lockWait {
			t.Errorf("after %v: %+v", time.Since(start), inWords(r))
		}
		if names, err := store.List(t.Context()); len(names) != 0 || err != nil {
			t.Errorf("left: %v, %v", names, err)
		}
	})
}

// TestLogoutStoreFails: what could not be deleted is said to be there, and is ended at the issuer all the same.
func TestLogoutStoreFails(t *testing.T) {
	st, flaky := newFlakyStage(t)
	st.mustCall(st.session())
	flaky.failDelete.Store(true)
	want := told{"unconfirmed: " + errStore.Error(), "ended", "ended", "absent"}
	r := st.logOut(t.Context(), st.logout())
	if diff := cmp.Diff(want, inWords(r)); diff != "" || r.Wiped() {
		t.Errorf("delete fails (-want +got):\n%s", diff)
	}
	flaky.failLoad.Store(true)
	r = st.logOut(t.Context(), st.logout())
	if r.Wiped() || !errors.Is(r.Local.Cause, errStore) {
		t.Errorf("load fails: %+v", inWords(r))
	}
}

// TestLogoutSlowIssuer: an issuer that never answers costs ten seconds, and no more for two tokens than for one.
func TestLogoutSlowIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := tokenstore.NewMemory()
		c := tokenstore.Credential{ServerURL: "https://mcp.example.com", Issuer: "https://idp.example.com",
			RevocationEndpoint: "https://idp.example.com/revoke", AccessToken: secret.New("a"), RefreshToken: secret.New("r")}
		if err := tokenstore.SaveCredential(t.Context(), store, c); err != nil {
			t.Fatal(err)
		}
		never := roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		start := time.Now()
		r, err := Logout{Store: store, HTTP: &http.Client{Transport: never}}.One(t.Context(), c.ServerURL, "")
		want := told{"ended", "unconfirmed: no answer within 10s", "unconfirmed: no answer within 10s", "absent"}
		if diff := cmp.Diff(want, inWords(r)); diff != "" || err != nil || time.Since(start) != tellLimit {
			t.Errorf("after %v (-want +got):\n%s", time.Since(start), diff)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestDeregisterStaysOutside: a registration of a public issuer cannot send its token inside.
func TestDeregisterStaysOutside(t *testing.T) {
	asked := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer inside.Close()
	public := &url.URL{Scheme: "https", Host: "idp.example.com"}
	f := newFetcher(nil, &reach{server: public, lookup: noLookup}, Logout{}.logger())
	defer f.close()
	err := f.deregister(t.Context(), tokenstore.Registration{ManagementURI: inside.URL, ManagementToken: secret.New("CANARY")})
	if !errors.Is(err, errPrivate) || asked {
		t.Errorf("asked: %v, error %v", asked, err)
	}
}

// TestLogoutBesideASignIn: a sign-in that a person is at goes on; one whose process is gone is not to be gone on with.
func TestLogoutBesideASignIn(t *testing.T) {
	st := newStage(t)
	s := st.session(func(c *Config) { c.Open = nil }) // nobody sees the address
	resp := st.send(s)
	if v, err := s.Challenged(t.Context(), resp, Attempt{}); v != Pending || err != nil {
		t.Fatalf("verdict %v, %v", v, err)
	}
	st.logOut(t.Context(), st.logout())
	if diff := cmp.Diff([]string{"registration", tokenstore.KindSignIn}, st.left()); diff != "" {
		t.Errorf("while a person is at it (-want +got):\n%s", diff)
	}
	s.Close()
	if diff := cmp.Diff([]string{"registration", tokenstore.KindSignIn}, st.left()); diff != "" {
		t.Fatalf("after its process ended (-want +got):\n%s", diff)
	}
	st.logOut(t.Context(), st.logout())
	if diff := cmp.Diff([]string{"registration"}, st.left()); diff != "" {
		t.Errorf("after the second logout (-want +got):\n%s", diff)
	}
}
