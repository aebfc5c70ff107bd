package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// human is an Authorizer whose sign-in ends when the test says so.
type human struct {
	mu        sync.Mutex
	signedIn  bool
	reason    string
	pending   *bridge.SignIn
	err       error
	done      chan struct{}
	shown     chan struct{} // done of the sign-in that was shown
	presented int           // tabs
	attempts  []bridge.Attempt
}

func (h *human) Authorize(req *http.Request) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.signedIn {
		req.Header.Set("Authorization", "Bearer good")
	}
	return nil
}

func (h *human) Challenged(_ context.Context, _ *http.Response, a bridge.Attempt) (bridge.Verdict, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts = append(h.attempts, a)
	switch {
	case h.signedIn:
		return bridge.Resend, nil
	case a.Background:
		return bridge.Refused, nil
	case h.pending == nil:
		h.begin()
	}
	return bridge.Pending, nil
}

func (h *human) begin() {
	done := make(chan struct{})
	h.done = done
	h.pending = &bridge.SignIn{
		URL: "https://idp.example/authorize?state=1", Reason: h.reason, Done: done,
		Err:     func() error { h.mu.Lock(); defer h.mu.Unlock(); return h.err },
		Present: func(instead func() error) { h.present(instead) },
	}
}

// present opens a tab, or does what comes in its place, once.
func (h *human) present(instead func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shown == h.done {
		return
	}
	h.shown = h.done
	if instead == nil {
		h.presented++
		return
	}
	go func() {
		if instead() != nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.presented++
		}
	}()
}

func (h *human) Pending() (bridge.SignIn, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pending == nil {
		return bridge.SignIn{}, false
	}
	return *h.pending, true
}

// end ends the sign-in.
func (h *human) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signedIn, h.err, h.pending = err == nil, err, nil
	close(h.done)
}

func (h *human) revoke(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signedIn, h.reason = false, reason
}

func (h *human) tabs() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.presented
}

// protected answers 401 without the good token.
func protected(s *server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer good" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.ServeHTTP(w, r)
	})
}

// pass lets d go by, unless the client goes away.
func pass(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

func inMemory(h http.Handler, auth bridge.Authorizer) bridge.Config {
	return bridge.Config{URL: "https://mcp.example/mcp", Auth: auth, HTTP: &http.Client{Transport: memory{h}}, Version: "test"}
}

const earlyResult = `{"jsonrpc":"2.0","id":0,"result":{"capabilities":{"completions":{},"logging":{},"prompts":{"listChanged":true},"resources":{"listChanged":true},"tools":{"listChanged":true}},`

// TestSignInPending: while a human signs in, initialize, lists, completion and log level are answered at once; the tool
// sign_in waits; afterwards the client is told to ask again and gets the server's own lists.
func TestSignInPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := &human{}, &server{}
		c := start(t, inMemory(protected(s), h))
		began := time.Now()
		c.send(initialize)
		if got := c.next(); !strings.HasPrefix(got, earlyResult) || !strings.Contains(got, `"protocolVersion":"2025-06-18"`) {
			t.Fatalf("initialize: %s", got)
		}
		c.send(initialized, listTools)
		if got := c.next(); !strings.Contains(got, `"name":"sign_in"`) || !strings.Contains(got, "https://idp.example/authorize?state=1") {
			t.Fatalf("tools/list: %s", got)
		}
		for method, want := range map[string]string{
			"prompts/list": `{"prompts":[]}`, "resources/list": `{"resources":[]}`, "resources/templates/list": `{"resourceTemplates":[]}`,
			"completion/complete": `{"completion":{"values":[]}}`, "logging/setLevel": `{}`, "ping": `{}`,
		} {
			c.send(`{"jsonrpc":"2.0","id":"x","method":"` + method + `","params":{"level":"debug"}}`)
			c.want(`{"jsonrpc":"2.0","id":"x","result":` + want + `}`)
		}
		if waited := time.Since(began); waited > 0 || h.tabs() != 0 {
			t.Errorf("the answers took %v and opened %d tabs, want none of both", waited, h.tabs())
		}
		c.send(`{"jsonrpc":"2.0","id":"s","method":"tools/call","params":{"name":"sign_in"}}`)
		synctest.Wait()
		if h.tabs() != 1 {
			t.Errorf("%d tabs after the call, want 1", h.tabs())
		}
		h.end(nil)
		changed := map[string]bool{}
		for range 4 {
			changed[c.next()] = true
		}
		for _, want := range []string{
			toolsChanged, `{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`, `{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`,
			`{"jsonrpc":"2.0","id":"s","result":{"content":[{"text":"Signed in to mcp.example. Its tools are available now.","type":"text"}],"isError":false}}`,
		} {
			if !changed[want] {
				t.Errorf("missing %s in %v", want, changed)
			}
		}
		c.send(listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		if !sawCall(s, `"logging/setLevel","params":{"level":"debug"}`) {
			t.Error("the log level was not repeated to the server")
		}
		c.finish()
	})
}

