package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// departed is a transport to a server that is away until it is back.
type departed struct {
	http.RoundTripper
	mu    sync.Mutex
	away  bool
	tries int
}

func (g *departed) RoundTrip(req *http.Request) (*http.Response, error) {
	g.mu.Lock()
	g.tries++
	away := g.away
	g.mu.Unlock()
	if away {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	return g.RoundTripper.RoundTrip(req)
}

func (g *departed) set(away bool) { g.mu.Lock(); defer g.mu.Unlock(); g.away = away }

func (g *departed) count() int { g.mu.Lock(); defer g.mu.Unlock(); return g.tries }

// TestServerAway: a server that is away at the start is answered for at once, from memory where there is one, and found
// by itself when it is back. A call waits a little and is told why it fails.
func TestServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, l := remembering(t)
		cfg := inMemory(s, open{})
		g := &departed{RoundTripper: cfg.HTTP.Transport, away: true}
		cfg.HTTP, cfg.Memory = &http.Client{Transport: g}, m
		c := start(t, cfg)
		began := time.Now()
		c.send(initialize)
		c.want(keptInit)
		c.send(initialized, listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":` + twoTools + `}`)
		c.send(listPrompts)
		c.want(`{"jsonrpc":"2.0","id":2,"result":` + onePrompt + `}`)
		c.send(`{"jsonrpc":"2.0","id":4,"method":"resources/list"}`)
		c.wantError("4", "unreachable")
		if took := time.Since(began); took != 0 {
			t.Errorf("the answers took %v, want none", took)
		}
		c.send(fmt.Sprintf(unknownCall, "3"))
		d := c.wantError("3", "unreachable")
		if took := time.Since(began); took < 2500*time.Millisecond || took > 4*time.Second || d.Hint == "" {
			t.Errorf("the call failed after %v with %+v", took, d)
		}
		l.set("prompts/list", `{"prompts":[]}`)
		began = time.Now()
		g.set(false)
		got := map[string]bool{c.next(): true, c.next(): true}
		// resources could not be answered; prompts are others than the client was given; tools are not.
		if want := map[string]bool{`{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`: true, promptsChanged: true}; !maps.Equal(got, want) {
			t.Errorf("told of %v", got)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the server was found after %v", took)
		}
		c.send(listPrompts)
		c.want(`{"jsonrpc":"2.0","id":2,"result":{"prompts":[]}}`)
		c.quiet(t)
		c.finish()
	})
}

// TestOwnRequestsHaveTheirIDs: no id of the bridge's own requests comes twice, also where it fetches page after page of a
// list, to compare it with what it had kept.
func TestOwnRequestsHaveTheirIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, l := remembering(t)
		cfg := inMemory(s, open{})
		g := &departed{RoundTripper: cfg.HTTP.Transport, away: true}
		cfg.HTTP, cfg.Memory = &http.Client{Transport: g}, m
		c := start(t, cfg)
		c.send(initialize)
		c.want(keptInit)
		c.send(initialized, listTools)
		c.next()
		l.set("tools/list", `{"tools":[],"nextCursor":"2"}`)
		l.set("tools/list2", `{"tools":[],"nextCursor":"3"}`)
		l.set("tools/list3", `{"tools":[{"name":"c"}]}`)
		g.set(false)
		c.want(toolsChanged)
		ids := map[string]int{}
		for _, r := range s.requests() {
			if _, id, own := strings.Cut(r.Body, `"drawbridge:`); own {
				id, _, _ = strings.Cut(id, `"`)
				ids[id]++
			}
		}
		for id, n := range ids {
			if n > 1 {
				t.Errorf("id %s came %d times", id, n)
			}
		}
		if got := m.all()["ada: tools/list"]; len(ids) < 3 || got != `{"tools":[{"name":"c"}]}` {
			t.Errorf("%d requests of the bridge's own; kept %s", len(ids), got)
		}
		c.finish()
	})
}

// TestRequestHurriesTheNextTry: nobody waits for a pause between two tries when the server is back.
func TestRequestHurriesTheNextTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := inMemory(&server{}, open{})
		g := &departed{RoundTripper: cfg.HTTP.Transport, away: true}
		cfg.HTTP = &http.Client{Transport: g}
		c := start(t, cfg)
		c.send(initialize)
		c.next()
		c.send(initialized)
		<-time.After(20 * time.Minute)
		before := g.count()
		<-time.After(2 * time.Minute)
		if n := g.count() - before; n < 4 || n > 8 {
			t.Errorf("%d tries in two minutes, want one every 15 to 30 s", n)
		}
		for before = g.count(); g.count() == before; { // until just after a try
			<-time.After(10 * time.Millisecond)
		}
		g.set(false)
		began := time.Now()
		c.send(fmt.Sprintf(unknownCall, "3"))
		for line := ""; !strings.Contains(line, `"id":3,"result"`); {
			line = c.next()
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the call took %v though the server is back", took)
		}
		c.finish()
	})
}

