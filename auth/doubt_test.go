package auth

import (
	"errors"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/tokenstore"
)

// toLunch lets a sign-in run out that nobody finishes, and returns the client that it was for.
func (st *stage) toLunch() string {
	st.t.Helper()
	s := st.session(func(c *Config) {
		c.LoginTimeout = 50 * time.Millisecond
		c.Open = func(string) error { return nil }
	})
	p, err := s.askUnprompted(st.t.Context())
	if err != nil {
		st.t.Fatal(err)
	}
	<-p.done
	if !errors.Is(p.err, errUnanswered) {
		st.t.Errorf("the sign-in ended with %v", p.err)
	}
	settle(st.t, s)
	return p.client.ID
}

func (st *stage) wantRegistrations(made, deleted int) {
	st.t.Helper()
	if c := st.IdP.Counts(); c.Registrations != made || c.Deregistrations != deleted {
		st.t.Errorf("%d registrations made and %d deleted, want %d and %d", c.Registrations, c.Deregistrations, made, deleted)
	}
}

// TestUnansweredSignIns: a person who went to lunch does not cost the registration, with the token that can delete it; when
// no sign-in comes to an end, it is given up, and the identity provider is told.
func TestUnansweredSignIns(t *testing.T) {
	st := newStage(t)
	first := st.toLunch()
	if again := st.toLunch(); again != first {
		t.Error("after one sign-in that nobody finished, another client was registered")
	}
	st.wantRegistrations(1, 1)
	if _, err := st.registration(); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("the registration that led nowhere twice is still there: %v", err)
	}
	if third := st.toLunch(); third == first {
		t.Error("the registration that led nowhere twice is used again")
	}
	st.wantRegistrations(2, 1)
}

// TestDoubtsPass: a sign-in that comes to an end takes the doubts away.
func TestDoubtsPass(t *testing.T) {
	st := newStage(t)
	st.toLunch()
	doubts := func() int {
		reg, err := st.registration()
		if err != nil {
			t.Fatal(err)
		}
		return reg.Doubts
	}
	if doubts() != 1 {
		t.Errorf("%d doubts after a sign-in that nobody finished", doubts())
	}
	if _, err := st.session().SignIn(t.Context()); err != nil {
		t.Fatal(err)
	}
	st.until("the doubts are gone", func() bool { return doubts() == 0 })
	st.wantRegistrations(1, 0)
}

// TestUsedRegistrationIsNotDoubted: where another sign-in lives by the registration, the identity provider knows it, and its
// deletion would end that sign-in.
func TestUsedRegistrationIsNotDoubted(t *testing.T) {
	st := newStage(t)
	st.mustCall(st.session(func(c *Config) { c.Profile = "work" }))
	for range 3 {
		st.toLunch()
	}
	st.wantRegistrations(1, 0)
	if reg, err := st.registration(); err != nil || reg.Doubts != 0 {
		t.Errorf("the registration has %d doubts, %v", reg.Doubts, err)
	}
}

// TestProviderForgotClient: an identity provider that has forgotten the client shows the person an error page and never
// redirects. That must not go on for ever, also where a token that has expired was once got with it.
func TestProviderForgotClient(t *testing.T) {
	st := newStage(t)
	st.IdP.SetFaults(demo.Faults{NoRefreshTokens: true})
	st.mustCall(st.session())
	reg, err := st.registration()
	if err != nil {
		t.Fatal(err)
	}
	st.IdP.RemoveClient(reg.Client.ID)
	st.clock.advance(time.Hour)
	for range maxDoubts {
		s := st.session(func(c *Config) { c.LoginTimeout = 200 * time.Millisecond })
		if _, err := st.call(s); err == nil {
			t.Error("a client that is not known signs in")
		}
		settle(t, s)
	}
	st.mustCall(st.session())
	st.wantTally(tally{Tabs: 2 + maxDoubts, SignIns: 2, Registrations: 2})
}

// TestFollowersDoNotDoubt: of all the processes that wait for one sign-in, only the one that leads it counts its end.
func TestFollowersDoNotDoubt(t *testing.T) {
	st := newStage(t)
	leader := st.desk(func(c *Config) { c.LoginTimeout = 300 * time.Millisecond })
	leader.ask()
	var all []SignIn
	for range 3 {
		all = append(all, st.desk().ask())
	}
	for _, s := range all {
		<-s.Done
	}
	settle(t, leader.Session)
	if reg, err := st.registration(); err != nil || reg.Doubts != 1 {
		t.Errorf("the registration has %d doubts, %v; want 1", reg.Doubts, err)
	}
}
