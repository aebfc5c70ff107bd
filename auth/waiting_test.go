package auth

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// countedLoads counts the reads of a store.
type countedLoads struct {
	tokenstore.Store
	n *atomic.Int32
}

func (c countedLoads) Load(ctx context.Context, name tokenstore.Name) (secret.Text, error) {
	c.n.Add(1)
	return c.Store.Load(ctx, name)
}

// TestWaitForAnotherLeader: who finds the sign-in lock taken looks at the store now and then, and where the sign-in under
// way has other settings, says so soon. Once it looked eight times a second, for 90 s.
func TestWaitForAnotherLeader(t *testing.T) {
	pending := func(client string, left time.Duration) *tokenstore.PendingSignIn {
		return &tokenstore.PendingSignIn{ServerURL: farServer, Resource: farServer, Issuer: "https://idp.example.com",
			URL: "https://idp.example.com/a", Client: tokenstore.Client{ID: client}, Deadline: time.Now().Add(left)}
	}
	for name, tt := range map[string]struct {
		record func() *tokenstore.PendingSignIn
		err    string
		within time.Duration
		loads  int32
	}{
		"no record":            {func() *tokenstore.PendingSignIn { return nil }, "does not get on", beginLimit, 100},
		"another client":       {func() *tokenstore.PendingSignIn { return pending("another", time.Minute) }, "another client or issuer", 5 * time.Second, 10},
		"another, long over":   {func() *tokenstore.PendingSignIn { return pending("another", -time.Second) }, "does not get on", beginLimit, 100},
		"this client, at once": {func() *tokenstore.PendingSignIn { return pending("mine", time.Minute) }, "", time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var loads atomic.Int32
				store := countedLoads{tokenstore.NewMemory(), &loads}
				s, err := New(Config{ServerURL: farServer, Store: store, Client: ClientIdentity{ID: "mine"}})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				unlock, err := store.Lock(t.Context(), s.signInLock())
				if err != nil {
					t.Fatal(err)
				}
				if rec := tt.record(); rec != nil {
					if err := tokenstore.SavePendingSignIn(t.Context(), store, *rec); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), beginLimit)
				defer cancel()
				began := time.Now()
				_, err = s.begin(ctx, want{})
				wantError(t, err, tt.err)
				if took := time.Since(began); took > tt.within || loads.Load() > tt.loads {
					t.Errorf("it took %v and %d reads, want at most %v and %d", took, loads.Load(), tt.within, tt.loads)
				}
				var p interface{ Passing() bool }
				if err != nil && !(errors.As(err, &p) && p.Passing() && hintOf(err) != "") {
					t.Errorf("%v: it does not pass, or has no hint", err)
				}
				unlock()
			})
		})
	}
}

// TestTakenOverAfterClockSetBack: a sign-in that is taken over stays open for a login time-out, whatever the clock says.
// Once a clock that was set back an hour kept it open for that hour.
func TestTakenOverAfterClockSetBack(t *testing.T) {
	hasty := func(c *Config) { c.LoginTimeout = 300 * time.Millisecond }
	for name, takeOver := range map[string]func(*stage, *desk) SignIn{
		"by a new process": func(st *stage, first *desk) SignIn {
			first.Close()
			st.clock.advance(-time.Hour)
			s := st.desk(hasty).ask()
			if left := s.Deadline.Sub(st.clock.Now()); left > time.Second {
				t.Errorf("it says that %v are left", left)
			}
			return s
		},
		"by one that waited": func(st *stage, first *desk) SignIn {
			s := st.desk(hasty).ask()
			st.clock.advance(-time.Hour)
			first.Close()
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t)
			first := st.desk()
			url := first.ask().URL
			<-first.tabs
			s := takeOver(st, first)
			if s.URL != url {
				t.Error("it is another sign-in")
			}
			select {
			case <-s.Done:
			case <-time.After(10 * time.Second):
				t.Fatal("it is still open")
			}
			wantError(t, s.Err(), "nobody signed in")
		})
	}
}

// TestLoginWaitsForThePort: somebody who signs in while another sign-in has the port is told so, and waits.
func TestLoginWaitsForThePort(t *testing.T) {
	st := newStage(t)
	callback := CallbackConfig{Port: free(t)}
	st.IdP.AddClient(demo.Client{ID: "corp", AuthMethod: authNone, RedirectURIs: []string{callback.named().uri(0)}})
	corp := func(c *Config) { c.Callback, c.Client = callback, ClientIdentity{ID: "corp"} }
	at, err := net.ResolveTCPAddr("tcp", strings.TrimSuffix(strings.TrimPrefix(callback.named().uri(0), "http://"), "/callback"))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.ListenTCP("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	hasty := st.desk(corp, func(c *Config) { c.LoginTimeout = 300 * time.Millisecond })
	_, err = hasty.SignIn(t.Context())
	wantError(t, err, "listen for the sign-in")

	patient := st.desk(corp)
	ended := make(chan error, 1)
	go func() { _, err := patient.SignIn(t.Context()); ended <- err }()
	st.until("it says that it waits", func() bool { return strings.Contains(patient.said.String(), "waiting for it up to 5m0s") })
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case url := <-patient.tabs:
		st.finish(url)
	case err := <-ended:
		t.Fatalf("the login ended: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := strings.Count(patient.said.String(), "waiting for it"); n != 1 {
		t.Errorf("it says %d times that it waits", n)
	}
}
