//go:build e2e

package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ss "github.com/zalando/go-keyring/secret_service"

	"drawbridge/internal/secret"
)

// These tests run against a real gnome-keyring, each on a session bus of its own: the test binary runs itself inside
// dbus-run-session. They need the Debian packages dbus and gnome-keyring; without them they fail.

func init() {
	roles["round-trip"] = roundTrip
	roles["together"] = writeTogether
	roles["writer"] = writeOwnRecord
	roles["killed"] = killWriters
	roles["victim"] = writeForEver
	roles["refused"] = wantRefused
}

// busConfig activates no services, so that nothing runs but what a test starts.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`

const (
	startUnlocked = `echo test | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null && `
	startLocked   = `gnome-keyring-daemon --start --components=secrets >/dev/null && `
	startNothing  = ``

	untilReady = `until dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets ` +
		`org.freedesktop.DBus.Peer.Ping >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 200 ] || exit 9; sleep 0.05; done; `
)

// desktop is a private home for keyrings.
type desktop struct{ dir string }

func newDesktop(t *testing.T) desktop {
	t.Helper()
	dir, err := os.MkdirTemp("", "desktop") // short: sockets live in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "bus.conf"), []byte(busConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	return desktop{dir}
}

// run plays role in a session that begins with the shell commands in start.
func (d desktop) run(t *testing.T, start, role string, args ...string) {
	t.Helper()
	inner := as(t, role, args...)
	cmd := exec.CommandContext(t.Context(), "dbus-run-session", "--config-file="+filepath.Join(d.dir, "bus.conf"), "--",
		"sh", "-c", start+`exec "$0"`, inner.Path)
	cmd.Env = append(inner.Env, "XDG_RUNTIME_DIR="+d.dir, "XDG_DATA_HOME="+d.dir, "DISPLAY=", "WAYLAND_DISPLAY=")
	out, err := cmd.CombinedOutput()
	t.Logf("%s: %s", role, out)
	if err != nil {
		t.Fatalf("%s: %v", role, err)
	}
}

func TestKeyringRoundTrip(t *testing.T) {
	newDesktop(t).run(t, startUnlocked+untilReady, "round-trip")
}

func TestKeyringRoundTripInSmallItems(t *testing.T) {
	newDesktop(t).run(t, startUnlocked+untilReady, "round-trip", "narrow")
}

func TestKeyringServesManyProcesses(t *testing.T) {
	newDesktop(t).run(t, startUnlocked+untilReady, "together")
}

func TestKeyringSurvivesKilledWriters(t *testing.T) {
	newDesktop(t).run(t, startUnlocked+untilReady, "killed")
}

func TestKeyringRefusals(t *testing.T) {
	d := newDesktop(t)
	t.Run("no service", func(t *testing.T) { d.run(t, startNothing, "refused", "choose") })
	d.run(t, startUnlocked+untilReady, "round-trip") // creates the collection that is locked next
	t.Run("locked", func(t *testing.T) { d.run(t, startLocked+untilReady, "refused", "unlock") })
}

func openReal() (Store, error) {
	return Open(Options{SessionBus: os.Getenv(busVariable)})
}

// openNarrow opens the real keychain with small items, as on Windows, so that records have many.
func openNarrow() (Store, error) {
	s, err := openReal()
	if err == nil {
		s.(*keychain).itemSize = smallItem
	}
	return s, err
}

func roundTrip(args []string) error {
	open := openReal
	if len(args) > 0 {
		open = openNarrow
	}
	s, err := open()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := Probe(ctx, s); err != nil {
		return err
	}
	for _, size := range []int{100, 20_000, 200_000, 20_000, 100} { // each replaces the one before
		start := time.Now()
		text := strings.Repeat("\u00fc", size/2)
		if err := s.Save(ctx, record1, secret.New(text)); err != nil {
			return err
		}
		saved := time.Since(start)
		if err := wantText(s, record1, text); err != nil {
			return err
		}
		fmt.Printf("%d bytes: save %v, load %v\n", size, saved, time.Since(start)-saved)
	}
	if err := s.Save(ctx, record2, secret.New("x")); err != nil {
		return err
	}
	if err := wantList(s, record1, record2); err != nil {
		return err
	}
	for _, name := range []Name{record1, record2} {
		if err := s.Delete(ctx, name); err != nil {
			return err
		}
	}
	if err := wantList(s); err != nil {
		return err
	}
	return wantItems(1) // the empty list
}

