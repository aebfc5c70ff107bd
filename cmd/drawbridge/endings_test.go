package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/demo"
)

// TestEndOfInput: what was asked is still answered, the server is told that the session is over, and the exit code is 0.
func TestEndOfInput(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	w := p.start()
	w.send(initialize, initialized, `{"jsonrpc":"2.0","id":"slow","method":"tools/call","params":{"name":"slow","arguments":{"ms":500}}}`)
	w.hangUp()
	w.answer("0")
	if m := w.answer(`"slow"`); m.Error != nil {
		t.Errorf("the call is answered with %+v", m.Error)
	}
	w.wantExit(0)
	if got := p.world.Server.Counts(); got.Opened != 1 || got.Deleted != 1 {
		t.Errorf("%d sessions were opened and %d deleted, want 1 and 1", got.Opened, got.Deleted)
	}
}

// TestClosedOutput: nobody reads any more, so the process ends although its input stays open.
func TestClosedOutput(t *testing.T) {
	p := newPlace(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	w := p.start()
	w.send(initialize, initialized)
	w.answer("0")
	eventually(t, "the session is open", func() bool { return p.world.Server.Counts().Requests["notifications/initialized"] > 0 })
	if err := w.stdout.Close(); err != nil {
		t.Fatal(err)
	}
	w.send(ping)
	w.wantExit(1)
	if got := p.world.Server.Counts().Deleted; got != 1 {
		t.Errorf("%d sessions were deleted, want 1", got)
	}
}

// TestKilledWhileRefreshing kills the process at many moments of a refresh. Whatever that moment was, the store can be
// read, and the next run gets on with it or asks the person.
func TestKilledWhileRefreshing(t *testing.T) {
	p := newPlace(t, demo.Config{})
	redeeming := make(chan struct{}, 100)
	p.world.IdP.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/token") {
			redeeming <- struct{}{}
		}
		return false
	})
	for i := range 20 {
		if _, err := p.try("status", p.world.URL()); err != nil {
			p.do("login", p.world.URL()) // the kill before lost the answer to a refresh
		}
		for len(redeeming) > 0 {
			<-redeeming
		}
		p.clock.expire()
		w := p.start()
		w.send(initialize, initialized, callWhoami)
		take(t, "a request for tokens", redeeming)
		moment := time.NewTimer(time.Duration(i) * 500 * time.Microsecond)
		<-moment.C
		if err := w.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-w.ended
		p.wantReadableStore(fmt.Sprintf("kill %d", i))
	}
	p.world.IdP.SetIntercept(nil)
	p.do("login", p.world.URL())
	wantEcho(t, p.connect(nil), "after all")
}

// wantReadableStore fails the test if the store holds something that cannot be read.
func (p *place) wantReadableStore(when string) {
	p.t.Helper()
	out, err := p.try("status", "--json")
	var rows []struct {
		Problem string `json:"problem"`
	}
	if jsonErr := json.Unmarshal([]byte(out), &rows); err != nil || jsonErr != nil {
		p.t.Errorf("%s: status: %v, %v", when, err, jsonErr)
	}
	for _, row := range rows {
		if row.Problem != "" {
			p.t.Errorf("%s: the store has a problem: %s", when, row.Problem)
		}
	}
	_, err = p.try("status", p.world.URL())
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 4) {
		p.t.Errorf("%s: status of the server: %v", when, err)
	}
}
