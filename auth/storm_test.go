//go:build unix

package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/tokenstore"
)

const (
	stormWorkers  = 32
	stormSpeed    = 1200                   // a second is 20 minutes
	stormLifetime = 200 * time.Millisecond // of an access token; for the workers, 4 minutes
	stormPatience = 30 * time.Second       // without any progress
)

// TestStorm has 32 processes share one sign-in whose tokens expire all the time, and kills them, with SIGKILL, at moments
// that are chosen to hurt. What the authorization server granted to a process that died before saving it is lost, and
// costs one sign-in: that is inside the window which nothing can close. Every other kill is outside and costs nothing.
//
// The full form, which .ci/run --long runs:
//
//	go test ./auth -run '^TestStorm$' -storm.expiries=1000 -timeout 30m -v
func TestStorm(t *testing.T) {
	t.Parallel()
	s := newStorm(t)
	s.begin()
	s.rage()
	s.calm()
	s.judge()
}

// storm is the world of TestStorm. What it counts and plans is guarded by the provider's mutex.
type storm struct {
	*stormProvider
	t       *testing.T
	config  workerConfig // of every worker, but for the ID
	store   tokenstore.Store
	control *httptest.Server
	ctx     context.Context // ends with the storm
	started time.Time

	crew   map[string]*stormWorker
	crewed int // workers started so far
	plan   stormPlan
	people stormPeople
	kills  stormKills
	over   bool // no more kills
	said   map[string]int
	humans sync.WaitGroup

	progress time.Time
	diary    []string // of sign-ins and kills, for whoever has to find out why
}

// stormKills counts kills by what died with the worker.
type stormKills struct {
	Inside         int // a rotated refresh token
	InsideSignIn   int // the tokens of a code
	Outside        int
	ArrivedSignIns int // of those outside: a code that had arrived and was not redeemed
}

func (k stormKills) inside() int { return k.Inside + k.InsideSignIn }

// stormWorker is a worker process.
type stormWorker struct {
	id     string
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{}
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	clock := stormClock{Start: time.Now(), Speed: stormSpeed}
	dir := t.TempDir()
	lifetime := stormLifetime
	if *stormStore == "keychain" {
		lifetime *= 5 // each access takes milliseconds, and one process has it at a time
	}
	s := &storm{
		stormProvider: newStormProvider(clock, lifetime), t: t, crew: map[string]*stormWorker{}, said: map[string]int{},
		people: stormPeople{tabs: map[string]bool{}, visited: map[string]bool{}},
		ctx:    t.Context(), started: time.Now(), plan: newStormPlan(*stormSeed, *stormExpiries),
	}
	s.received, s.committed = s.onRequest, s.onGrant
	s.control = httptest.NewServer(http.HandlerFunc(s.hear))
	s.config = workerConfig{
		Server: s.resource(), Control: s.control.URL, Clock: clock, Callback: quietPort(t), Login: 24 * time.Hour,
		Store: storeConfig{Kind: *stormStore, Dir: filepath.Join(dir, "store"), KeyFile: filepath.Join(dir, "key")},
	}
	if err := tokenstore.CreateKeyFile(s.config.Store.KeyFile); err != nil {
		t.Fatal(err)
	}
	store, err := s.config.Store.open()
	if err != nil {
		t.Fatal(err)
	}
	s.store = store
	t.Cleanup(func() {
		s.stop()
		s.humans.Wait()
		s.control.Close()
		s.Close()
	})
	return s
}

// quietPort returns a free port that no outgoing connection takes by chance, as it may an ephemeral one.
func quietPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(10000)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free port")
	return 0
}

// begin starts all workers on an empty store and waits until each has been served: one sign-in for all.
func (s *storm) begin() {
	go s.lookAround()
	s.mu.Lock()
	for range stormWorkers {
		s.spawn()
	}
	s.mu.Unlock()
	s.until("every worker has been served", func() bool { return s.allServed(1) })
}

