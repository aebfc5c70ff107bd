package auth

import (
	"slices"
	"sync"
	"testing"
	"time"

	"drawbridge/internal/demo"
)

// forgotten notes what Config.Forgotten and Logout.Forgotten are told.
type forgotten struct {
	mu   sync.Mutex
	told [][3]string
}

func (f *forgotten) add(server, profile, subject string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, [3]string{server, profile, subject})
}

func (f *forgotten) want(t *testing.T, want ...[3]string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.told, want) {
		t.Errorf("told %q, want %q", f.told, want)
	}
}

// TestForgotten tells of sign-ins that have ended, once each, and of nothing that passes.
func TestForgotten(t *testing.T) {
	for name, end := range map[string]func(*stage){
		"refused by the identity provider": func(st *stage) { st.IdP.Deactivate("ada") },
		"client forgotten": func(st *stage) {
			reg, err := st.registration()
			if err != nil {
				st.t.Fatal(err)
			}
			st.IdP.RemoveClient(reg.Client.ID)
		},
		"logged out elsewhere": func(st *stage) {
			if _, err := (Logout{Store: st.store}).One(st.t.Context(), st.URL(), "work"); err != nil {
				st.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t, func(c *demo.Config) { c.TokenLifetime = time.Hour })
			var f forgotten
			s := st.session(func(c *Config) { c.Profile, c.Forgotten = "work", f.add })
			st.mustCall(s)
			signedIn := s.view().held.credential
			st.clock.advance(time.Hour)
			st.mustCall(s) // a renewal
			st.IdP.SetFaults(demo.Faults{TokenStatus: 500})
			st.clock.advance(time.Hour)
			_, _ = st.call(s) // a fault that passes
			f.want(t)

			st.IdP.SetFaults(demo.Faults{})
			end(st)
			for range 2 {
				st.clock.advance(time.Hour)
				st.send(s)
			}
			f.want(t, [3]string{st.URL(), "work", signedIn.Subject})
		})
	}
}

// TestLogoutTellsOfTheForgotten tells of each sign-in that a logout took out of the store.
func TestLogoutTellsOfTheForgotten(t *testing.T) {
	st := newStage(t)
	for _, profile := range []string{"", "work"} {
		st.mustCall(st.session(func(c *Config) { c.Profile = profile }))
	}
	var f forgotten
	l := Logout{Store: st.store, Forgotten: f.add}
	for range 2 { // there is nothing to tell the second time
		if _, err := l.One(t.Context(), st.URL(), "work"); err != nil {
			t.Fatal(err)
		}
	}
	f.want(t, [3]string{st.URL(), "work", ""})
	if err := l.All(t.Context(), func(Receipt) {}); err != nil {
		t.Fatal(err)
	}
	f.want(t, [3]string{st.URL(), "work", ""}, [3]string{st.URL(), "", ""})
}