// TestInitializeIsAnsweredFirst: a client that sends everything at once gets its answers in order all the same.
func TestInitializeIsAnsweredFirst(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			c := start(t, inMemory(protected(&server{}), &human{}))
			c.send(initialize, initialized, listTools)
			if got := c.next(); !strings.HasPrefix(got, earlyResult) {
				t.Fatalf("first came %s", got)
			}
			c.next()
			c.finish()
		})
	}
}

// TestTabOnlyForThoseWhoStay: a client that connects and leaves within 3 s opens no tab; one that stays does.
func TestTabOnlyForThoseWhoStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &human{}
		c := start(t, inMemory(protected(&server{}), h))
		c.send(initialize)
		c.next()
		c.send(initialized, listTools)
		c.next()
		<-time.After(2900 * time.Millisecond)
		synctest.Wait()
		if h.tabs() != 0 {
			t.Errorf("%d tabs after 2.9 s, want 0", h.tabs())
		}
		<-time.After(200 * time.Millisecond)
		synctest.Wait()
		if h.tabs() != 1 {
			t.Errorf("%d tabs after 3.1 s, want 1", h.tabs())
		}
		c.finish()
	})
}

// TestCallWaitsBounded: a call waits for the human, fails with the URL after CallWait, and the next one succeeds.
func TestCallWaitsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &human{}
		c := start(t, inMemory(protected(&server{}), h))
		c.send(initialize)
		c.next()
		c.send(initialized)
		began := time.Now()
		c.send(fmt.Sprintf(unknownCall, "1"))
		select {
		case line := <-c.lines:
			if !strings.Contains(line, "sign_in_required") || !strings.Contains(line, "https://idp.example/authorize") {
				t.Errorf("the call got %s", line)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("no answer within 2 minutes")
		}
		if waited := time.Since(began); waited != 55*time.Second {
			t.Errorf("the call waited %v, want 55 s", waited)
		}
		c.send(fmt.Sprintf(unknownCall, "2"))
		synctest.Wait()
		h.end(nil)
		got := []string{c.next(), c.next(), c.next(), c.next()}
		if !strings.Contains(strings.Join(got, "\n"), `{"jsonrpc":"2.0","id":2,"result":{}}`) {
			t.Errorf("got %q", got)
		}
		c.finish()
	})
}

// TestPendingCallIsAnsweredAfterSignIn: a token refused in the middle of a session leads to one sign-in, and the call
// that was waiting is sent again and answered. Lists do not wait meanwhile.
func TestPendingCallIsAnsweredAfterSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := &human{signedIn: true}, &server{}
		c := start(t, inMemory(protected(s), h))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized, listTools)
		c.next()
		h.revoke("your identity provider refused to renew this sign-in")
		c.send(fmt.Sprintf(unknownCall, "2"), fmt.Sprintf(unknownCall, "3"))
		synctest.Wait()
		c.send(listTools)
		if got := c.next(); !strings.Contains(got, `"name":"sign_in"`) || !strings.Contains(got, "refused to renew") {
			t.Errorf("tools/list meanwhile: %s", got)
		}
		h.end(nil)
		all := strings.Join([]string{c.next(), c.next(), c.next()}, "\n")
		for _, want := range []string{toolsChanged, `{"jsonrpc":"2.0","id":2,"result":{}}`, `{"jsonrpc":"2.0","id":3,"result":{}}`} {
			if !strings.Contains(all, want) {
				t.Errorf("missing %s in\n%s", want, all)
			}
		}
		if handshakes := strings.Count(fmt.Sprint(s.requests()), "clientInfo"); handshakes != 1 {
			t.Errorf("%d handshakes, want 1", handshakes)
		}
		c.finish()
	})
}

// TestSignInFails: the waiting call is told why, and why the sign-in was needed.
func TestSignInFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &human{reason: "your identity provider refused to renew this sign-in"}
		c := start(t, inMemory(protected(&server{}), h))
		c.send(initialize)
		c.next()
		c.send(initialized, fmt.Sprintf(unknownCall, "1"))
		synctest.Wait()
		h.end(errors.New("access_denied"))
		d := c.wantError("1", "sign_in_failed")
		if !strings.Contains(d.Message, "refused to renew") || !strings.Contains(d.Cause, "access_denied") {
			t.Errorf("data = %+v", d)
		}
		c.finish()
	})
}

