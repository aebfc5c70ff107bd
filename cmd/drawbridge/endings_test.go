package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
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

// TestPortIsFreeWhileDraining: at the end of input the port of a sign-in is free at once, though an answer is still waited
// for, so that the next process can go on with the sign-in.
func TestPortIsFreeWhileDraining(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	p.vars[varPerson] = "nobody"
	w := p.start()
	w.send(initialize, initialized)
	w.answer("0")
	eventually(t, "the session is open", func() bool { return p.world.Server.Counts().Requests["notifications/initialized"] > 0 })

	arrived, gate := make(chan struct{}, 1), make(chan struct{})
	p.world.Server.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			arrived <- struct{}{}
			<-gate
		}
		return false
	})
	w.send(callWhoami)
	take(t, "the call that is answered late", arrived)
	p.world.Server.SetIntercept(nil)
	p.world.IdP.RevokeUser("ada")
	p.clock.expire()
	w.send(`{"jsonrpc":"2.0","id":"sign in","method":"tools/call","params":{"name":"echo","arguments":{"text":"x"}}}`)
	eventually(t, "the tab", func() bool { return p.lines(".pages") == 2 })
	port := redirectURI(t, string(p.hear("standard error of drawbridge "+p.world.URL()).bytes())).Host

	w.hangUp()
	eventually(t, "the port is free", func() bool {
		l, err := net.Listen("tcp", port)
		if err == nil {
			_ = l.Close() // it was only a look
		}
		return err == nil
	})
	select {
	case <-w.ended:
		t.Error("the process did not wait for the answer that was due")
	default:
	}
	close(gate)
	w.answer(`"whoami"`)
	w.wantExit(0)
}
