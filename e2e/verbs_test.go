//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

	logOut(t, l, s.url)
	if holds([]byte(l.keychain(t)), p.issued(t, "access_token", "refresh_token")) {
		t.Error("the keychain still holds a token after logout")
	}
	check(t, "logout", l, p, 1, counters{Codes: 1, Registrations: 1})
	noLeaks(t, p, l, b.log.String())
}

// TestKernelStore keeps a sign-in in the kernel keyring from one process to the next, and nowhere else.
func TestKernelStore(t *testing.T) {
	p := startIDP(t)
	s := startServer(t, p)
	l := newLaptop(t)
	l.do(t, "login", "--token-store", "kernel", s.url)
	defer logOut(t, l, s.url, "--token-store", "kernel")
	if status := l.do(t, "status", "--token-store", "kernel", s.url); !strings.Contains(status, "kernel keyring of user") {
		t.Errorf("status does not say where the tokens are: %s", status)
	}
	b := l.bridge(t, s.url, "--token-store", "kernel")
	if who := whoami(t, b.ClientSession); who.User != "ada" {
		t.Errorf("bridge after login: caller = %+v, want ada", who)
	}
	b.stop(t)
	if holds([]byte(l.keychain(t)), p.issued(t)) {
		t.Error("the keychain holds a token")
	}
	noLeaks(t, p, l, b.log.String())
}

// logOut ends the sign-in. This identity provider revokes a refresh token and deletes a registration, and says of an access
// token that is a JWT that it cannot be revoked: hence exit code 3, and a receipt that says so.
func logOut(t *testing.T, l *laptop, url string, flags ...string) {
	t.Helper()
	cmd := l.command(within(t), append(flags, "logout", "--json", url)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("logout: %v, want exit code 3", err)
	}
	type outcome struct{ State, Reason string }
	var got struct {
		Local, Registration outcome
		RefreshToken        outcome `json:"refresh_token"`
		AccessToken         outcome `json:"access_token"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("logout --json: %v in %s", err, out)
	}
	if !strings.Contains(got.AccessToken.Reason, "unsupported_token_type") {
		t.Errorf("logout: the access token is %+v", got.AccessToken)
	}
	want := []outcome{{State: "ended"}, {State: "ended"}, {State: "ended"}}
	if diff := cmp.Diff(want, []outcome{got.Local, got.RefreshToken, got.Registration}); diff != "" {
		t.Errorf("logout: store, refresh token, registration (-want +got):\n%s", diff)
	}
	if again := l.do(t, append(flags, "logout", url)...); !strings.HasPrefix(again, "not signed in") {
		t.Errorf("second logout: %q", again)
	}
}
