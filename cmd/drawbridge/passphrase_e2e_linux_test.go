//go:build e2e

package main_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drawbridge/internal/demo"
)

// terminal is one that a test sits at.
type terminal struct {
	near   *os.File // what the test types and reads
	far    *os.File // standard input and error of a program
	screen *buffer
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	far, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	tty := &terminal{near, far, &buffer{}}
	go func() { _, _ = io.Copy(tty.screen, near) }() // ends with the terminal
	t.Cleanup(func() { _, _ = far.Close(), near.Close() })
	return tty
}

// at runs a program at the terminal and answers its questions.
func (p *place) at(tty *terminal, answers [][2]string, args ...string) {
	p.t.Helper()
	cmd := p.command(args...)
	cmd.Stdin, cmd.Stderr = tty.far, tty.far
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	seen := 0
	for _, a := range answers {
		eventually(p.t, "the question "+a[0], func() bool { return strings.Contains(string(tty.screen.bytes())[seen:], a[0]) })
		seen = len(tty.screen.bytes())
		if _, err := io.WriteString(tty.near, a[1]+"\n"); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		p.t.Fatalf("drawbridge %s: %v\n%s", strings.Join(args, " "), err, tty.screen)
	}
}

// TestPassphraseAtATerminal: login asks for a passphrase where the file store has no other key, shows nothing of it, and a
// bridge works while the kernel keeps the key; afterwards it says what to do, and status at a terminal unlocks it again.
func TestPassphraseAtATerminal(t *testing.T) {
	const phrase = "CANARY correct horse"
	p := newPlace(t, demo.Config{})
	delete(p.vars, "DRAWBRIDGE_TOKEN_STORE_KEY_FILE")
	dir := filepath.Join(p.home, "config", "drawbridge", "tokens")
	t.Cleanup(func() { forgetUnlocked(t, dir) })
	tty := openTerminal(t)
	p.at(tty, [][2]string{{"new passphrase: ", phrase}, {"the same again: ", phrase}}, "login", p.world.URL())
	wantEcho(t, p.connect(nil), "unlocked")

	forgetUnlocked(t, dir) // the time is over
	w := p.start()
	w.send(initialize, initialized, callWhoami)
	if m := w.answer(`"whoami"`); m.Error == nil || !strings.Contains(m.Error.Data.Hint, "run drawbridge status at a terminal") {
		t.Errorf("a bridge at a locked store answers %s, %+v", m.Result, m.Error)
	}
	w.hangUp()
	w.wantExit(0)

	p.at(tty, [][2]string{{"passphrase of the token store", "wrong"}, {"passphrase of the token store", phrase}}, "status")
	wantEcho(t, p.connect(nil), "unlocked again")
	p.wantTabs(1, "all of it")
	if strings.Contains(string(tty.screen.bytes()), "CANARY") {
		t.Errorf("the terminal shows the passphrase:\n%s", tty.screen)
	}
}

// forgetUnlocked removes the key of the store in dir from the kernel keyring.
func forgetUnlocked(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "passphrase"))
	f := strings.Fields(string(text))
	if err != nil || len(f) != 4 {
		t.Fatalf("passphrase file: %v, %q", err, text)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: its keyring ends with the thread
		_, err := unix.KeyctlInt(unix.KEYCTL_LINK, unix.KEY_SPEC_USER_KEYRING, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
		if err != nil {
			t.Errorf("kernel keyring: %v", err)
			return
		}
		serial, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", "drawbridge-unlocked:"+f[3], 0)
		if err == nil {
			_, err = unix.KeyctlInt(unix.KEYCTL_UNLINK, serial, unix.KEY_SPEC_USER_KEYRING, 0, 0)
		}
		if err != nil && err != unix.ENOKEY {
			t.Errorf("forget the key: %v", err)
		}
	}()
	<-done
}