// rage kills until there were enough expiries, kills inside and kills outside.
func (s *storm) rage() {
	s.mu.Lock()
	s.plan.raging = true
	s.mu.Unlock()
	go s.strike()
	last := -1
	s.until("enough expiries and kills", func() bool {
		if n := s.counts.Expiries + s.kills.Outside; n != last {
			last, s.progress = n, time.Now()
		}
		return s.counts.Expiries >= s.plan.expiries && s.kills.inside() >= s.plan.inside && s.kills.Outside >= s.plan.outside
	})
}

// calm ends the kills and waits until all workers that are left work again.
func (s *storm) calm() {
	s.mu.Lock()
	s.plan.raging, s.over = false, true
	clear(s.served)
	s.mu.Unlock()
	s.until("every worker has been served after the storm", func() bool { return s.allServed(3) })
}

// allServed is called with the mutex held.
func (s *storm) allServed(times int) bool {
	for id := range s.crew {
		if s.served[id] < times {
			return false
		}
	}
	return true
}

// until asks again and again, with the mutex held, and gives up when there is no progress.
func (s *storm) until(what string, ok func() bool) {
	s.t.Helper()
	s.progress = time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		s.mu.Lock()
		done, stuck := ok(), time.Since(s.progress) > stormPatience
		broken := len(s.accident)
		s.mu.Unlock()
		switch {
		case done:
			return
		case stuck || broken > 20 || s.t.Context().Err() != nil:
			s.report()
			s.t.Fatalf("not within %v: %s", stormPatience, what)
		}
	}
}

// judge compares what happened with what may happen.
func (s *storm) judge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report()
	defer func() {
		if s.t.Failed() {
			s.t.Log("diary:\n" + strings.Join(s.diary, "\n"))
		}
	}()
	if s.counts.Registrations != 1 {
		s.t.Errorf("%d registrations, want 1", s.counts.Registrations)
	}
	if want := 1 + s.kills.inside(); s.counts.SignIns != want {
		s.t.Errorf("%d sign-ins, want %d: one, and one for each kill inside the window", s.counts.SignIns, want)
	}
	if s.counts.Reuses != s.kills.Inside {
		s.t.Errorf("reuse was detected %d times, want %d: once for each refresh that died", s.counts.Reuses, s.kills.Inside)
	}
	if got := len(s.people.tabs) + s.people.byHand; got != s.counts.SignIns {
		s.t.Errorf("%d tabs and %d pages opened by hand for %d sign-ins", len(s.people.tabs), s.people.byHand, s.counts.SignIns)
	}
	// A kill at any moment may by chance meet an opener too.
	if s.people.byHand > s.people.lostTabs+1+s.counts.SignIns/10 {
		s.t.Errorf("the human had to open %d pages by hand, and only %d kills may have cost a tab", s.people.byHand, s.people.lostTabs)
	}
}

// report is called with the mutex held, or when nobody else is left.
func (s *storm) report() {
	s.t.Logf("seed %d, %v: %d expiries, %d kills inside (%d of them in a sign-in), %d outside (%d with a code in hand), "+
		"%d sign-ins, %d tabs (%d pages opened by hand; %d kills may have cost a tab), %d reuses, %d registrations, %d workers",
		*stormSeed, time.Since(s.started).Round(time.Second), s.counts.Expiries, s.kills.inside(), s.kills.InsideSignIn,
		s.kills.Outside, s.kills.ArrivedSignIns, s.counts.SignIns, len(s.people.tabs), s.people.byHand, s.people.lostTabs,
		s.counts.Reuses, s.counts.Registrations, s.crewed)
	for what, n := range s.said {
		s.t.Logf("%d times: %s", n, what)
	}
	for _, what := range s.accident {
		s.t.Error(what)
	}
}

// note writes the diary. The mutex is held.
func (s *storm) note(format string, args ...any) {
	now := time.Since(s.started).Seconds()
	s.diary = append(s.diary, fmt.Sprintf("%8.3f ", now)+fmt.Sprintf(format, args...))
}

