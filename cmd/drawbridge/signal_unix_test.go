//go:build unix

package main_test

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"drawbridge/internal/demo"
)

// hurry is how long the process may take to end on a signal, because clients kill it after that.
const hurry = 400 * time.Millisecond

// TestSignals: a signal ends the process at once, whatever it waits for, and the port of the sign-in is free again.
func TestSignals(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			p := newPlace(t, demo.Config{})
			p.vars[varPerson] = "nobody"
			w := p.start()
			w.send(initialize, initialized, callWhoami, listTools)
			_, description := listed(t, w.answer(`"list"`))
			port := redirectURI(t, description).Host
			eventually(t, "the tab", func() bool { return p.lines(".pages") == 1 }) // a program that starts may hold our port for a moment
			if conn, err := net.Dial("tcp", port); err != nil {
				t.Errorf("the port of the sign-in is not open: %v", err)
			} else {
				_ = conn.Close() // it was only a look
			}
			p.end(w, signal)
			l, err := net.Listen("tcp", port)
			if err != nil {
				t.Fatalf("the port of the sign-in is still taken: %v", err)
			}
			_ = l.Close() // it was only a look
		})
	}
}

// TestSignalInSession: the session is ended at the server, and no call is waited for.
func TestSignalInSession(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	w := p.start()
	w.send(initialize, initialized, `{"jsonrpc":"2.0","id":"slow","method":"tools/call","params":{"name":"slow","arguments":{"ms":5000}}}`)
	eventually(t, "the server runs the call", func() bool { return p.world.Server.Counts().Executions["slow"] == 1 })
	p.end(w, syscall.SIGTERM)
	if got := p.world.Server.Counts().Deleted; got != 1 {
		t.Errorf("%d sessions were deleted, want 1", got)
	}
}

// end sends the signal. The promise is logged; what fails is a process that waits for something.
func (p *place) end(w *wire, signal os.Signal) {
	p.t.Helper()
	if err := w.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	took := w.wantExit(0)
	p.t.Logf("gone %v after %v; promised are %v", took, signal, hurry)
	if took > 5*time.Second {
		p.t.Errorf("gone only %v after %v", took, signal)
	}
}
