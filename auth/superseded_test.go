package auth

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// occupied takes the port of the registration in the store.
func (st *stage) occupied() {
	st.t.Helper()
	reg, err := st.registration()
	if err != nil {
		st.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(reg.RedirectURI, "//")
	host, _, _ := strings.Cut(rest, "/")
	ln, err := net.Listen("tcp", host)
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { _ = ln.Close() })
}

// TestSupersededRegistration: a busy port costs a second registration, and both are deleted at the issuer in the end. Once
// the second took the place of the first with what it takes to delete that, and one of two stayed.
func TestSupersededRegistration(t *testing.T) {
	all := func(st *stage) (got []told) {
		if err := st.logout().All(st.t.Context(), func(r Receipt) { got = append(got, inWords(r)) }); err != nil {
			st.t.Error(err)
		}
		return got
	}
	one := func(profile string) func(*stage) []told {
		return func(st *stage) []told {
			r, err := st.logout().One(st.t.Context(), st.URL(), profile)
			if err != nil {
				st.t.Error(err)
			}
			return []told{inWords(r)}
		}
	}
	signedOut := func(registration string) told { return told{"ended", "ended", "ended", registration} }
	deleted := told{"ended", "absent", "absent", "ended"}
	for _, tt := range []struct {
		name string
		do   []func(*stage) []told
		want []told
	}{
		{"all at once", []func(*stage) []told{all}, []told{signedOut("absent"), signedOut("absent"), deleted}},
		{"the first, then all", []func(*stage) []told{one("first"), all}, []told{signedOut("ended"), signedOut("absent"), deleted}},
		{"the second, then all", []func(*stage) []told{one(""), all}, []told{signedOut("ended"), signedOut("absent"), deleted}},
		{"the first, then the second", []func(*stage) []told{one("first"), one("")}, []told{signedOut("ended"), signedOut("ended")}},
		{"the second, then the first", []func(*stage) []told{one(""), one("first")}, []told{signedOut("ended"), signedOut("ended")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := newStage(t)
			if _, err := st.session(func(c *Config) { c.Profile = "first" }).SignIn(t.Context()); err != nil {
				t.Fatal(err)
			}
			st.occupied()
			st.mustCall(st.session())
			var got []told
			for _, do := range tt.do {
				got = append(got, do(st)...)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("receipts (-want +got):\n%s", diff)
			}
			if c := st.IdP.Counts(); c.Registrations != 2 || c.Deregistrations != 2 {
				t.Errorf("%d registrations, %d deleted; want 2 and 2", c.Registrations, c.Deregistrations)
			}
			if left := st.left(); left != nil {
				t.Errorf("left in the store: %v", left)
			}
		})
	}
}

// TestSupersededOutlivesItsSuccessor: what is left to be deleted stays when the registration that replaced it goes, by a
// logout or because the issuer forgot it, and goes over to the next.
func TestSupersededOutlivesItsSuccessor(t *testing.T) {
	for name, end := range map[string]func(*stage, *Session){
		"logged out": func(st *stage, _ *Session) { st.logOut(st.t.Context(), st.logout()) },
		"forgotten": func(st *stage, s *Session) {
			c, _ := st.stored() // there is one: it was just signed in
			st.IdP.RemoveClient(c.Client.ID)
			st.clock.advance(time.Hour)
			_ = s.Authorize(st.request(st.t.Context())) // finds out
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t)
			if _, err := st.session(func(c *Config) { c.Profile = "first" }).SignIn(t.Context()); err != nil {
				t.Fatal(err)
			}
			oldest, err := st.registration()
			if err != nil {
				t.Fatal(err)
			}
			st.occupied()
			s := st.session()
			st.mustCall(s)
			end(st, s)
			want := []tokenstore.Superseded{current(oldest)}
			reg, err := st.registration()
			if diff := cmp.Diff(want, reg.Superseded); diff != "" || err != nil || reg.Client.ID != "" {
				t.Errorf("client %q, error %v, superseded (-want +got):\n%s", reg.Client.ID, err, diff)
			}
			st.mustCall(st.session())
			reg, err = st.registration()
			if diff := cmp.Diff(want, reg.Superseded); diff != "" || err != nil || reg.Client.ID == "" {
				t.Errorf("after another sign-in: client %q, error %v, superseded (-want +got):\n%s", reg.Client.ID, err, diff)
			}
		})
	}
}

// TestSupersededIsUnderWay: a registration that was superseded because a sign-in holds its port outlives the logout of
// another sign-in.
func TestSupersededIsUnderWay(t *testing.T) {
	st := newStage(t)
	other := st.desk(func(c *Config) { c.Profile = "first" })
	url := other.ask().URL
	mine := st.desk().ask()
	st.finish(mine.URL)
	<-mine.Done
	if got := inWords(st.logOut(t.Context(), st.logout())); got.Registration != "ended" {
		t.Errorf("the registration of the sign-in that goes: %s", got.Registration)
	}
	pending := other.pending()
	st.finish(url)
	<-pending.Done
	if err := pending.Err(); err != nil {
		t.Errorf("the sign-in under way: %v", err)
	}
	if n := st.IdP.Counts().Deregistrations; n != 1 {
		t.Errorf("%d registrations deleted, want 1", n)
	}
}

// TestSupersede: what a registration carries along is bounded, and never the client that it is for.
func TestSupersede(t *testing.T) {
	const issuer = "https://idp.example.com"
	old := tokenstore.Registration{Issuer: issuer, Client: tokenstore.Client{ID: "current"}, ManagementURI: issuer + "/current"}
	for i := range maxSuperseded {
		id := fmt.Sprint(i)
		old.Superseded = append(old.Superseded, tokenstore.Superseded{ClientID: id, ManagementURI: issuer + "/" + id})
	}
	for _, tt := range []struct {
		name, id string
		used     int // of the oldest
		deleted  []string
		lost     string
	}{
		{name: "too many", id: "new", deleted: []string{"/0"}, lost: "0"},
		{name: "the oldest are used", id: "new", used: 2, deleted: []string{"/2"}, lost: "2"},
		{name: "all are used", id: "new", used: 99, lost: "0"},
		{name: "the same client again", id: "current", lost: "current"},
		{name: "an earlier client again", id: "3", lost: "3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var deleted []string
			s, err := New(Config{ServerURL: farServer, Store: tokenstore.NewMemory(), HTTP: &http.Client{Transport: roundTrips(func(r *http.Request) (*http.Response, error) {
				deleted = append(deleted, r.URL.Path)
				return jsonResponse("{}"), nil
			})}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for i, o := range manageable(old)[:min(tt.used, maxSuperseded+1)] {
				c := tokenstore.Credential{ServerURL: fmt.Sprintf("https://mcp%d.example.com", i), Issuer: issuer, Client: tokenstore.Client{ID: o.ClientID}, AccessToken: secret.New("a"), Expiry: time.Now()}
				if err := tokenstore.SaveCredential(t.Context(), s.cfg.Store, c); err != nil {
					t.Fatal(err)
				}
			}
			left := s.supersede(t.Context(), old, tt.id)
			if len(left) != maxSuperseded {
				t.Errorf("%d are carried along, want %d", len(left), maxSuperseded)
			}
			for _, o := range left {
				if o.ClientID == tt.lost {
					t.Errorf("%s is carried along", o.ClientID)
				}
			}
			if diff := cmp.Diff(tt.deleted, deleted); diff != "" {
				t.Errorf("deleted at the issuer (-want +got):\n%s", diff)
			}
		})
	}
}