// spawn starts a worker. The mutex is held.
func (s *storm) spawn() {
	s.crewed++
	config := s.config
	config.ID = s.crewed
	argument, err := json.Marshal(config)
	if err != nil {
		s.accident = append(s.accident, err.Error())
		return
	}
	w := &stormWorker{id: strconv.Itoa(s.crewed), cmd: as(s.t, "worker", string(argument)), exited: make(chan struct{})}
	w.stdin, err = w.cmd.StdinPipe()
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		s.accident = append(s.accident, err.Error())
		return
	}
	s.crew[w.id] = w
	go func() {
		err := w.cmd.Wait()
		close(w.exited)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.crew[w.id] == w && !s.over {
			s.accident = append(s.accident, fmt.Sprintf("worker %s ended by itself: %v", w.id, err))
		}
	}()
}

// kill ends a worker with SIGKILL, says whether it was inside the window, and starts another.
func (s *storm) kill(id, moment string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.crew[id]
	if w == nil || s.over {
		return
	}
	delete(s.crew, id)
	s.gone[id] = true
	if err := w.cmd.Process.Kill(); err != nil {
		s.accident = append(s.accident, "kill: "+err.Error())
	}
	<-w.exited
	before := s.kills
	s.autopsy(id)
	s.note("worker %s killed %s: inside %v", id, moment, s.kills.inside() > before.inside())
	s.spawn()
}

// autopsy says what died with a worker. Whatever it was, the store can be read.
func (s *storm) autopsy(id string) {
	stored, err := s.readable()
	if err != nil {
		s.accident = append(s.accident, "after a kill the store is unreadable: "+err.Error())
	}
	owed, some := s.owed[id]
	delete(s.owed, id)
	switch {
	case some && stored.RefreshToken.Reveal() != owed.token && owed.code:
		owed.family.lost = true
		s.kills.InsideSignIn++
	case some && stored.RefreshToken.Reveal() != owed.token:
		owed.family.lost = true
		s.kills.Inside++
	default:
		s.kills.Outside++
		s.kills.ArrivedSignIns += s.arrived(id)
	}
}

// arrived counts the codes that had arrived at the worker.
func (s *storm) arrived(id string) (n int) {
	for _, c := range s.codes {
		if s.people.leader == id && c.arrived && c.family == nil && !c.ended {
			c.ended = true
			n++
		}
	}
	return n
}

// readable reads everything in the store.
func (s *storm) readable() (stored tokenstore.Credential, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), stormPatience)
	defer cancel()
	names, err := s.store.List(ctx)
	for _, name := range names {
		if _, loadErr := s.store.Load(ctx, name); !errors.Is(loadErr, tokenstore.ErrNotFound) {
			err = errors.Join(err, loadErr)
		}
	}
	name, nameErr := tokenstore.CredentialName(s.config.Server, "")
	stored, loadErr := tokenstore.LoadCredential(ctx, s.store, name)
	if errors.Is(loadErr, tokenstore.ErrNotFound) {
		loadErr = nil
	}
	return stored, errors.Join(err, nameErr, loadErr)
}

// stop ends all workers.
func (s *storm) stop() {
	s.mu.Lock()
	s.over = true
	crew := s.crew
	s.crew = map[string]*stormWorker{}
	s.mu.Unlock()
	for _, w := range crew {
		_ = w.stdin.Close() // this is what ends it
		_ = w.cmd.Process.Kill()
		<-w.exited
	}
}

// hear is what a worker tells. It goes on when it gets the answer.
func (s *storm) hear(w http.ResponseWriter, r *http.Request) {
	id, what, text := r.Header.Get(workerHeader), r.FormValue("what"), r.FormValue("text")
	switch what {
	case "tab":
		s.onTab(id, text)
	case "notice":
		s.onNotice(text)
	case "late", "failed":
		s.mu.Lock()
		if !s.gone[id] && !s.over {
			s.accident = append(s.accident, fmt.Sprintf("worker %s %s: %s", id, what, text))
		}
		s.mu.Unlock()
	case "unfinished":
		s.mu.Lock()
		s.said[text]++
		s.note("worker %s: %s", id, text)
		s.mu.Unlock()
	default:
		s.onMoment(id, what, text)
	}
	if strings.HasPrefix(what, "saved") {
		s.settled(id)
	}
}
