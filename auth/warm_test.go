package auth

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// traffic notes the requests that arrive at both peers.
type traffic struct {
	mu    sync.Mutex
	lines []string
}

// watch begins to note what arrives.
func (st *stage) watch() *traffic {
	tr := &traffic{}
	note := func(peer string) func(http.ResponseWriter, *http.Request) bool {
		return func(_ http.ResponseWriter, r *http.Request) bool {
			line := peer + " " + r.Method + " " + r.URL.Path
			if r.Header.Get("Authorization") != "" {
				line += " with a token"
			}
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.lines = append(tr.lines, line)
			return false
		}
	}
	st.Server.SetIntercept(note("server"))
	st.IdP.SetIntercept(note("idp"))
	return tr
}

func (tr *traffic) all() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.lines)
}

// TestWarmStart counts every request of later sessions: no discovery, no registration, one round trip; a refresh costs one
// POST.
func TestWarmStart(t *testing.T) {
	const call, refresh = "server POST /mcp with a token", "idp POST /token"
	for _, c := range []struct {
		name  string
		after time.Duration // since the sign-in
		calls int
		want  []string
	}{
		{name: "token at hand", calls: 1, want: []string{call}},
		{name: "several calls", calls: 3, want: []string{call, call, call}},
		{name: "token about to expire", after: 5*time.Minute - 10*time.Second, calls: 2, want: []string{refresh, call, call}},
		{name: "token expired", after: time.Hour, calls: 2, want: []string{refresh, call, call}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t)
			st.mustCall(st.session())
			st.clock.advance(c.after)
			tr, s := st.watch(), st.session()
			s.Warm(t.Context())
			for range c.calls {
				st.mustCall(s)
			}
			if diff := cmp.Diff(c.want, tr.all()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRefreshOn401Traffic costs the refused request, one POST, and the request again.
func TestRefreshOn401Traffic(t *testing.T) {
	st := newStage(t)
	st.mustCall(st.session())
	tr, s := st.watch(), st.session()
	old, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	refuse := refuseToken(old.AccessToken)
	var refused int
	st.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if refuse(w, r) {
			refused++
			return true
		}
		return false
	})
	st.mustCall(s)
	if diff := cmp.Diff([]string{"idp POST /token"}, tr.all()); diff != "" || refused != 1 {
		t.Errorf("%d refused; requests at the identity provider (-want +got):\n%s", refused, diff)
	}
}
