//go:build unix

package main_test

import (
	"net"
	"os/exec"
	"testing"

	"drawbridge/internal/demo"
)

// TestDeadParent: the process that started the bridge is killed while a sign-in is under way, and somebody else still holds the
// bridge's standard input open. The port is free for another process; the bridge goes on.
func TestDeadParent(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.vars[varPerson] = "nobody"
	cmd := p.command(p.world.URL())
	parent := exec.Command("/bin/sh", "-c", `exec 3<&0; "$0" "$@" <&3 & wait`, binary, p.world.URL())
	parent.Env, parent.Dir, parent.Stderr = cmd.Env, cmd.Dir, cmd.Stderr
	w := p.startAs(parent, p.world.URL())
	t.Cleanup(func() { _ = w.stdin.Close() }) // it is closed, but in tests that failed
	w.send(initialize, initialized, callWhoami, listTools)
	_, description := listed(t, w.answer(`"list"`))
	port := redirectURI(t, description).Host
	eventually(t, "the tab", func() bool { return p.lines(".pages") == 1 })
	if l, err := net.Listen("tcp", port); err == nil {
		_ = l.Close() // it was only a look
		t.Error("the port of the sign-in is not open")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the port is free", func() bool {
		l, err := net.Listen("tcp", port)
		if err == nil {
			_ = l.Close() // it was only a look
		}
		return err == nil
	})
	w.send(ping)
	w.answer(`"ping"`)
	w.hangUp()
	w.wantExit(-1) // that of the parent, which was killed
}