// TestAwayOrWrong: initialize is answered in the server's place where waiting may help, else with the error.
func TestAwayOrWrong(t *testing.T) {
	refusal := `{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"no"}}`
	for name, tt := range map[string]struct {
		status int
		body   string
		early  bool
	}{
		"overloaded":                {http.StatusServiceUnavailable, "", true},
		"gateway's JSON-RPC error":  {http.StatusBadGateway, refusal, true},
		"too many requests":         {http.StatusTooManyRequests, "", true},
		"request time-out":          {http.StatusRequestTimeout, "", true},
		"not found":                 {http.StatusNotFound, "", false},
		"forbidden":                 {http.StatusForbidden, "", false},
		"server's refusal":          {http.StatusOK, refusal, false},
		"server's refusal with 400": {http.StatusBadRequest, refusal, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := start(t, inMemory(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(tt.status)
					_, _ = w.Write([]byte(tt.body))
				}), open{}))
				c.send(initialize)
				if got := c.next(); strings.HasPrefix(got, earlyResult) != tt.early || !tt.early && !strings.Contains(got, `"error"`) {
					t.Errorf("initialize: %s", got)
				}
				c.finish()
			})
		})
	}
}

// tryer is an Authorizer that notes which tries count as traffic that nobody asked for.
type tryer struct {
	open
	mu      sync.Mutex
	unasked []bool
}

func (a *tryer) Authorize(req *http.Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unasked = append(a.unasked, bridge.IsBackground(req.Context()))
	return nil
}

// TestTriesRenewNothing: only the first try is the client's; those that follow by themselves renew no sign-in for a client
// that is idle. Retry-After is honoured between them.
func TestTriesRenewNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, began := &tryer{}, time.Now()
		var second time.Duration
		c := start(t, inMemory(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if a.mu.Lock(); len(a.unasked) == 2 {
				second = time.Since(began)
			}
			a.mu.Unlock()
			w.Header().Set("Retry-After", "10")
			w.WriteHeader(http.StatusServiceUnavailable)
		}), a))
		c.send(initialize)
		c.next()
		<-time.After(time.Minute)
		a.mu.Lock()
		defer a.mu.Unlock()
		for i, unasked := range a.unasked {
			if unasked != (i > 0) {
				t.Errorf("try %d is unasked: %v", i, unasked)
			}
		}
		if len(a.unasked) < 3 || second != 10*time.Second {
			t.Errorf("%d tries in a minute, the second after %v", len(a.unasked), second)
		}
	})
}

// TestIdleBridgeIsSilent: half an hour after the client's last request a server that is away is not tried any more, until
// the next request.
func TestIdleBridgeIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := inMemory(&server{}, open{})
		g := &departed{RoundTripper: cfg.HTTP.Transport, away: true}
		cfg.HTTP = &http.Client{Transport: g}
		c := start(t, cfg)
		c.send(initialize)
		c.next()
		c.send(initialized)
		<-time.After(31 * time.Minute)
		before := g.count()
		for range 600 { // a client's keep-alive is no use of the server
			<-time.After(time.Minute)
			c.send(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
			c.next()
		}
		if n := g.count() - before; n != 0 {
			t.Errorf("%d tries in ten idle hours", n)
		}
		g.set(false)
		c.send(listTools)
		for line := ""; !strings.Contains(line, `"id":1,"result"`); {
			line = c.next()
		}
		c.finish()
	})
}

