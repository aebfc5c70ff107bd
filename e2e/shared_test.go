//go:build e2e

package e2e

import (
	"flag"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// kept is how long four bridges are kept busy on one login: 3 minutes in the long form of .ci/run.
var kept = flag.Duration("kept", 25*time.Second, "how long TestLoginKeptAlive keeps four bridges busy")

// TestTenAtOnce starts ten bridges on an empty keychain at once: one tab, ten that work.
func TestTenAtOnce(t *testing.T) {
	p := startIDP(t)
	s := startServer(t, p)
	l := newLaptop(t)
	logs := make([]string, 10)
	var all sync.WaitGroup
	for i := range logs {
		all.Go(func() {
			b := l.bridge(t, s.url)
			whoami(t, b.ClientSession)
			b.stop(t)
			logs[i] = b.log.String()
		})
	}
	all.Wait()
	l.visits(t, 1)
	check(t, "ten bridges", l, p, 1, counters{Codes: 1, Registrations: 1, Refreshes: p.counters(t).Refreshes})
	noLeaks(t, p, l, logs...)
}

// TestLoginKeptAlive keeps four processes busy on one login with tokens of 10 s and rotation, without another sign-in.
// Then the account is disabled: each process is told so, and the keychain holds nothing that could be used.
func TestLoginKeptAlive(t *testing.T) {
	p := startIDP(t)
	p.lifetime(t, 10*time.Second)
	s := startServer(t, p)
	l := newLaptop(t)
	l.do(t, "login", s.url)
	var bridges [4]*bridge
	for i := range bridges {
		bridges[i] = l.bridge(t, s.url)
	}
	end, pause := time.After(*kept), time.NewTicker(time.Second)
	defer pause.Stop()
	for busy := true; busy; {
		each(bridges[:], func(b *bridge) {
			if result, err := b.CallTool(within(t), &mcp.CallToolParams{Name: "whoami"}); err != nil || result.IsError {
				t.Errorf("call on a shared login: %s", answerText(result, err))
			}
		})
		select {
		case <-pause.C:
		case <-end:
			busy = false
		}
	}
	got := p.counters(t)
	if least := int(*kept / (15 * time.Second)); got.Refreshes < least || got.Codes != 1 {
		t.Errorf("identity provider: %+v; want %d refreshes or more, 1 code", got, least)
	}
	t.Logf("%v, %d bridges: %+v", *kept, len(bridges), got)
	lockedOut(t, p, s, l, bridges[:])
}

// lockedOut disables the account and checks that every bridge says so and nothing usable is left.
func lockedOut(t *testing.T, p *idp, s *server, l *laptop, bridges []*bridge) {
	t.Helper()
	p.disable(t, "ada")
	s.withdraw()
	each(bridges, func(b *bridge) {
		result, err := b.CallTool(within(t), &mcp.CallToolParams{Name: "whoami"})
		if text := answerText(result, err); err == nil && !result.IsError || !strings.Contains(text, "refused to renew this sign-in") {
			t.Errorf("call of a disabled account: %q does not say that the identity provider refused", text)
		}
	})
	for _, b := range bridges {
		b.stop(t)
	}
	if holds([]byte(l.keychain(t)), p.issued(t, "access_token", "refresh_token")) {
		t.Error("the keychain still holds a token of a disabled account")
	}
}

// each runs f for all bridges at once.
func each(bridges []*bridge, f func(*bridge)) {
	var all sync.WaitGroup
	for _, b := range bridges {
		all.Go(func() { f(b) })
	}
	all.Wait()
}