var record1, record2 = NewName("credential", "1"), NewName("credential", "2")

func wantText(s Store, name Name, want string) error {
	got, err := s.Load(context.Background(), name)
	if err == nil && got.Reveal() != want {
		err = fmt.Errorf("loaded %d bytes that differ from the %d saved", len(got.Reveal()), len(want))
	}
	return err
}

func wantList(s Store, want ...Name) error {
	got, err := s.List(context.Background())
	slices.Sort(got)
	slices.Sort(want)
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("listed %v, want %v", got, want)
	}
	return err
}

// wantItems asks the Secret Service itself what it holds of ours.
func wantItems(n int) error {
	svc, err := ss.NewSecretService()
	if err != nil {
		return err
	}
	items, err := svc.SearchItems(svc.GetLoginCollection(), map[string]string{"service": service})
	if err == nil && len(items) != n {
		err = fmt.Errorf("the keyring holds %d items of ours, want %d", len(items), n)
	}
	return err
}

func writeTogether([]string) error {
	var writers []*exec.Cmd
	var names []Name
	for i := range processes {
		names = append(names, ownRecord(fmt.Sprint(i)))
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=writer %d", roleVariable, i))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		writers = append(writers, cmd)
	}
	var errs []error
	for _, cmd := range writers {
		errs = append(errs, cmd.Wait())
	}
	s, err := openNarrow()
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, name := range names {
		if err := wantText(s, name, strings.Repeat("x", 6000)); err != nil {
			return err
		}
	}
	return wantList(s, append(names, record1)...)
}

func ownRecord(i string) Name { return NewName("credential", "own", i) }

func writeOwnRecord(args []string) error {
	s, err := openNarrow()
	if err != nil {
		return err
	}
	for size := 1000; size <= 6000; size += 1000 {
		for _, name := range []Name{ownRecord(args[0]), record1} {
			if err := s.Save(context.Background(), name, secret.New(strings.Repeat("x", size))); err != nil {
				return err
			}
		}
	}
	return nil
}

// killWriters kills a process in the middle of writing, again and again. The record is always one of those it wrote.
func killWriters([]string) error {
	s, err := openNarrow()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := s.Save(ctx, record1, secret.New("first")); err != nil {
		return err
	}
	changed := false
	for range 25 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roleVariable+"=victim")
		if err := cmd.Start(); err != nil {
			return err
		}
		<-time.After(30*time.Millisecond + rand.N(60*time.Millisecond)) // at any instruction
		if err := cmd.Process.Kill(); err != nil {
			return err
		}
		_ = cmd.Wait() // it was killed
		got, err := s.Load(ctx, record1)
		if err != nil {
			return err
		}
		if text := got.Reveal(); text != "first" && strings.Trim(text, text[:1]) != "" {
			return errors.New("the record is a mixture")
		}
		changed = changed || got.Reveal() != "first"
	}
	if !changed {
		return errors.New("no victim lived long enough to write")
	}
	if err := s.Delete(ctx, record1); err != nil {
		return err
	}
	return wantItems(1) // the empty list
}

func writeForEver([]string) error {
	s, err := openNarrow()
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		text := strings.Repeat(string(rune('a'+i%26)), 100+(i%4)*4000)
		if err := s.Save(context.Background(), record1, secret.New(text)); err != nil {
			return err
		}
	}
}

// wantRefused expects a quick ErrUnavailable whose hint begins with the given word.
func wantRefused(args []string) error {
	s, err := openNarrow()
	if err != nil {
		return err
	}
	start := time.Now()
	err = Probe(context.Background(), s)
	took := time.Since(start)
	fmt.Printf("after %v: %v\n", took, err)
	if !errors.Is(err, ErrUnavailable) || !strings.HasPrefix(hintOf(err), args[0]) || took > callLimit {
		return fmt.Errorf("after %v: error %v, hint %q", took, err, hintOf(err))
	}
	return nil
}
