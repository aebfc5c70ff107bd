package auth

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// TestLeftCodeIsRedeemed: the process that received the code goes before it could spend it. The human has done their part;
// another process spends it.
func TestLeftCodeIsRedeemed(t *testing.T) {
	st := newStage(t)
	var net mortal
	leader, follower := st.desk(net.carry), st.desk()
	url := leader.ask().URL
	<-leader.tabs
	joined := follower.ask()
	arrived := make(chan struct{})
	var first atomic.Bool
	st.IdP.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/token" || !first.CompareAndSwap(false, true) {
			return false
		}
		_ = r.ParseForm() // read whole, so that the server notices when its caller goes
		close(arrived)
		<-r.Context().Done()
		return true
	})
	go func() { _, _ = st.human.SignIn(t.Context(), url, "ada", demo.Ada().Password) }() // the page is an error or lost
	<-arrived
	leader.EndSignIn()
	net.die()
	<-joined.Done
	if err := joined.Err(); err != nil {
		t.Fatal(err)
	}
	st.mustCall(follower.Session)
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
	if rec := st.pendingRecord(); !rec.Code.IsZero() || rec.Outcome != tokenstore.OutcomeDone {
		t.Errorf("the record ended as %q, with a code: %v", rec.Outcome, !rec.Code.IsZero())
	}
}

// mortal is the network of a process that can be killed: what is on its way then never comes back.
type mortal struct{ end context.CancelFunc }

func (m *mortal) die() { m.end() }

func (m *mortal) carry(c *Config) {
	ctx, end := context.WithCancel(context.Background())
	m.end = end
	c.HTTP = &http.Client{Transport: roundTrips(func(r *http.Request) (*http.Response, error) {
		both, cancel := context.WithCancel(r.Context())
		context.AfterFunc(ctx, cancel)
		return http.DefaultTransport.RoundTrip(r.WithContext(both))
	})}
}

// TestRedeemable: a code that may have been spent with success must not come back.
func TestRedeemable(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	left := tokenstore.PendingSignIn{Taken: true, TakenAt: now, Code: secret.New("code"), Deadline: now.Add(time.Minute)}
	edit := func(f func(*tokenstore.PendingSignIn)) tokenstore.PendingSignIn {
		rec := left
		f(&rec)
		return rec
	}
	for name, c := range map[string]struct {
		rec    tokenstore.PendingSignIn
		issued time.Time // of the stored credential; zero: there is none
		after  time.Duration
		want   bool
	}{
		"nothing stored":            {rec: left, want: true},
		"stored before":             {rec: left, issued: now.Add(-time.Second), want: true},
		"stored at that moment":     {rec: left, issued: now},
		"stored since":              {rec: left, issued: now.Add(time.Second)},
		"not taken":                 {rec: edit(func(r *tokenstore.PendingSignIn) { r.Taken, r.Code = false, secret.Text{} })},
		"an error, or other tokens": {rec: edit(func(r *tokenstore.PendingSignIn) { r.Code = secret.Text{} })},
		"done":                      {rec: edit(func(r *tokenstore.PendingSignIn) { r.Outcome = tokenstore.OutcomeDone })},
		"too late":                  {rec: left, after: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			store := tokenstore.NewMemory()
			s, err := New(Config{ServerURL: "https://mcp.example.com/mcp", Store: store, Now: func() time.Time { return now.Add(c.after) }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if !c.issued.IsZero() {
				stored := tokenstore.Credential{
					ServerURL: "https://mcp.example.com/mcp", Resource: "https://mcp.example.com/mcp",
					AccessToken: secret.New("token"), IssuedAt: c.issued,
				}
				if err := tokenstore.SaveCredential(t.Context(), store, stored); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.redeemable(t.Context(), c.rec); got != c.want {
				t.Errorf("redeemable is %v, want %v", got, c.want)
			}
		})
	}
}

// TestOvertakenFollower: a process whose sign-in is over does not wait for the end of the next one, whose tab it would
// hold back.
func TestOvertakenFollower(t *testing.T) {
	st := newStage(t)
	st.desk().ask()
	joined := st.desk().ask()
	rec := st.pendingRecord()
	rec.URL += "&next"
	if err := tokenstore.SavePendingSignIn(t.Context(), st.store, rec); err != nil {
		t.Fatal(err)
	}
	st.until("the follower has given up", func() bool {
		select {
		case <-joined.Done:
			return true
		default:
			return false
		}
	})
	if err := joined.Err(); err == nil || !strings.Contains(err.Error(), "without a result") {
		t.Errorf("the follower got %v", err)
	}
}
