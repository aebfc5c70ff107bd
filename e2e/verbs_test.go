//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestVerbs signs in, asks where the sign-in is, and signs out, from a shell.
func TestVerbs(t *testing.T) {
	p := startIDP(t)
	s := startServer(t, p)
	l := newLaptop(t)

	l.do(t, "login", s.url)
	checkVisit(t, l.visits(t, 1)[0])
	check(t, "login", l, p, 1, counters{Codes: 1, Registrations: 1})

	b := l.bridge(t, s.url)
	if who := whoami(t, b.ClientSession); who.User != "ada" {
		t.Errorf("bridge after login: caller = %+v, want ada", who)
	}
	b.stop(t)

	status := l.do(t, "status", s.url, "--json")
	if !json.Valid([]byte(status)) || !strings.Contains(status, p.Issuer) {
		t.Errorf("status --json: want JSON that names the issuer %s, got %s", p.Issuer, status)
	}
	if holds([]byte(status), p.issued(t)) {
		t.Error("status --json prints a token")
	}

	l.do(t, "logout", s.url)
	if holds([]byte(l.keychain(t)), p.issued(t, "access_token", "refresh_token")) {
		t.Error("the keychain still holds a token after logout")
	}
	check(t, "logout", l, p, 1, counters{Codes: 1, Registrations: 1})
	noLeaks(t, p, l, b.log.String())
}
