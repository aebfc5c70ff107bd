package main_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"drawbridge/internal/demo"
)

// TestPassingFaults: a fault of the identity provider that may pass opens no browser and costs no sign-in.
func TestPassingFaults(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	session := p.connect(nil)
	wantEcho(t, session, "before")
	for name, faults := range map[string]demo.Faults{
		"503":                     {TokenStatus: http.StatusServiceUnavailable},
		"a web page":              {TokenHTML: true},
		"a web page with 403":     {TokenHTML: true, TokenStatus: http.StatusForbidden},
		"redirect":                {TokenRedirect: p.world.URL()},
		"temporarily_unavailable": {TokenError: "temporarily_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			p.clock.expire()
			p.world.IdP.SetFaults(faults)
			if got, failure := call(t, session, "whoami", nil); !strings.Contains(failure, "the sign-in is kept") {
				t.Errorf("call: %q, failure %q; want to read that the sign-in is kept", got, failure)
			}
			p.world.IdP.SetFaults(demo.Faults{})
			wantEcho(t, session, "after "+name)
		})
	}
	p.wantTabs(1, "faults that pass")
	if got := p.world.Server.Counts().Executions["whoami"]; got != 0 {
		t.Errorf("the server ran %d calls without a good token", got)
	}
}

// TestForgottenSession: the server restarts; the client does not notice.
func TestForgottenSession(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	session := p.connect(nil)
	wantEcho(t, session, "before")
	p.world.Server.DropSessions()
	wantEcho(t, session, "after")
	if got := p.world.Server.Counts(); got.Opened != 2 || got.Executions["echo"] != 2 {
		t.Errorf("%d sessions and %d calls, want 2 and 2", got.Opened, got.Executions["echo"])
	}
}

// strangers sends what pages and programs that know the port, but not the sign-in, could send to it.
func strangers(t *testing.T, description string) {
	t.Helper()
	back := redirectURI(t, description)
	for query, want := range map[string]int{
		"?code=stolen&state=guessed": http.StatusBadRequest, "?code=stolen": http.StatusBadRequest,
		"?error=access_denied": http.StatusBadRequest, "": http.StatusBadRequest, "/other?state=x": http.StatusNotFound,
	} {
		req, err := http.NewRequestWithContext(within(t), http.MethodGet, back.String()+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		_ = resp.Body.Close() // not of interest
		if resp.StatusCode != want {
			t.Errorf("a request with %q is answered with %d, want %d", query, resp.StatusCode, want)
		}
	}
}

var servedPattern = regexp.MustCompile(`(?m)^MCP server\s+(\S+)$`)

// TestServedDemo: a client works with the peers that `demo --serve` keeps running.
func TestServedDemo(t *testing.T) {
	p := newPlace(t, demo.Config{})
	cmd := p.command("demo", "--serve")
	said := p.hear("standard output of drawbridge demo --serve")
	cmd.Stdout = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it serves until then
		_ = cmd.Wait()
	})
	eventually(t, "the demo serves", func() bool { return strings.Contains(said.String(), "to stop.") })
	session := p.connect(nil, servedPattern.FindStringSubmatch(said.String())[1])
	if got, failure := call(t, session, "whoami", nil); !strings.Contains(got, "Ada Lovelace") {
		t.Errorf("whoami: %q, failure %q", got, failure)
	}
}
