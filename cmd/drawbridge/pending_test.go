package main_test

import (
	"encoding/json"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/demo"
)

// listed is the answer to tools/list.
func listed(t *testing.T, m message) (names []string, description string) {
	t.Helper()
	var list struct {
		Tools []struct{ Name, Description string }
	}
	if err := json.Unmarshal(m.Result, &list); err != nil || m.Error != nil {
		t.Fatalf("tools/list: %v %+v", err, m.Error)
	}
	for _, tool := range list.Tools {
		names, description = append(names, tool.Name), tool.Description
	}
	return names, description
}

// serverName is who answered initialize.
func serverName(t *testing.T, m message) string {
	t.Helper()
	var result struct {
		ServerInfo struct{ Name string }
	}
	if err := json.Unmarshal(m.Result, &result); err != nil || m.Error != nil {
		t.Fatalf("initialize: %v %+v", err, m.Error)
	}
	return result.ServerInfo.Name
}

var authorizePattern = regexp.MustCompile(`https?://\S+/authorize\?\S+`)

// redirectURI returns where the authorization URL in a text leads back to.
func redirectURI(t *testing.T, text string) *url.URL {
	t.Helper()
	address, err := url.Parse(authorizePattern.FindString(text))
	if err != nil || address.Query().Get("redirect_uri") == "" {
		t.Fatalf("no authorization URL in %q (%v)", text, err)
	}
	back, err := url.Parse(address.Query().Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// TestPending: while a person is awaited the client is answered; the tool sign_in leads through the sign-in to the
// server's own tools.
func TestPending(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.useGate()
	w := p.start()
	w.send(discover, initialize, initialized)
	if m := w.answer(`"discover"`); m.Error == nil || m.Error.Code != -32601 {
		t.Errorf("server/discover: %s %+v, want -32601", m.Result, m.Error)
	}
	if name := serverName(t, w.answer("0")); name != "drawbridge" {
		t.Errorf("initialize was answered by %q, want the bridge", name)
	}
	w.send(listTools)
	names, description := listed(t, w.answer(`"list"`))
	if !slices.Equal(names, []string{"sign_in"}) || !strings.Contains(description, p.world.Issuer()+"/") {
		t.Errorf("tools: %q, the last one %q; want sign_in with a URL of %s", names, description, p.world.Issuer())
	}
	w.send(callSignIn)
	eventually(t, "the tab of the sign-in", func() bool { return p.tabs() == 1 })
	w.send(discover, ping)
	w.answer(`"discover"`)
	w.answer(`"ping"`)
	strangers(t, description)

	p.openGate()
	told, signedIn := false, message{}
	w.until("the end of sign_in and the news of other tools", func(m message) bool {
		told = told || m.Method == "notifications/tools/list_changed"
		if m.Method == "" {
			signedIn = m
		}
		return told && signedIn.ID != nil
	})
	if string(signedIn.ID) != `"sign_in"` || !strings.Contains(string(signedIn.Result), `"isError":false`) {
		t.Errorf("sign_in ended with %s %s %+v", signedIn.ID, signedIn.Result, signedIn.Error)
	}
	w.send(listTools)
	if names, _ := listed(t, w.answer(`"list"`)); !slices.Contains(names, "whoami") || slices.Contains(names, "sign_in") {
		t.Errorf("tools after the sign-in: %q", names)
	}
	p.wantTabs(1, "sign_in")
	w.hangUp()
	w.wantExit(0)
}

// TestWaitingClient: a client that stays gets a tab without calling anything, but one that leaves within a second, as
// a health check does, gets none.
func TestWaitingClient(t *testing.T) {
	t.Parallel()
	t.Run("leaves", func(t *testing.T) {
		t.Parallel()
		p := newPlace(t, demo.Config{})
		w := p.start()
		w.send(initialize, initialized, listTools)
		w.answer("0")
		w.answer(`"list"`)
		for began := time.Now(); time.Since(began) < 800*time.Millisecond; {
			w.send(ping)
			w.answer(`"ping"`)
		}
		w.hangUp()
		w.wantExit(0)
		p.wantTabs(0, "client left within a second")
	})
	t.Run("stays", func(t *testing.T) {
		t.Parallel()
		p := newPlace(t, demo.Config{})
		w := p.start()
		w.send(initialize, initialized)
		w.answer("0")
		w.notification("notifications/tools/list_changed")
		p.wantTabs(1, "client stayed")
		w.hangUp()
		w.wantExit(0)
	})
}

// TestPortOfAnotherSignIn: servers that share a registered client share the port of its redirect URI. A bridge that starts
// during another's sign-in is not dead for its client: it waits its turn, and the person signs in there too.
func TestPortOfAnotherSignIn(t *testing.T) {
	t.Parallel()
	p := newPlace(t, demo.Config{})
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, port, err := net.SplitHostPort(other.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := p.start(p.world.URL(), "--callback-port", port)
	w.send(initialize, initialized)
	if name := serverName(t, w.answer("0")); name != "drawbridge" {
		t.Errorf("initialize was answered by %q, want the bridge", name)
	}
	w.send(callWhoami)
	if m := w.answer(`"whoami"`); m.Error == nil || !strings.Contains(m.Error.Data.Hint, "another sign-in may be under way") {
		t.Errorf("a call meanwhile: %s %+v", m.Result, m.Error)
	}
	_ = other.Close() // the other sign-in has ended
	w.notification("notifications/tools/list_changed")
	w.send(callWhoami)
	if m := w.answer(`"whoami"`); m.Error != nil {
		t.Errorf("a call after it: %+v", m.Error)
	}
	p.wantTabs(1, "after the other sign-in")
	w.hangUp()
	w.wantExit(0)
}

// TestSlowPeers: initialize is answered within the start-up budget of 2.5 s, even if the identity provider or the server
// does not answer.
func TestSlowPeers(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*demo.World) string{
		"identity provider": func(w *demo.World) string {
			w.IdP.SetFaults(demo.Faults{MetadataDelay: 2 * patience})
			return w.URL()
		},
		"server": func(w *demo.World) string { return w.Server.BrokenURL("hang") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, demo.Config{})
			w := p.start(address(p.world))
			began := time.Now()
			w.send(initialize, initialized, ping)
			w.answer(`"ping"`)
			if server := serverName(t, w.answer("0")); server != "drawbridge" {
				t.Errorf("initialize was answered by %q", server)
			}
			took := time.Since(began)
			w.send(listTools)
			listed(t, w.answer(`"list"`))
			t.Logf("initialize after %v, tools/list after %v", took, time.Since(began)-took)
			if took > 10*time.Second { // a slow machine is no failure; no budget at all is
				t.Errorf("initialize was answered after %v, want 2.5 s and some slack", took)
			}
			w.hangUp()
			w.wantExit(0)
		})
	}
}

