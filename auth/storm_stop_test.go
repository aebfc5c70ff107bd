//go:build unix

package auth

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"drawbridge/tokenstore"
)

// halt is a world in which a process is stopped (SIGSTOP) while it holds a lock that others need.
type halt struct {
	*stormProvider
	t       *testing.T
	config  workerConfig
	control *httptest.Server
	tabs    chan string   // URLs that are to be opened
	held    chan string   // token requests that wait
	free    chan struct{} // closed: token requests are looked at
}

// newHalt starts the world with a token that lives for an hour, of which so much has passed.
func newHalt(t *testing.T, passed time.Duration) *halt {
	t.Helper()
	dir := t.TempDir()
	h := &halt{
		stormProvider: newStormProvider(stormClock{Start: time.Now(), Speed: 1}, time.Hour), t: t,
		tabs: make(chan string, 10), held: make(chan string, 10), free: make(chan struct{}),
	}
	h.honest = true
	h.control = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.FormValue("what") == "tab" {
			h.tabs <- r.FormValue("text")
		}
	}))
	h.config = workerConfig{
		Server: h.resource(), Control: h.control.URL, Clock: h.clock, Callback: quietPort(t), Login: time.Minute,
		Store: storeConfig{Kind: "file", Dir: filepath.Join(dir, "store"), KeyFile: filepath.Join(dir, "key")},
	}
	if err := tokenstore.CreateKeyFile(h.config.Store.KeyFile); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.control.Close(); h.Close() })
	if passed > 0 {
		first := h.start(1)
		if err := visitPage(t.Context(), <-h.tabs); err != nil {
			t.Fatal(err)
		}
		h.wantServed(first.wait(), time.Minute)
		h.config.Clock.Ahead = passed
	}
	h.received = func(string) bool {
		h.held <- ""
		<-h.free
		return true
	}
	return h
}

// once is a process that calls the server twice.
type once struct {
	h   *halt
	cmd *exec.Cmd
	out *bufio.Reader
}

func (h *halt) start(id int) *once {
	h.t.Helper()
	config := h.config
	config.ID = id
	argument, err := json.Marshal(config)
	if err != nil {
		h.t.Fatal(err)
	}
	o := &once{h: h, cmd: as(h.t, "once", string(argument))}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	o.out = bufio.NewReader(out)
	if err := o.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = o.cmd.Process.Kill() }) // where the test has failed
	return o
}

func (o *once) signal(s syscall.Signal) {
	o.h.t.Helper()
	if err := o.cmd.Process.Signal(s); err != nil {
		o.h.t.Fatal(err)
	}
}

// calls is how a process fared: how long its two calls took.
type calls struct {
	First, Second time.Duration
	Err, Hint     string // of the call that failed
}

func (o *once) wait() (c calls) {
	o.h.t.Helper()
	if err := json.NewDecoder(o.out).Decode(&c); err != nil {
		o.h.t.Errorf("a process said nothing: %v", err)
	}
	if err := o.cmd.Wait(); err != nil {
		o.h.t.Errorf("a process ended with %v", err)
	}
	return c
}