// TestSlowList: a list that the server is slow with is answered from memory at the end of the budget, and the client is
// told when the server's answer is another one. Without memory the server has the time it takes.
func TestSlowList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, l := remembering(t)
		cfg := inMemory(s, open{})
		cfg.Memory = m
		c := start(t, cfg)
		c.send(initialize)
		c.want(fullInit)
		c.send(initialized)
		l.delay(15 * time.Second)
		began := time.Now()
		c.send(listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":` + twoTools + `}`)
		if took := time.Since(began); took != 2500*time.Millisecond {
			t.Errorf("the list took %v", took)
		}
		c.quiet(t) // nothing new
		l.set("tools/list", `{"tools":[]}`)
		c.send(listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":` + twoTools + `}`)
		c.want(toolsChanged)
		if got := m.all()["ada: tools/list"]; got != `{"tools":[]}` {
			t.Errorf("kept %s", got)
		}
		m.belongTo("bob") // of whom nothing is kept
		began = time.Now()
		c.send(listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`)
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("the list took %v", took)
		}
		c.finish()
	})
}

// TestAwayInTheMiddle: lists of a standing session come from memory while the server is away, and are compared when it is
// back.
func TestAwayInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, l := remembering(t)
		cfg := inMemory(s, open{})
		g := &departed{RoundTripper: cfg.HTTP.Transport}
		cfg.HTTP, cfg.Memory = &http.Client{Transport: g}, m
		c := start(t, cfg)
		c.send(initialize)
		c.want(fullInit)
		c.send(initialized)
		synctest.Wait()
		g.set(true)
		c.send(listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":` + twoTools + `}`)
		<-time.After(5 * time.Second)
		l.set("tools/list", `{"tools":[]}`)
		g.set(false)
		c.want(toolsChanged)
		c.send(listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`)
		c.finish()
	})
}

// silentIdP is an Authorizer whose identity provider does not answer for a while.
type silentIdP struct {
	human
	until time.Duration
	began time.Time
}

// passing is an error that says that it may pass.
type passing struct{ error }

func (passing) Passing() bool { return true }

func (s *silentIdP) Challenged(ctx context.Context, resp *http.Response, a bridge.Attempt) (bridge.Verdict, error) {
	if time.Since(s.began) < s.until {
		select {
		case <-time.After(30 * time.Second):
			return bridge.Refused, passing{errors.New("no answer from the identity provider")}
		case <-ctx.Done():
			return bridge.Refused, ctx.Err()
		}
	}
	return s.human.Challenged(ctx, resp, a)
}

// TestSilentIdentityProvider: the identity provider says nothing for ten minutes. The client never waits longer than the
// budget, nor a call longer than its limit; when the person has signed in, tools, prompts and resources are there.
func TestSilentIdentityProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lists{of: map[string]string{"tools/list": twoTools, "prompts/list": onePrompt}}
		s := &server{init: fullInit, handle: l.handle}
		h := &silentIdP{until: 10 * time.Minute, began: time.Now()}
		c := start(t, inMemory(protected(s), h))
		within := func(limit time.Duration, line string) string {
			t.Helper()
			began := time.Now()
			c.send(line)
			select {
			case got := <-c.lines:
				if took := time.Since(began); took > limit {
					t.Errorf("%s was answered after %v", line, took)
				}
				return got
			case <-time.After(time.Hour):
				t.Fatalf("%s was not answered", line)
				return ""
			}
		}
		const budget = 2500 * time.Millisecond
		if got := within(budget, initialize); !strings.HasPrefix(got, earlyResult) {
			t.Errorf("initialize: %s", got)
		}
		c.send(initialized)
		for time.Since(h.began) < 10*time.Minute {
			if got := within(budget, listTools); !strings.Contains(got, `"name":"sign_in"`) {
				t.Errorf("tools/list: %s", got)
			}
			if got := within(budget, listPrompts); !strings.Contains(got, `{"prompts":[]}`) {
				t.Errorf("prompts/list: %s", got)
			}
			if got := within(55*time.Second, fmt.Sprintf(unknownCall, "3")); !strings.Contains(got, "drawbridge: ") {
				t.Errorf("tools/call: %s", got)
			}
			within(0, `{"jsonrpc":"2.0","id":"p","method":"ping"}`)
			<-time.After(time.Minute)
		}
		for h.tabs() == 0 { // it opens by itself
			<-time.After(time.Second)
		}
		if took := time.Since(h.began); took > 12*time.Minute {
			t.Errorf("the tab came after %v", took)
		}
		h.end(nil)
		for range 3 {
			if got := c.next(); !strings.Contains(got, "list_changed") {
				t.Errorf("got %s", got)
			}
		}
		if got := within(0, listTools); got != `{"jsonrpc":"2.0","id":1,"result":`+twoTools+`}` {
			t.Errorf("tools/list: %s", got)
		}
		if got := within(0, listPrompts); got != `{"jsonrpc":"2.0","id":2,"result":`+onePrompt+`}` {
			t.Errorf("prompts/list: %s", got)
		}
		c.finish()
	})
}