// TestUnansweredSignIn: a call that waits for a person who does not come ends with the address to open.
func TestUnansweredSignIn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		who, kind, cause string
		end              func(*wire) // what ends the wait
	}{
		"end of input": {"nobody", "sign_in_required", "", (*wire).hangUp},
		"time limit":   {"nobody", "sign_in_failed", "nobody signed in", func(*wire) {}},
		"denied":       {"ada denies", "sign_in_failed", "access_denied", func(*wire) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, demo.Config{})
			p.vars[varPerson] = test.who
			w := p.start("--login-timeout", "3s", p.world.URL())
			w.send(initialize, initialized, callWhoami)
			eventually(t, "a tab", func() bool { return p.tabs() == 1 })
			test.end(w)
			m := w.answer(`"whoami"`)
			if m.Error == nil || m.Error.Data.Kind != test.kind || !strings.Contains(m.Error.Data.Cause, test.cause) || m.Error.Data.Hint == "" {
				t.Errorf("the call is answered with %s %+v; want kind %s, cause %q, a hint", m.Result, m.Error, test.kind, test.cause)
			}
			if test.kind == "sign_in_required" {
				redirectURI(t, m.Error.Data.URL)
			}
			_ = w.stdin.Close() // a second time in one of the cases
			w.wantExit(0)
			p.wantTabs(1, name)
		})
	}
}
