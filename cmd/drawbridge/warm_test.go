package main_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
)

// TestWarmStart: with a good sign-in in the store, one request to the server answers the handshake, and the identity
// provider is not asked anything.
func TestWarmStart(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	t.Run("before", func(t *testing.T) { // after it the server knows the identity provider's keys
		wantEcho(t, p.in(t).connect(nil), "before")
	})
	var mu sync.Mutex
	var asked []string
	note := func(peer string) func(http.ResponseWriter, *http.Request) bool {
		return func(_ http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, peer+" "+r.Method+" "+r.URL.Path)
			return false
		}
	}
	p.world.Server.SetIntercept(note("server"))
	p.world.IdP.SetIntercept(note("idp"))
	session := p.connect(nil)
	if name := session.InitializeResult().ServerInfo.Name; name != "drawbridge-demo" {
		t.Errorf("initialize was answered by %q", name)
	}
	wantEcho(t, session, "warm")
	mu.Lock()
	defer mu.Unlock()
	// What follows the handshake: its notification, the call, and the stream that the server may use.
	slices.Sort(asked)
	want := []string{"server GET /mcp", "server POST /mcp", "server POST /mcp", "server POST /mcp"}
	if !slices.Contains(asked, want[0]) { // it may not have arrived yet
		want = want[1:]
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
