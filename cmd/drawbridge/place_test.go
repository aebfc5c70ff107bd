package main_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/demo/sdk"
)

// place is a person's machine and the world it talks to. At the end of the test nothing that the identity provider
// handed out may be found on the machine or in anything that a program said.
type place struct {
	t     testing.TB
	home  string
	vars  map[string]string
	world *demo.World
	clock *clock

	*heard
}

// heard is the output of programs, by what they are.
type heard struct {
	mu   sync.Mutex
	said map[string]*buffer // guarded by mu
}

// clock is the clock of the world, which can be ahead of the machine's.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// expire makes every access token that was issued so far expire: the server says so, whatever the machine's clock says.
func (c *clock) expire() { c.ahead.Add(int64(time.Hour)) }

func newPlace(t testing.TB, cfg demo.Config) *place {
	t.Helper()
	p := &place{t: t, home: filepath.Join(t.TempDir(), "my home"), clock: &clock{}, heard: &heard{said: map[string]*buffer{}}}
	p.vars = environment(p.home, "ada")
	if err := prepare(p.vars); err != nil {
		t.Fatal(err)
	}
	cfg.Now = p.clock.now
	cfg.Server.Engine = sdk.New
	world, err := demo.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.world = world
	t.Cleanup(p.leave)
	return p
}

// in is the place for a subtest.
func (p *place) in(t *testing.T) *place {
	return &place{t: t, home: p.home, vars: p.vars, world: p.world, clock: p.clock, heard: p.heard}
}

// leave runs after everything that the test started has ended.
func (p *place) leave() {
	p.closeGate()
	eventually(p.t, "every tab is done with", func() bool { return p.lines(".pages") == p.tabs() })
	if err := p.world.Close(); err != nil {
		p.t.Errorf("close the world: %v", err)
	}
	texts, err := filesBelow(p.home)
	if err != nil {
		p.t.Error(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for what, said := range p.said {
		texts[what] = said.bytes()
		if p.t.Failed() {
			p.t.Logf("%s:\n%s", what, said)
		}
	}
	for _, name := range leaks(p.world.IdP.Issued(), texts) {
		p.t.Errorf("a secret is in %s", name)
	}
}

// environment is what a client's configuration gives the program: a home whose path holds a space, an encrypted file as
// the token store, because not every machine has a keychain, and a browser. No session bus is reachable.
func environment(home, who string) map[string]string {
	return map[string]string{
		"PATH": os.Getenv("PATH"), "SYSTEMROOT": os.Getenv("SYSTEMROOT"),
		"HOME": home, "USERPROFILE": home, "TMPDIR": filepath.Join(home, "tmp"), "TMP": filepath.Join(home, "tmp"), "TEMP": filepath.Join(home, "tmp"),
		"XDG_CONFIG_HOME": filepath.Join(home, "config"), "APPDATA": filepath.Join(home, "config"),
		"XDG_CACHE_HOME": filepath.Join(home, "cache"), "LOCALAPPDATA": filepath.Join(home, "cache"),
		"XDG_DATA_HOME": filepath.Join(home, "data"), "XDG_RUNTIME_DIR": filepath.Join(home, "run"),
		"DBUS_SESSION_BUS_ADDRESS":        "unix:path=/nonexistent/bus",
		"DRAWBRIDGE_TOKEN_STORE":          "file",
		"DRAWBRIDGE_TOKEN_STORE_KEY_FILE": filepath.Join(home, "key"),
		"BROWSER":                         "person",
		varTabs:                           filepath.Join(home, "tabs"),
		varPerson:                         who,
		varRecords:                        filepath.Join(home, "records"),
		varBinary:                         binary,
	}
}

// prepare makes the directories and the key of an environment.
func prepare(vars map[string]string) (err error) {
	for _, name := range []string{"TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", varRecords} {
		err = errors.Join(err, os.MkdirAll(vars[name], 0o700))
	}
	key := bytes.Repeat([]byte{7}, 32) // any will do, as nobody attacks
	return errors.Join(err, os.WriteFile(vars["DRAWBRIDGE_TOKEN_STORE_KEY_FILE"], key, 0o600))
}

// command prepares the program. Its standard error, and what the caller adds, is looked through at the end.
func (p *place) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	for name, value := range p.vars {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Dir, cmd.Stderr = p.home, p.hear("standard error of drawbridge "+strings.Join(args, " "))
	return cmd
}

// hear returns a buffer for output of a program.
func (h *heard) hear(what string) *buffer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.said[what] == nil {
		h.said[what] = &buffer{}
	}
	return h.said[what]
}

// do runs a command that is to succeed, and returns its standard output.
func (p *place) do(args ...string) string {
	p.t.Helper()
	out, err := p.try(args...)
	if err != nil {
		p.t.Fatalf("drawbridge %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (p *place) try(args ...string) (string, error) {
	cmd := p.command(args...)
	out := p.hear("standard output of drawbridge " + strings.Join(args, " "))
	before := len(out.bytes())
	cmd.Stdout = out
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err := cmd.Run()
	return string(out.bytes()[before:]), err
}

// tabs counts the tabs that were opened.
func (p *place) tabs() int { return p.lines("") }

func (p *place) lines(suffix string) int {
	text, err := os.ReadFile(p.vars[varTabs] + suffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

// wantTabs fails the test unless so many tabs were opened so far.
func (p *place) wantTabs(want int, when string) {
	p.t.Helper()
	if got := p.tabs(); got != want {
		p.t.Errorf("%s: %d browser tabs were opened, want %d", when, got, want)
	}
}

// useGate makes the person wait for openGate from now on.
func (p *place) useGate() { p.vars[varGate] = filepath.Join(p.home, "gate") }

func (p *place) openGate() { p.writeGate("open") }

func (p *place) closeGate() {
	if _, err := os.Stat(p.vars[varGate]); p.vars[varGate] != "" && err != nil {
		p.writeGate(closed)
	}
}

// writeGate makes the gate appear with its text in it.
func (p *place) writeGate(text string) {
	temp := p.vars[varGate] + ".new"
	if err := errors.Join(os.WriteFile(temp, []byte(text), 0o600), os.Rename(temp, p.vars[varGate])); err != nil {
		p.t.Error(err)
	}
}

// filesBelow returns the content of every file below dir, by path.
func filesBelow(dir string) (files map[string][]byte, err error) {
	files = map[string][]byte{}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	return files, err
}

// signIns returns how many sign-ins the token store holds. Registrations, and how a sign-in ended, may stay.
func (p *place) signIns() (n int) {
	p.t.Helper()
	files, err := filesBelow(p.vars["XDG_CONFIG_HOME"])
	if err != nil {
		p.t.Error(err)
	}
	for path := range files {
		if strings.HasPrefix(filepath.Base(path), "credential.") {
			n++
		}
	}
	return n
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

func (b *buffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.text.Bytes())
}

// String returns what was written so far.
func (b *buffer) String() string { return string(b.bytes()) }
