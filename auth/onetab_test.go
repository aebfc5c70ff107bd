package auth

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// desk is one process among several at the same store: a session, and a browser whose tabs wait for the test.
type desk struct {
	*Session
	st   *stage
	tabs chan string // URLs opened
	said *diary
}

func (st *stage) desk(edit ...func(*Config)) *desk {
	d := &desk{st: st, tabs: make(chan string, 10), said: &diary{}}
	all := append([]func(*Config){func(c *Config) {
		c.LoginTimeout = 5 * time.Minute
		c.Open = func(url string) error { st.tabs.Add(1); d.tabs <- url; return nil }
		c.Notice = func(line string) { _, _ = d.said.Write([]byte(line + "\n")) }
	}}, edit...)
	d.Session = st.session(all...)
	return d
}

// ask lets a request of the desk run into its 401 and returns the sign-in that it waits for.
func (d *desk) ask() SignIn {
	d.st.t.Helper()
	go func() { _, _ = d.st.call(d.Session) }() // how it ends shows in what the test asks for later
	return d.pending()
}

func (d *desk) pending() SignIn {
	d.st.t.Helper()
	var s SignIn
	d.st.until("a sign-in is pending", func() (ok bool) { s, ok = d.Session.Pending(); return ok })
	return s
}

// until polls, because processes learn from each other by polling too.
func (st *stage) until(what string, cond func() bool) {
	st.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			st.t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// finish plays the human in the tab at url.
func (st *stage) finish(url string) {
	st.t.Helper()
	if text, err := st.human.SignIn(st.t.Context(), url, "ada", demo.Ada().Password); err != nil {
		st.t.Fatalf("sign in: %v, page %q", err, text)
	}
}

// TestOneTabForAll: ten processes that need a sign-in at once share one, in one tab.
func TestOneTabForAll(t *testing.T) {
	st := newStage(t)
	var desks []*desk
	for range 10 {
		desks = append(desks, st.desk())
	}
	urls := make([]string, len(desks))
	var wg sync.WaitGroup
	for i, d := range desks {
		wg.Go(func() { urls[i] = d.ask().URL })
	}
	wg.Wait()
	for i, url := range urls {
		if url != urls[0] {
			t.Errorf("process %d shows another sign-in", i)
		}
	}
	st.until("a tab is open", func() bool { return st.tabs.Load() > 0 })
	for _, d := range desks {
		st.until("every process shows the address", func() bool { return strings.Contains(d.said.String(), urls[0]) })
	}
	st.finish(urls[0])
	for _, d := range desks {
		st.mustCall(d.Session)
	}
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// TestSignInIsInherited: the process that began the sign-in goes; another one opens the same port, and the human
// finishes in the tab that is open.
func TestSignInIsInherited(t *testing.T) {
	st := newStage(t)
	leader := st.desk()
	url := leader.ask().URL
	tab := <-leader.tabs
	follower := st.desk()
	if got := follower.ask().URL; got != url || tab != url {
		t.Fatal("the processes show different sign-ins")
	}
	leader.Close()
	st.until("the port is open again", func() bool { return strings.Contains(st.said.String(), "going on with it") })
	st.finish(tab)
	<-follower.doneOrGone()
	st.mustCall(follower.Session)
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

func (d *desk) doneOrGone() <-chan struct{} {
	if s, ok := d.Session.Pending(); ok {
		return s.Done
	}
	done := make(chan struct{})
	close(done)
	return done
}

// TestSignInIsResumed: no process is left; the next one that starts goes on with the same sign-in and opens no tab.
// A human who asks for a sign-in gets a tab all the same: the old one may be closed.
func TestSignInIsResumed(t *testing.T) {
	st := newStage(t)
	first := st.desk()
	url := first.ask().URL
	<-first.tabs
	first.Close()

	second := st.desk()
	if got := second.ask().URL; got != url {
		t.Error("the next process shows another sign-in")
	}
	st.until("it says that a tab is open", func() bool { return strings.Contains(second.said.String(), "open already") })
	second.Close()

	login := st.desk()
	ended := make(chan error, 1)
	go func() { _, err := login.SignIn(t.Context()); ended <- err }()
	st.finish(<-login.tabs)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	st.wantTally(tally{Tabs: 2, SignIns: 1, Registrations: 1})
}

// TestFailureIsShared: when the human says no, all who waited are told, and none asks again by itself.
func TestFailureIsShared(t *testing.T) {
	st := newStage(t)
	st.human.Deny = true
	leader, follower := st.desk(), st.desk()
	a := leader.ask()
	<-leader.tabs
	b := follower.ask()
	_, _ = st.human.SignIn(t.Context(), a.URL, "ada", demo.Ada().Password) // refused, as the test wants
	<-a.Done
	<-b.Done
	for _, s := range []SignIn{a, b} {
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "access_denied") {
			t.Errorf("a waiting process got %v, want access_denied", err)
		}
	}
	st.wantTally(tally{Tabs: 1, Registrations: 1})
	if rec := st.pendingRecord(); !rec.State.IsZero() || !rec.Verifier.IsZero() {
		t.Error("the record of an ended sign-in still holds secrets")
	}
}

func (st *stage) pendingRecord() tokenstore.PendingSignIn {
	st.t.Helper()
	name, err := tokenstore.SignInName(st.URL(), "")
	if err != nil {
		st.t.Fatal(err)
	}
	rec, err := tokenstore.LoadPendingSignIn(st.t.Context(), st.store, name)
	if err != nil {
		st.t.Fatal(err)
	}
	return rec
}

// TestTabBrake: after three tabs within ten minutes the address is shown and no other tab is opened, whichever process
// asks; later tabs open again.
func TestTabBrake(t *testing.T) {
	st := newStage(t)
	st.human.Deny = true
	for i := range 4 {
		d := st.desk()
		s := d.ask()
		if i < 3 {
			<-d.tabs
		} else {
			st.until("the brake is named", func() bool { return strings.Contains(d.said.String(), "no tab is opened") })
		}
		_, _ = st.human.SignIn(t.Context(), s.URL, "ada", demo.Ada().Password) // refused, as the test wants
		<-s.Done
	}
	st.wantTally(tally{Tabs: 3, Registrations: 1})
	st.clock.advance(tabMemory + time.Minute)
	d := st.desk()
	d.ask()
	<-d.tabs
}

// TestOneTabAtATime: sign-ins to two servers of one identity provider show their tabs one after the other.
func TestOneTabAtATime(t *testing.T) {
	st := newStage(t)
	other, err := demo.StartServer(t.Context(), demo.ServerConfig{Issuer: st.Issuer(), Now: st.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	st.IdP.AddResource(other.URL())

	here := st.desk()
	here.ask()
	first := <-here.tabs
	there := st.desk(func(c *Config) { c.ServerURL = other.URL() })
	ended := make(chan error, 1)
	go func() { _, err := there.SignIn(t.Context()); ended <- err }()
	waiting := there.pending()
	st.until("it says why no tab appears", func() bool { return strings.Contains(there.said.String(), "open already") })
	if len(there.tabs) != 0 {
		t.Error("two tabs of one identity provider are open")
	}
	st.finish(first)
	if second := <-there.tabs; second != waiting.URL {
		t.Error("the second tab is for another sign-in")
	}
	st.finish(waiting.URL)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if st.tabs.Load() != 2 {
		t.Errorf("%d tabs, want 2", st.tabs.Load())
	}
}

// TestSpentCodeIsNotAwaited: a process that died while it redeemed the code leaves a sign-in that no other can finish.
func TestSpentCodeIsNotAwaited(t *testing.T) {
	st := newStage(t)
	leader := st.desk()
	leader.ask()
	<-leader.tabs
	follower := st.desk()
	s := follower.ask()
	rec := st.pendingRecord()
	rec.Taken = true
	if err := tokenstore.SavePendingSignIn(t.Context(), st.store, rec); err != nil {
		t.Fatal(err)
	}
	leader.Close()
	<-s.Done
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "before it was complete") {
		t.Errorf("the follower got %v", err)
	}
	again := follower.ask()
	if again.URL == s.URL {
		t.Error("the next sign-in is the one whose code is spent")
	}
}

// TestDeadlineEndsFollowers: the deadline is the sign-in's, not the process's.
func TestDeadlineEndsFollowers(t *testing.T) {
	st := newStage(t)
	leader := st.desk(func(c *Config) { c.LoginTimeout = 300 * time.Millisecond })
	leader.ask()
	follower := st.desk()
	s := follower.ask()
	<-s.Done
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "nobody signed in") {
		t.Errorf("the follower got %v", err)
	}
}

// TestRecordThatCannotBeKept: without the record the sign-in works in this process.
func TestRecordThatCannotBeKept(t *testing.T) {
	st := newStage(t)
	var refusing atomic.Bool
	refusing.Store(true)
	st.store = refusingSignIns{st.store, &refusing}
	d := st.desk()
	d.ask()
	st.finish(<-d.tabs)
	st.mustCall(d.Session)
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// TestEndingProcessOpensNoTab: a process that waits for another's tab and ends meanwhile opens none, though it can no
// longer read how that sign-in ended.
func TestEndingProcessOpensNoTab(t *testing.T) {
	st := newStage(t)
	d := st.desk()
	d.ask()
	<-d.tabs
	p := d.view().pending
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if d.claimTab(ended, p, true) {
		t.Error("a tab is opened at the end of the process")
	}
}

// TestOtherSettingsDoNotJoin: a sign-in as another client is not this one.
func TestOtherSettingsDoNotJoin(t *testing.T) {
	st := newStage(t)
	leader := st.desk()
	rec := st.recordWhile(leader)
	for name, edit := range map[string]func(*Config){
		"client": func(c *Config) { c.Client.ID = "another" },
		"issuer": func(c *Config) { c.Issuer = "https://another.example" },
	} {
		if st.desk(edit).fits(rec) {
			t.Errorf("a process with another %s takes the sign-in for its own", name)
		}
	}
	if !leader.fits(rec) {
		t.Error("a sign-in does not fit its own process")
	}
}

func (st *stage) recordWhile(d *desk) tokenstore.PendingSignIn {
	d.ask()
	return st.pendingRecord()
}

// TestLongOverSignInIsEmptied: what a process left behind that was killed in a sign-in loses its secrets when the record is
// next looked at, and the count of its tabs stays.
func TestLongOverSignInIsEmptied(t *testing.T) {
	st := newStage(t)
	d := st.desk()
	d.ask()
	<-d.tabs
	st.until("the tab is counted", func() bool { return len(st.pendingRecord().Opened) == 1 })
	left := st.pendingRecord()
	left.Code, left.Device.Code = secret.New("CANARY-code"), secret.New("CANARY-device")
	d.Close()
	if err := tokenstore.SavePendingSignIn(t.Context(), st.store, left); err != nil {
		t.Fatal(err)
	}
	for after, empty := range map[time.Duration]bool{longOver - time.Second: false, longOver + time.Second: true} {
		next := st.session(func(c *Config) { c.Now = func() time.Time { return left.Deadline.Add(after) } })
		if err := tokenstore.SavePendingSignIn(t.Context(), st.store, left); err != nil {
			t.Fatal(err)
		}
		seen, ok := next.record(t.Context())
		stored := st.pendingRecord()
		for where, rec := range map[string]tokenstore.PendingSignIn{"seen": seen, "stored": stored} {
			gone := rec.State.IsZero() && rec.Verifier.IsZero() && rec.Code.IsZero() && rec.Device.Code.IsZero()
			if !ok || gone != empty || len(rec.Opened) != 1 || (rec.Outcome == tokenstore.OutcomePending) == empty {
				t.Errorf("%v after the deadline, %s: without secrets %v, outcome %q, %d tabs", after, where, gone, rec.Outcome, len(rec.Opened))
			}
		}
	}
}