// TestSlowServer: initialize and lists are answered within the budget though the server is silent, and the server's
// handshake counts when it comes.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.Header.Get("Mcp-Session-Id") == "" {
				pass(r, 20*time.Second)
			}
			s.ServeHTTP(w, r)
		})
		c := start(t, inMemory(slow, open{}))
		began := time.Now()
		c.send(initialize)
		if got := c.next(); !strings.HasPrefix(got, earlyResult) {
			t.Fatalf("initialize: %s", got)
		}
		c.send(initialized, listTools)
		if got := c.next(); !strings.Contains(got, `"name":"sign_in"`) {
			t.Fatalf("tools/list: %s", got)
		}
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("both answers took %v, want 2.5 s each", waited)
		}
		for range 3 {
			if got := c.next(); !strings.Contains(got, "list_changed") {
				t.Errorf("got %s", got)
			}
		}
		c.send(listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		c.finish()
	})
}

// TestAdvertisedButAbsent: a list that the bridge advertised and the server lacks is empty, not an error.
func TestAdvertisedButAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := &human{}, &server{}
		s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
			answerJSON(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`)
		}
		c := start(t, inMemory(protected(s), h))
		c.send(initialize)
		c.next()
		c.send(initialized)
		synctest.Wait()
		h.end(nil)
		for range 3 {
			c.next()
		}
		c.send(`{"jsonrpc":"2.0","id":1,"method":"prompts/list"}`)
		c.want(`{"jsonrpc":"2.0","id":1,"result":{"prompts":[]}}`)
		c.send(fmt.Sprintf(unknownCall, "1"))
		c.want(`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`)
		c.finish()
	})
}

// TestEnds: the end of input waits for what is due, for at most 10 s and for no human; a signal waits for nothing.
func TestEnds(t *testing.T) {
	slowCall := func(d time.Duration) *server {
		return &server{handle: func(w http.ResponseWriter, r *http.Request, rpc, body string) {
			if rpc == "tools/call" {
				pass(r, d)
			}
			answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":"late"}`)
		}}
	}
	tests := []struct {
		name   string
		auth   bridge.Authorizer
		server *server
		signal bool
		want   time.Duration
		answer string
	}{
		{"input ends, answer due", open{}, slowCall(4 * time.Second), false, 4 * time.Second, `"late"`},
		{"input ends, answer never comes", open{}, slowCall(time.Minute), false, 10 * time.Second, ""},
		{"input ends, human needed", &human{}, &server{}, false, 0, "sign_in_required"},
		{"signal", open{}, slowCall(time.Minute), true, 0, ""},
		{"signal, human needed", &human{}, &server{}, true, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler := http.Handler(tt.server)
				if _, ok := tt.auth.(*human); ok {
					handler = protected(tt.server)
				}
				c := start(t, inMemory(handler, tt.auth))
				c.send(initialize)
				c.next()
				c.send(initialized, fmt.Sprintf(unknownCall, "1"))
				synctest.Wait()
				began := time.Now()
				if tt.signal {
					c.signal()
				} else {
					_ = c.stdin.Close()
				}
				if err := <-c.ended; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != tt.want {
					t.Errorf("it took %v, want %v", took, tt.want)
				}
				var rest []string
				for line := range c.lines {
					rest = append(rest, line)
				}
				if got := strings.Join(rest, "\n"); !strings.Contains(got, tt.answer) || tt.answer == "" && got != "" {
					t.Errorf("stdout then has %q, want %q", got, tt.answer)
				}
			})
		})
	}
}

// TestBackgroundNeverSignsIn: the GET stream, notifications and responses are marked as background traffic.
func TestBackgroundNeverSignsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &human{signedIn: true}
		c := start(t, inMemory(protected(&server{}), h))
		c.send(initialize)
		c.next()
		h.revoke("")
		c.send(initialized, `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`, `{"jsonrpc":"2.0","id":"srv","result":{}}`)
		<-time.After(10 * time.Minute)
		synctest.Wait()
		for _, a := range h.attempts {
			if !a.Background {
				t.Errorf("attempt %+v is not background", a)
			}
		}
		if len(h.attempts) > 10 || h.tabs() != 0 {
			t.Errorf("%d attempts and %d tabs in 10 idle minutes", len(h.attempts), h.tabs())
		}
		c.finish()
	})
}
