package main_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"drawbridge/internal/demo"
)

// TestOneTab: several bridges that need the same sign-in open one tab between them, and each is answered when the person
// is done.
func TestOneTab(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	sessions := []*mcp.ClientSession{p.connect(nil), p.connect(nil), p.connect(nil)}
	p.world.IdP.RevokeUser("ada")
	p.clock.expire()
	p.useGate() // for the processes that are started from here on
	late := p.connect(nil)
	var all sync.WaitGroup
	for i, session := range append(sessions, late) {
		all.Go(func() {
			want := fmt.Sprintf("call of bridge %d", i)
			if got, failure := call(t, session, "echo", map[string]string{"text": want}); got != want {
				t.Errorf("%s was answered with %q, failure %q", want, got, failure)
			}
		})
	}
	eventually(t, "a tab", func() bool { return p.tabs() == 2 })
	p.openGate()
	all.Wait()
	p.wantTabs(2, "login and revocation")
	if got := p.world.IdP.Counts(); got.SignIns != 2 || got.Reuses != 0 {
		t.Errorf("identity provider: %+v; want 2 sign-ins, no reuse", got)
	}
}

// TestTakeover: the process that opened the tab is killed, as clients do. The next one goes on, and the person finishes
// in the tab that is open.
func TestTakeover(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.useGate()
	first := p.start()
	first.send(initialize, initialized, callWhoami)
	eventually(t, "a tab", func() bool { return p.tabs() == 1 })
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.ended

	second := p.start()
	second.send(initialize, initialized, listTools, callWhoami)
	second.answer(`"list"`)
	p.openGate()
	if m := second.answer(`"whoami"`); m.Error != nil {
		t.Errorf("the call is answered with %+v", m.Error)
	}
	second.hangUp()
	second.wantExit(0)
	p.wantTabs(1, "takeover")
	if got := p.world.IdP.Counts().SignIns; got != 1 {
		t.Errorf("%d sign-ins, want 1", got)
	}
}