// callOnce is the process: it calls and says how it fared.
func callOnce(argument string) error {
	w, err := newWorker(argument)
	if err != nil {
		return err
	}
	var c calls
	start := time.Now()
	_, err = w.call(context.Background())
	c.First = time.Since(start)
	if err == nil {
		start = time.Now()
		_, err = w.call(context.Background())
		c.Second = time.Since(start)
	}
	if err != nil {
		c.Err = err.Error()
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			c.Hint = h.Hint()
		}
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

func (h *halt) wantServed(c calls, first time.Duration) {
	h.t.Helper()
	if c.Err != "" || c.First > first || c.Second > lockWait/3 {
		h.t.Errorf("calls ended as %+v, want the first within %v and the second at once", c, first)
	}
}

// haltSlack is what a busy machine adds to a bound.
const haltSlack = 5 * time.Second

// stopLeader starts a process, stops it at the moment that stopped tells of, and starts others that need its lock.
func (h *halt) stopLeader(stopped <-chan string) (leader *once, followers []*once) {
	h.t.Helper()
	leader = h.start(2)
	<-stopped
	leader.signal(syscall.SIGSTOP)
	for id := range 3 {
		followers = append(followers, h.start(10+id))
	}
	return leader, followers
}

// proceed lets the leader go on. It has lost nothing.
func (h *halt) proceed(leader *once) {
	h.t.Helper()
	leader.signal(syscall.SIGCONT)
	close(h.free)
	h.wantServed(leader.wait(), time.Minute)
	h.wantCounts(stormCounts{Registrations: 1, SignIns: 1, Expiries: 1})
}

// TestStoppedProcess stops processes that others wait for. Nobody waits beyond the deadline, and nobody does without the
// lock what needs the lock.
//
//	alive     in a refresh; the others then use the token that still lives
//	expired   in a refresh; the others have no token that lives, and say what holds them up
//	signIn    in a sign-in, with its port; the others wait until the sign-in ends, which is later than any lock's deadline
func TestStoppedProcess(t *testing.T) {
	t.Parallel()
	alive, expired, signIn := newHalt(t, time.Hour-50*time.Second), newHalt(t, time.Hour+time.Minute), newHalt(t, 0)
	signIn.config.Login = 3 * time.Second
	aliveLeader, aliveOthers := alive.stopLeader(alive.held)
	expiredLeader, expiredOthers := expired.stopLeader(expired.held)
	signInLeader, signInOthers := signIn.stopLeader(signIn.tabs)

	for _, o := range aliveOthers {
		alive.wantServed(o.wait(), lockWait+haltSlack)
	}
	for _, o := range expiredOthers {
		if c := o.wait(); c.First > lockWait+haltSlack || !strings.Contains(c.Err, "another process") || c.Hint == "" {
			t.Errorf("without a token that lives a call ended as %+v, want an error with a hint within %v", c, lockWait+haltSlack)
		}
	}
	for _, o := range signInOthers {
		if c := o.wait(); c.First > signIn.config.Login+2*haltSlack || c.Err == "" {
			t.Errorf("a call that waited for a sign-in ended as %+v, want an error within %v", c, signIn.config.Login+2*haltSlack)
		}
	}
	alive.proceed(aliveLeader)
	alive.wantServed(alive.start(3).wait(), haltSlack) // has the new token
	expired.proceed(expiredLeader)
	signInLeader.signal(syscall.SIGKILL)
	_ = signInLeader.cmd.Wait() // it was killed
	signIn.wantCounts(stormCounts{Registrations: 1})
}

func (h *halt) wantCounts(want stormCounts) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.counts != want || len(h.accident) > 0 {
		h.t.Errorf("counts are %+v, want %+v; accidents: %q", h.counts, want, h.accident)
	}
}

// TestLockIgnoresEnvironment has processes whose variables differ, as MCP clients make them differ, ask for one lock of the
// keychain store: all mean the same one.
func TestLockIgnoresEnvironment(t *testing.T) {
	t.Parallel()
	elsewhere := t.TempDir()
	environments := map[string][]string{
		"none": nil,
		"other directories": {
			"HOME=" + elsewhere, "TMPDIR=" + elsewhere, "XDG_RUNTIME_DIR=" + elsewhere, "XDG_CACHE_HOME=" + elsewhere,
			"XDG_CONFIG_HOME=" + elsewhere, "XDG_DATA_HOME=" + elsewhere, "XDG_STATE_HOME=" + elsewhere,
		},
		"another user": {"USER=nobody", "LOGNAME=nobody", "UID=65534"},
		"as it is":     os.Environ(),
	}
	lock := "test " + strconv.Itoa(os.Getpid()) + " " + elsewhere
	for name, env := range environments {
		t.Run(name, func(t *testing.T) {
			said, release := lockIn(t, env, lock, 10*time.Second)
			if said != "held\n" {
				t.Fatalf("a process could not take the free lock: %s", said)
			}
			for other, env := range environments {
				if said, release := lockIn(t, env, lock, 100*time.Millisecond); said != "busy\n" {
					t.Errorf("with the environment %q a second process got: %s", other, said)
					release()
				}
			}
			release()
		})
	}
}

// lockIn runs a process that asks for the lock in an environment. It returns what it said, and what ends it.
func lockIn(t *testing.T, env []string, lock string, patience time.Duration) (said string, release func()) {
	t.Helper()
	argument := patience.String() + " " + lock
	cmd := as(t, "lock", argument)
	cmd.Env = append([]string{roleVariable + "=lock", roleArgument + "=" + argument}, env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		_ = stdin.Close() // this is what ends it
		_ = cmd.Wait()
	})
	t.Cleanup(release)
	said, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Errorf("a process said %q: %v", said, err)
	}
	return said, release
}

// holdKeychainLock is the process. It needs no keychain: locks are files.
func holdKeychainLock(argument string) error {
	limit, name, _ := strings.Cut(argument, " ")
	patience, err := time.ParseDuration(limit)
	if err != nil {
		return err
	}
	store, err := tokenstore.Open(tokenstore.Options{SessionBus: "unix:path=/nowhere"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := store.Lock(ctx, name); err != nil {
		fmt.Println("busy")
	} else {
		fmt.Println("held")
	}
	_, err = io.Copy(io.Discard, os.Stdin) // until it is released
	return err
}
