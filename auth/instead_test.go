package auth

import (
	"errors"
	"strings"
	"testing"
)

// unshown returns a sign-in under way that was not shown yet.
func (d *desk) unshown() SignIn {
	d.st.t.Helper()
	if _, err := d.askUnprompted(d.st.t.Context()); err != nil {
		d.st.t.Fatal(err)
	}
	return d.pending()
}

// TestOneShowsInsteadOfATab: what shows the sign-in in the place of a tab is called in one process, as a tab would be opened
// by one. When that process is gone, another one shows it.
func TestOneShowsInsteadOfATab(t *testing.T) {
	st := newStage(t)
	shown := make(chan string, 10)
	showing := func(who string) func() error { return func() error { shown <- who; return nil } }
	leader, follower := st.desk(), st.desk()
	first := leader.unshown()
	first.Present(showing("leader"))
	first.Present(showing("leader once more"))
	if who := <-shown; who != "leader" {
		t.Fatalf("%s showed it", who)
	}
	second := follower.unshown()
	second.Present(showing("follower"))
	st.until("the follower says why nothing appears", func() bool { return strings.Contains(follower.said.String(), "open already") })
	if len(shown) > 0 {
		t.Errorf("%s showed it too", <-shown)
	}
	leader.Close()
	if who := <-shown; who != "follower" {
		t.Errorf("then %s showed it", who)
	}
	st.finish(second.URL)
	<-second.Done
	if err := second.Err(); err != nil || st.tabs.Load() != 0 || len(shown) > 0 {
		t.Errorf("the sign-in ended with %v; %d tabs, shown %d times more", err, st.tabs.Load(), len(shown))
	}
}

// TestTabAfterAll: when what comes in the place of a tab fails, one is opened.
func TestTabAfterAll(t *testing.T) {
	st := newStage(t)
	d := st.desk()
	d.unshown().Present(func() error { return errors.New("the client cannot show it") })
	st.finish(<-d.tabs)
	st.mustCall(d.Session)
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// TestShownWithoutABrowser: where there is no browser, the client can show the sign-in all the same, beside the advice.
func TestShownWithoutABrowser(t *testing.T) {
	st := newStage(t)
	d := st.desk(func(c *Config) { c.Open = nil })
	shown := make(chan struct{}, 10)
	s := d.unshown()
	s.Present(func() error { shown <- struct{}{}; return nil })
	<-shown
	if !strings.Contains(d.said.String(), s.URL) {
		t.Errorf("the person was told %q", d.said.String())
	}
	st.finish(s.URL)
	<-s.Done
	if s.Err() != nil || len(shown) > 0 {
		t.Errorf("the sign-in ended with %v, shown %d times more", s.Err(), len(shown))
	}
}
