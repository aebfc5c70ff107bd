//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// idp is a running oidc-provider (npm/idp.mjs).
type idp struct {
	Issuer string `json:"issuer"`
	Admin  string `json:"admin"`
}

// counters is how often the identity provider did what.
type counters struct {
	Codes         int `json:"codes"`
	Refreshes     int `json:"refreshes"`
	Registrations int `json:"registrations"`
}

// startIDP starts an identity provider that knows one person, ada. It ends with the test.
func startIDP(t *testing.T) *idp {
	t.Helper()
	cmd := exec.Command("node", "npm/idp.mjs")
	log := &buffer{}
	cmd.Stderr = log
	line := startHeld(t, cmd)
	var p idp
	if err := json.Unmarshal([]byte(line), &p); err != nil {
		t.Fatalf("start oidc-provider: first line %q: %v\n%s", line, err, log)
	}
	return &p
}

// startHeld starts a command that lives until its standard input closes, which happens at the end of the test, and
// returns its first line.
func startHeld(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		_ = stdin.Close() // tells it to end
		_ = cmd.Wait()    // how it ends is not what is tested
		late.Stop()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("start %s: no first line: %v\n%s", cmd.Path, err, cmd.Stderr)
	}
	late.Stop()
	return line
}

func (p *idp) ask(t *testing.T, method, path string, answer any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.Admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("identity provider: %s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("identity provider: %s %s: %s", method, path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		t.Fatalf("identity provider: %s %s: %v", method, path, err)
	}
}

// issued returns what was handed out so far: every token, code and client secret, or only those of the kinds named, which
// are the members of a token or registration answer.
func (p *idp) issued(t *testing.T, kinds ...string) (secrets []string) {
	t.Helper()
	var all map[string]string
	p.ask(t, http.MethodGet, "/issued", &all)
	for secret, kind := range all {
		if len(kinds) == 0 || slices.Contains(kinds, kind) {
			secrets = append(secrets, secret)
		}
	}
	return secrets
}

func (p *idp) counters(t *testing.T) (c counters) {
	t.Helper()
	p.ask(t, http.MethodGet, "/counters", &c)
	return c
}

// revoke withdraws every grant, and so every refresh token.
func (p *idp) revoke(t *testing.T) {
	t.Helper()
	p.ask(t, http.MethodPost, "/revoke", new(any))
}

// disable deactivates an account, as IT does on the last day.
func (p *idp) disable(t *testing.T, user string) {
	t.Helper()
	p.ask(t, http.MethodPost, "/disable?user="+url.QueryEscape(user), new(any))
}

// groups says where a person belongs, in access tokens issued from now on.
func (p *idp) groups(t *testing.T, user string, groups ...string) {
	t.Helper()
	p.ask(t, http.MethodPost, "/groups?user="+url.QueryEscape(user)+"&groups="+url.QueryEscape(strings.Join(groups, ",")), new(any))
}

// lifetime sets the lifetime of access tokens issued from now on.
func (p *idp) lifetime(t *testing.T, d time.Duration) {
	t.Helper()
	p.ask(t, http.MethodPost, "/lifetime?seconds="+strconv.Itoa(int(d.Seconds())), new(any))
}
