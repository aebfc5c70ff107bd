package auth

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/tokenstore"
)

// atToken holds up the first request to the token endpoint: it says that it arrived, and waits to be let through.
func (st *stage) atToken() (arrived <-chan struct{}, pass func()) {
	came, gate := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	st.IdP.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" && first.CompareAndSwap(false, true) {
			close(came)
			<-gate
		}
		return false
	})
	return came, func() { close(gate) }
}

// settle waits as the end of a process does, with more patience.
func settle(t *testing.T, s *Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if !s.Settle(ctx) {
		t.Fatal("something is still under way")
	}
}

// TestEndLetsExchangeEnd: a process that is told to end while it redeems a code still gets and stores the tokens.
func TestEndLetsExchangeEnd(t *testing.T) {
	st := newStage(t)
	arrived, pass := st.atToken()
	d := st.desk()
	url := d.ask().URL
	go func() { _, _ = st.human.SignIn(t.Context(), url, "ada", demo.Ada().Password) }() // the page may be lost
	<-arrived
	d.EndSignIn()
	pass()
	settle(t, d.Session)
	if _, err := st.stored(); err != nil {
		t.Errorf("the sign-in of a human who was done is lost: %v", err)
	}
	if rec := st.pendingRecord(); rec.Outcome != tokenstore.OutcomeDone || !rec.Code.IsZero() {
		t.Errorf("the record ended as %q, with a code: %v", rec.Outcome, !rec.Code.IsZero())
	}
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// TestEndLetsPollEnd: the same for the poll that brings the tokens of a device code. The port is free meanwhile.
func TestEndLetsPollEnd(t *testing.T) {
	arrived, gate := make(chan struct{}), make(chan struct{})
	w := newDeviceWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-gate
		deviceToken(rw, r)
	})
	store := tokenstore.NewMemory()
	s := w.session(t, store, &diary{})
	p, err := s.askUnprompted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-arrived
	s.EndSignIn()
	waitFree(t, strings.Split(strings.TrimPrefix(p.redirectURI, "http://"), "/")[0])
	close(gate)
	settle(t, s)
	if c, err := s.Credential(t.Context()); err != nil || c.AccessToken.Reveal() != "device-token" || p.err != nil {
		t.Errorf("the sign-in of a human who was done is lost: %v, %v", err, p.err)
	}
}

// waitFree waits until nobody listens at address.
func waitFree(t *testing.T, address string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(10 * time.Second); dials(address); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s is still taken", address)
		}
	}
}

// TestRefusalAtTheEndIsRecorded: what the identity provider said to a process that is ending is not asked again by another.
func TestRefusalAtTheEndIsRecorded(t *testing.T) {
	st := newStage(t)
	arrived, pass := st.atToken()
	d := st.desk()
	url := d.ask().URL
	go func() { _, _ = st.human.SignIn(t.Context(), url, "ada", demo.Ada().Password) }() // the page may be lost
	<-arrived
	d.EndSignIn()
	st.IdP.SetFaults(demo.Faults{TokenError: "invalid_grant"})
	pass()
	settle(t, d.Session)
	if rec := st.pendingRecord(); !strings.Contains(rec.Outcome, "invalid_grant") || !rec.Code.IsZero() {
		t.Errorf("the record ended as %q, with a code: %v", rec.Outcome, !rec.Code.IsZero())
	}
}

// TestCloseIsBounded: however much is under way and however often Close is called, all of it takes closeLimit.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := planted(t, tokenstore.NewMemory(), func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		time.Sleep(2 * time.Minute) // of the bubble's clock: the token expires
		go func() { _, _ = authorize(t.Context(), t, s) }()
		synctest.Wait()
		began := time.Now()
		p := &signIn{}
		s.equip(p)
		s.update(func(st *state) { st.pending = p }) // one that does not end
		s.Close()                                    // on a signal
		s.Close()                                    // on the way out
		if took := time.Since(began); took != closeLimit {
			t.Errorf("it took %v, want %v", took, closeLimit)
		}
		time.Sleep(renewLimit) // of the bubble's clock: the renewal gives up
	})
}

// TestDrainingProcessLeavesItsSignIn: a process whose input has ended leaves the sign-in to another one, which the human
// finishes in the same tab; those whose answers are still due learn of its address until the process closes.
func TestDrainingProcessLeavesItsSignIn(t *testing.T) {
	st := newStage(t)
	leader := st.desk()
	first := leader.ask()
	tab := <-leader.tabs
	follower := st.desk()
	follower.ask()
	leader.EndSignIn()
	st.until("another process has the port", func() bool { return strings.Contains(st.said.String(), "going on with it") })
	if still, ok := leader.Pending(); !ok || still.URL != first.URL {
		t.Error("the process that drains does not know of the sign-in any more")
	}
	select {
	case <-first.Done:
		t.Error("the sign-in has ended for those whose answers are due")
	default:
	}
	late := st.desk()
	late.EndSignIn()
	if late.ask().URL != first.URL {
		t.Error("a request that comes while the process drains gets another address")
	}
	st.finish(tab)
	<-follower.doneOrGone()
	st.mustCall(follower.Session)
	leader.Close()
	<-first.Done
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}
