//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// laptop is a person's machine: a home with a keychain, and a browser that the person uses when it opens.
type laptop struct {
	home    string // everything drawbridge may write to is below it
	browser string // the browser's own files, its visits among them
	bus     string // address of the session bus
}

// keyring unlocks the login keyring of a new session bus, waits until it answers, says where the bus is, and keeps both
// alive until standard input closes. An empty password would store items in the clear.
const keyring = `
printf 'test\n' | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null 2>&1
gdbus wait --session --timeout 20 org.freedesktop.secrets
gdbus call --session --timeout 20 --dest org.freedesktop.secrets --object-path /org/freedesktop/secrets \
	--method org.freedesktop.DBus.Peer.Ping >/dev/null
i=0 # the name is there before the keyring is
until gdbus call --session --timeout 20 --dest org.freedesktop.secrets --object-path /org/freedesktop/secrets \
	--method org.freedesktop.Secret.Service.ReadAlias default | grep -q /collection/; do
	i=$((i + 1))
	[ $i -lt 200 ] || { echo "the keyring has no default collection" >&2; exit 1; }
	sleep 0.05
done
echo "$DBUS_SESSION_BUS_ADDRESS"
exec cat >/dev/null`

// newLaptop sets up a machine of its own for the test.
func newLaptop(t *testing.T) *laptop {
	t.Helper()
	root, err := os.MkdirTemp("", "e2e-") // not t.TempDir, whose paths are too long for a Unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { discard(t, root) })
	l := &laptop{home: filepath.Join(root, "home"), browser: filepath.Join(root, "browser")}
	for _, dir := range []string{l.home, l.browser, l.dir("run"), l.dir("tmp"), l.dir("cache"), l.dir("data"), l.dir("config")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l.writeBrowser(t)
	session := exec.Command("dbus-run-session", "--", "sh", "-ec", keyring)
	session.Env = l.env()
	session.Stderr = &buffer{}
	l.bus = strings.TrimSpace(startHeld(t, session))
	return l
}

// discard removes the machine; after a failure it stays, for the browser's screenshots.
func discard(t *testing.T, root string) {
	if t.Failed() {
		t.Logf("kept for a look: %s", root)
		return
	}
	if err := os.RemoveAll(root); err != nil {
		t.Errorf("clean up: %v", err)
	}
}

func (l *laptop) dir(name string) string { return filepath.Join(l.home, name) }

// writeBrowser writes the command that BROWSER names. It notes each opening before anything else, so that a tab that
// fails counts too, and shares nothing with drawbridge's directories: a browser's history is the browser's.
func (l *laptop) writeBrowser(t *testing.T) {
	t.Helper()
	human, err := filepath.Abs("npm/human.mjs")
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`#!/bin/sh
cd %[1]q && echo opened >>openings
unset DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME
echo "chatter that must not reach a protocol stream"
HOME=%[1]q TMPDIR=%[1]q exec node %[2]q --dir %[1]q "$1" >>human.log 2>&1
`, l.browser, human)
	if err := os.WriteFile(l.browserCommand(), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
}

func (l *laptop) browserCommand() string { return filepath.Join(l.browser, "open") }

func (l *laptop) env() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + l.home, "BROWSER=" + l.browserCommand(), "TMPDIR=" + l.dir("tmp"),
		"XDG_RUNTIME_DIR=" + l.dir("run"), "XDG_CACHE_HOME=" + l.dir("cache"), "XDG_DATA_HOME=" + l.dir("data"),
		"XDG_CONFIG_HOME=" + l.dir("config"),
	}
	if l.bus != "" {
		env = append(env, "DBUS_SESSION_BUS_ADDRESS="+l.bus)
	}
	return env
}

// command prepares a drawbridge on this machine.
func (l *laptop) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env, cmd.Dir = l.env(), l.home
	return cmd
}

// do runs a drawbridge command that is to succeed, and returns its standard output.
func (l *laptop) do(t *testing.T, args ...string) string {
	t.Helper()
	cmd := l.command(within(t), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("drawbridge %s: %v\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// openings counts how often the browser was opened.
func (l *laptop) openings(t *testing.T) int {
	t.Helper()
	return strings.Count(l.read(t, "openings"), "\n")
}

// visit is what a browser saw; see npm/human.mjs.
type visit struct {
	Opened  string `json:"opened"`
	Landed  string `json:"landed"`
	Status  int    `json:"status"`
	Title   string `json:"title"`
	Text    string `json:"text"`
	CSP     string `json:"csp"`
	Scripts int    `json:"scripts"`
	Error   string `json:"error"`
}

// visits waits until n browsers are closed again and returns what they saw.
func (l *laptop) visits(t *testing.T, n int) []visit {
	t.Helper()
	eventually(t, fmt.Sprintf("%d browser visits", n), func() bool {
		return strings.Count(l.read(t, "visits.jsonl"), "\n") >= n
	})
	var visits []visit
	for line := range strings.Lines(l.read(t, "visits.jsonl")) {
		var v visit
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("visits.jsonl: %v", err)
		}
		visits = append(visits, v)
	}
	return visits
}

// read returns a file of the browser; one that is not there yet is empty.
func (l *laptop) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.browser, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// keychain returns every secret that drawbridge keeps in the keychain, as secret-tool prints them.
func (l *laptop) keychain(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(within(t), "secret-tool", "search", "--all", "service", "drawbridge")
	cmd.Env = l.env()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && stderr.Len() > 0 { // without a match it only exits 1
		t.Fatalf("secret-tool: %v: %s", err, &stderr)
	}
	return stdout.String()
}

// files returns the content of every file that drawbridge may have written, by path.
func (l *laptop) files(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, root := range []string{l.home, filepath.Join(os.TempDir(), fmt.Sprintf("drawbridge-%d", os.Getuid()))} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return ignoreGone(err)
			}
			content, err := os.ReadFile(path)
			files[path] = content
			return ignoreGone(err)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// buffer collects the output of a process that goes on while it is read.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
