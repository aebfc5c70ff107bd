package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
)

// refusedText is what a person reads whose sign-in was ended by the identity provider.
const refusedText = "your identity provider refused to renew this sign-in"

// TestTwoRuns: the first run signs in with one tab, the second without any.
func TestTwoRuns(t *testing.T) {
	p := newPlace(t, demo.Config{})
	t.Run("first", func(t *testing.T) {
		p := p.in(t)
		wantEcho(t, p.connect(nil), "first run")
		p.wantTabs(1, "first run")
	})
	t.Run("second", func(t *testing.T) {
		p := p.in(t)
		session := p.connect(nil)
		if name := session.InitializeResult().ServerInfo.Name; name != "drawbridge-demo" {
			t.Errorf("the stored sign-in was good, but initialize was answered by %q", name)
		}
		wantEcho(t, session, "second run")
		p.wantTabs(1, "second run")
	})
	want := demo.Counts{SignIns: 1, AuthorizationRequests: 1, Registrations: 1, TokenRequests: map[string]int{"authorization_code": 1}}
	if diff := cmp.Diff(want, p.world.IdP.Counts()); diff != "" {
		t.Errorf("identity provider (-want +got):\n%s", diff)
	}
}

// TestRefresh: an expired token is renewed in silence; the call does not notice.
func TestRefresh(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	session := p.connect(nil)
	for i := range 3 {
		p.clock.expire()
		wantEcho(t, session, fmt.Sprintf("after %d hours", i+1))
	}
	p.wantTabs(1, "three refreshes")
	if got := p.world.IdP.Counts(); got.SignIns != 1 || got.Refreshes < 3 || got.Reuses != 0 {
		t.Errorf("identity provider: %+v; want 1 sign-in, 3 refreshes or more, no reuse", got)
	}
}

// TestRevoked: after the identity provider ended the sign-in, calls bring about one tab, and are answered once the person
// has signed in there.
func TestRevoked(t *testing.T) {
	for _, calls := range []int{1, 8} {
		t.Run(fmt.Sprintf("%d calls", calls), func(t *testing.T) {
			p := newPlace(t, demo.Config{})
			p.do("login", p.world.URL())
			session := p.connect(nil)
			wantEcho(t, session, "before")
			p.world.IdP.RevokeUser("ada")
			p.clock.expire()
			var all sync.WaitGroup
			for i := range calls {
				all.Go(func() {
					want := fmt.Sprintf("call %d", i)
					if got, failure := call(t, session, "echo", map[string]string{"text": want}); got != want {
						t.Errorf("%s was answered with %q, failure %q", want, got, failure)
					}
				})
			}
			all.Wait()
			p.wantTabs(2, "login and revocation")
			if got := p.world.IdP.Counts(); got.SignIns != 2 || got.Reuses != 0 || got.Registrations != 1 {
				t.Errorf("identity provider: %+v; want 2 sign-ins, 1 registration, no reuse", got)
			}
			if got := p.world.Server.Counts().Executions["echo"]; got != calls+1 {
				t.Errorf("the server ran %d calls, want %d", got, calls+1)
			}
		})
	}
}

// TestDeactivated is the story of an engineer who left: the configuration is still there and reaches nothing.
func TestDeactivated(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	w := p.start()
	w.send(initialize, initialized, callWhoami)
	if m := w.answer(`"whoami"`); m.Error != nil {
		t.Fatalf("before: %+v", m.Error)
	}
	if n := p.signIns(); n != 1 {
		t.Errorf("the store holds %d sign-ins, want 1", n)
	}
	p.world.IdP.Deactivate("ada")
	p.clock.expire()
	w.send(callWhoami)
	m := w.answer(`"whoami"`)
	if m.Error == nil || !strings.Contains(m.Error.Message, refusedText) || m.Error.Data.Hint == "" {
		t.Errorf("the call is answered with %s %+v, want %q and a hint", m.Result, m.Error, refusedText)
	}
	var status struct {
		SignedIn bool `json:"signed_in"`
	}
	out, err := p.try("status", p.world.URL(), "--json")
	if json.Unmarshal([]byte(out), &status) != nil || status.SignedIn || err == nil {
		t.Errorf("status: %v\n%s", err, out)
	}
	if n := p.signIns(); n != 0 {
		t.Errorf("the store still holds %d sign-ins", n)
	}
	w.send(ping)
	w.answer(`"ping"`)
	w.hangUp()
	w.wantExit(0)
	if got := p.world.Server.Counts().Executions["whoami"]; got != 1 {
		t.Errorf("the server ran %d calls, want 1", got)
	}
}

// TestSharedSignIn: several bridges of one person need one tab and spend no refresh token twice.
func TestSharedSignIn(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	first, second, third := p.connect(nil), p.connect(nil), p.connect(nil)
	for i := range 3 {
		p.clock.expire()
		var all sync.WaitGroup
		for _, session := range []func(string){
			func(text string) { wantEcho(t, first, text) }, func(text string) { wantEcho(t, second, text) }, func(text string) { wantEcho(t, third, text) },
		} {
			all.Go(func() { session(fmt.Sprintf("round %d", i)) })
		}
		all.Wait()
	}
	p.wantTabs(1, "three bridges")
	if got := p.world.IdP.Counts(); got.SignIns != 1 || got.Reuses != 0 {
		t.Errorf("identity provider: %+v; want 1 sign-in, no reuse", got)
	}
}

// TestMemoryStore: a bridge without a store signs in for itself and leaves nothing behind.
func TestMemoryStore(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.vars["DRAWBRIDGE_TOKEN_STORE"] = "memory"
	t.Run("run", func(t *testing.T) {
		p := p.in(t)
		wantEcho(t, p.connect(nil), "in memory")
	})
	p.wantTabs(1, "memory store")
	if left, err := os.ReadDir(p.vars["XDG_CONFIG_HOME"]); err != nil || len(left) != 0 {
		t.Errorf("the memory store left %v (%v)", left, err)
	}
}
