package main_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/demo"
)

// TestSilentIdentityProvider: the identity provider accepts connections and says nothing. The client is answered all the
// same, without ever waiting for long; when the provider speaks again and the person has signed in, what the server has
// is there.
func TestSilentIdentityProvider(t *testing.T) {
	t.Parallel()
	p := newPlace(t, demo.Config{})
	speak := make(chan struct{})
	p.world.IdP.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-speak:
		case <-r.Context().Done():
		}
		return false
	})
	w := p.start("--startup-budget", "300ms", p.world.URL())
	began := time.Now()
	w.send(initialize, initialized)
	if name := serverName(t, w.answer("0")); name != "drawbridge" {
		t.Errorf("initialize was answered by %q", name)
	}
	for range 3 {
		w.send(listTools)
		if names, _ := listed(t, w.answer(`"list"`)); !slices.Equal(names, []string{"sign_in"}) {
			t.Errorf("tools: %q", names)
		}
		w.send(listPrompts)
		w.answer(`"prompts"`)
		w.send(listResources)
		w.answer(`"resources"`)
	}
	if took := time.Since(began); took > 20*time.Second { // a slow machine is no failure; waiting for the provider is
		t.Errorf("the answers took %v", took)
	}
	p.wantTabs(0, "silent identity provider")
	close(speak)
	told := map[string]bool{}
	w.until("the news of other lists", func(m message) bool {
		told[m.Method] = true
		return told["notifications/tools/list_changed"] && told["notifications/prompts/list_changed"] && told["notifications/resources/list_changed"]
	})
	p.wantTabs(1, "the client stayed")
	for id, want := range map[string]struct{ ask, name string }{
		`"list"`: {listTools, "whoami"}, `"prompts"`: {listPrompts, "greet"}, `"resources"`: {listResources, "notice"},
	} {
		w.send(want.ask)
		if m := w.answer(id); !strings.Contains(string(m.Result), `"name":"`+want.name+`"`) {
			t.Errorf("%s after the sign-in: %s %+v", id, m.Result, m.Error)
		}
	}
	w.hangUp()
	w.wantExit(0)
}

const (
	listPrompts   = `{"jsonrpc":"2.0","id":"prompts","method":"prompts/list"}`
	listResources = `{"jsonrpc":"2.0","id":"resources","method":"resources/list"}`
)

// remembered returns the names of what is remembered of servers.
func (p *place) remembered() (names []string) {
	p.t.Helper()
	files, err := filesBelow(filepath.Join(p.vars["XDG_CACHE_HOME"], "drawbridge"))
	if err != nil {
		p.t.Fatal(err)
	}
	for path := range files {
		names = append(names, filepath.Base(path))
	}
	slices.Sort(names)
	return names
}

// readLists signs in and lists everything once, so that it is remembered.
func (p *place) readLists() {
	p.t.Helper()
	p.do("login", p.world.URL())
	w := p.start()
	w.send(initialize, initialized, listTools, listPrompts)
	w.hangUp()
	w.wantExit(0)
	if got := p.remembered(); !slices.Equal(got, []string{"initialize.2025-06-18", "prompts.list", "tools.list"}) {
		p.t.Fatalf("remembered: %q", got)
	}
}

// TestServerAway: a server that is being deployed is answered for as it was, is found by itself when it is back, and the
// client is told that its tools are others.
func TestServerAway(t *testing.T) {
	t.Parallel()
	p := newPlace(t, demo.Config{})
	p.vars["DRAWBRIDGE_CACHE_DIR"] = filepath.Join(p.vars["XDG_CACHE_HOME"], "drawbridge")
	p.readLists()
	p.world.Server.SetIntercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	w := p.start()
	w.send(initialize, initialized, listTools)
	if name := serverName(t, w.answer("0")); name != "drawbridge-demo" {
		t.Errorf("initialize was answered by %q", name)
	}
	if names, _ := listed(t, w.answer(`"list"`)); !slices.Contains(names, "whoami") || slices.Contains(names, "sign_in") {
		t.Errorf("tools: %q", names)
	}
	w.send(callWhoami)
	if m := w.answer(`"whoami"`); m.Error == nil || m.Error.Data.Kind != "http_status" || m.Error.Data.Hint == "" {
		t.Errorf("the call is answered with %s %+v", m.Result, m.Error)
	}
	p.world.Server.SetExtraTool(true)
	p.world.Server.SetIntercept(nil)
	w.notification("notifications/tools/list_changed")
	w.send(callWhoami)
	if m := w.answer(`"whoami"`); !strings.Contains(string(m.Result), "Ada Lovelace") {
		t.Errorf("the call is answered with %s %+v", m.Result, m.Error)
	}
	w.hangUp()
	w.wantExit(0)
	p.wantTabs(1, "login")
}

// TestMemoryEndsWithTheSignIn: nothing that a server said to a person stays when the person's sign-in is over, and the
// next client is given nothing of it.
func TestMemoryEndsWithTheSignIn(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*place){
		"logout":     func(p *place) { p.do("logout", p.world.URL()) },
		"logout all": func(p *place) { p.do("logout", "--all") },
		"refused":    func(p *place) { p.world.IdP.Deactivate("ada"); p.clock.expire() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, demo.Config{})
			p.vars["DRAWBRIDGE_CACHE_DIR"] = filepath.Join(p.vars["XDG_CACHE_HOME"], "drawbridge")
			p.readLists()
			end(p)
			w := p.start("--no-browser", p.world.URL())
			w.send(initialize, initialized, listTools)
			if server := serverName(t, w.answer("0")); server != "drawbridge" {
				t.Errorf("initialize was answered by %q", server)
			}
			if names, _ := listed(t, w.answer(`"list"`)); !slices.Equal(names, []string{"sign_in"}) {
				t.Errorf("tools: %q", names)
			}
			if got := p.remembered(); len(got) > 0 {
				t.Errorf("remembered: %q", got)
			}
			w.hangUp()
			w.wantExit(0)
		})
	}
}

// TestElicitedSignIn: a client that shows pages is asked to show the sign-in; no tab is opened beside.
func TestElicitedSignIn(t *testing.T) {
	t.Parallel()
	p := newPlace(t, demo.Config{})
	w := p.start()
	w.send(strings.NewReplacer(`"capabilities":{}`, `"capabilities":{"elicitation":{"url":{}}}`, "2025-06-18", "2025-11-25").Replace(initialize), initialized, callWhoami)
	ask := w.until("the question", func(m message) bool { return m.Method == "elicitation/create" })
	var params struct{ Mode, URL, ElicitationID string }
	if err := json.Unmarshal(ask.Params, &params); err != nil || params.Mode != "url" {
		t.Fatalf("asked %s (%v)", ask.Params, err)
	}
	w.send(`{"jsonrpc":"2.0","id":` + string(ask.ID) + `,"result":{"action":"accept"}}`)
	ada := demo.Ada()
	if page, err := (demo.Human{}).SignIn(within(t), params.URL, ada.Name, ada.Password); err != nil {
		t.Fatalf("%q: %v", page, err)
	}
	told, called := false, message{}
	w.until("the end of the sign-in and of the call", func(m message) bool {
		told = told || m.Method == "notifications/elicitation/complete" && strings.Contains(string(m.Params), params.ElicitationID)
		if string(m.ID) == `"whoami"` {
			called = m
		}
		return told && called.ID != nil
	})
	if !strings.Contains(string(called.Result), "Ada Lovelace") {
		t.Errorf("the call is answered with %s %+v", called.Result, called.Error)
	}
	p.wantTabs(0, "the client showed the sign-in")
	w.hangUp()
	w.wantExit(0)
}
