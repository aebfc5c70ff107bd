//go:build e2e

package e2e

import (
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestSignIn is the life of a login: the first run opens one browser; the second signs in from the keychain; when the
// identity provider withdrew the refresh token, one browser sign-in answers the call that was waiting.
func TestSignIn(t *testing.T) {
	p := startIDP(t)
	s := startServer(t, p)
	l := newLaptop(t)

	first := l.bridge(t, s.url)
	if who := whoami(t, first.ClientSession); who.User != "ada" {
		t.Errorf("first run: caller = %+v, want ada", who)
	}
	checkVisit(t, l.visits(t, 1)[0])
	first.stop(t)
	check(t, "first run", l, p, 1, counters{Codes: 1, Registrations: 1})
	if !holds([]byte(l.keychain(t)), p.issued(t, "refresh_token")) {
		t.Error("first run: the keychain does not hold the refresh token")
	}

	second := l.bridge(t, s.url)
	before := whoami(t, second.ClientSession)
	check(t, "second run", l, p, 1, counters{Codes: 1, Registrations: 1})

	p.revoke(t)
	s.withdraw()
	after := whoami(t, second.ClientSession)
	if after.User != "ada" || after.Token == before.Token {
		t.Errorf("after revocation: caller = %+v, want ada with another token than %q", after, before.Token)
	}
	l.visits(t, 2)
	second.stop(t)
	check(t, "after revocation", l, p, 2, counters{Codes: 2, Registrations: 1})
	noLeaks(t, p, l, first.log.String(), second.log.String())
}

// check compares how often the person and the identity provider were bothered so far.
func check(t *testing.T, step string, l *laptop, p *idp, openings int, want counters) {
	t.Helper()
	if got := l.openings(t); got != openings {
		t.Errorf("%s: the browser was opened %d times, want %d", step, got, openings)
	}
	if diff := cmp.Diff(want, p.counters(t)); diff != "" {
		t.Errorf("%s: identity provider (-want +got):\n%s", step, diff)
	}
}

// checkVisit looks at the page on which a sign-in ends.
func checkVisit(t *testing.T, v visit) {
	t.Helper()
	landed, err := url.Parse(v.Landed)
	if err != nil || v.Error != "" {
		t.Fatalf("browser: %v %s", err, v.Error)
	}
	if landed.Hostname() != "127.0.0.1" || landed.Path != "/callback" || v.Status != 200 {
		t.Errorf("browser landed on %s with status %d, want 127.0.0.1/callback with 200", v.Landed, v.Status)
	}
	if v.Scripts != 0 || !strings.Contains(v.CSP, "default-src 'none'") {
		t.Errorf("last page: %d scripts, policy %q; want none, and default-src 'none'", v.Scripts, v.CSP)
	}
}

// TestRefresh lets tokens expire while the bridge runs: rotation is followed in silence, and the next run still signs in
// from the keychain, which it could not with a spent refresh token.
func TestRefresh(t *testing.T) {
	p := startIDP(t)
	p.lifetime(t, 2*time.Second)
	s := startServer(t, p)
	l := newLaptop(t)

	first := l.bridge(t, s.url)
	token := whoami(t, first.ClientSession).Token
	for range 2 {
		eventually(t, "a fresh token", func() bool {
			now := whoami(t, first.ClientSession).Token
			fresh := now != token
			token = now
			return fresh
		})
	}
	first.stop(t)
	second := l.bridge(t, s.url)
	whoami(t, second.ClientSession)
	second.stop(t)

	got := p.counters(t)
	if got.Refreshes < 2 || got.Codes != 1 || l.openings(t) != 1 {
		t.Errorf("identity provider: %+v, browser opened %d times; want 2 refreshes or more, 1 code, 1 opening", got, l.openings(t))
	}
	noLeaks(t, p, l, first.log.String(), second.log.String())
}

// TestDisabledAccount is the story drawbridge exists for: the account is deactivated, the configuration is still on the
// laptop, and nothing of it reaches the server.
func TestDisabledAccount(t *testing.T) {
	p := startIDP(t)
	s := startServer(t, p)
	l := newLaptop(t)

	b := l.bridge(t, s.url)
	whoami(t, b.ClientSession)
	l.visits(t, 1)
	p.disable(t, "ada")
	s.withdraw()
	result, err := b.CallTool(within(t), &mcp.CallToolParams{Name: "whoami"})
	if err == nil && !result.IsError {
		t.Fatalf("call of a disabled account: answered with %+v", result.StructuredContent)
	}
	if text := answerText(result, err); !strings.Contains(text, "refused to renew this sign-in") {
		t.Errorf("call of a disabled account: %q does not say that the identity provider refused to renew this sign-in", text)
	}
	if v := l.visits(t, 2)[1]; v.Status == 200 || !strings.Contains(v.Text, "this account is disabled") {
		t.Errorf("last page of a disabled account: status %d, %q", v.Status, v.Text)
	}
	b.stop(t)
	if holds([]byte(l.keychain(t)), p.issued(t, "access_token", "refresh_token")) {
		t.Error("the keychain still holds a token of a disabled account")
	}
	noLeaks(t, p, l, b.log.String())
}

func answerText(result *mcp.CallToolResult, err error) string {
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for _, content := range result.Content {
		if part, ok := content.(*mcp.TextContent); ok {
			text.WriteString(part.Text)
		}
	}
	return text.String()
}

// TestSharedLogin runs several bridges on one login, as an editor with several windows does, while tokens expire under
// them. The identity provider ends the login when a spent refresh token comes back, so each one may be spent only once.
func TestSharedLogin(t *testing.T) {
	p := startIDP(t)
	p.lifetime(t, 2*time.Second)
	s := startServer(t, p)
	l := newLaptop(t)
	l.do(t, "login", s.url)

	var bridges [3]*bridge
	for i := range bridges {
		bridges[i] = l.bridge(t, s.url)
	}
	eventually(t, "five refreshes", func() bool {
		var calls sync.WaitGroup
		for _, b := range bridges {
			calls.Go(func() {
				result, err := b.CallTool(within(t), &mcp.CallToolParams{Name: "whoami"})
				if err != nil || result.IsError {
					t.Errorf("call on a shared login: %s", answerText(result, err))
				}
			})
		}
		calls.Wait()
		return t.Failed() || p.counters(t).Refreshes >= 5
	})
	for _, b := range bridges {
		b.stop(t)
	}
	check(t, "three bridges", l, p, 1, counters{Codes: 1, Registrations: 1, Refreshes: p.counters(t).Refreshes})
	noLeaks(t, p, l, bridges[0].log.String(), bridges[1].log.String(), bridges[2].log.String())
}
