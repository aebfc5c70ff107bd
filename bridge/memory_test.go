package bridge_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shelf is a Memory.
type shelf struct {
	mu    sync.Mutex
	owner string
	kept  map[string]string // by owner and name
}

func (s *shelf) Owner() string { s.mu.Lock(); defer s.mu.Unlock(); return s.owner }

func (s *shelf) belongTo(owner string) { s.mu.Lock(); defer s.mu.Unlock(); s.owner = owner }

func (s *shelf) Recall(owner, name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, ok := s.kept[owner+": "+name]; ok {
		return []byte(text)
	}
	return nil
}

func (s *shelf) Keep(owner, name string, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[string]string{}
	}
	s.kept[owner+": "+name] = string(raw)
}

func (s *shelf) all() map[string]string { s.mu.Lock(); defer s.mu.Unlock(); return maps.Clone(s.kept) }

// lists answers lists with what a test sets, by method; "" is answered with -32601.
type lists struct {
	mu sync.Mutex
	of map[string]string // result by method, and by method and cursor
	d  time.Duration     // before each answer
}

func (l *lists) set(method, result string) { l.mu.Lock(); defer l.mu.Unlock(); l.of[method] = result }

func (l *lists) delay(d time.Duration) { l.mu.Lock(); defer l.mu.Unlock(); l.d = d }

func (l *lists) handle(w http.ResponseWriter, r *http.Request, rpc, body string) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	_, cursor, _ := strings.Cut(body, `"cursor":"`)
	cursor, _, _ = strings.Cut(cursor, `"`)
	_, id, _ := strings.Cut(body, `"id":`)
	id, _, _ = strings.Cut(id, `,`)
	l.mu.Lock()
	result, d := l.of[rpc+cursor], l.d
	l.mu.Unlock()
	pass(r, d)
	switch {
	case rpc == "tools/call":
		result = `{}`
	case result == "":
		answerJSON(w, `{"jsonrpc":"2.0","id":`+id+`,"error":{"code":-32601,"message":"no such list"}}`)
		return
	}
	answerJSON(w, `{"jsonrpc":"2.0","id":`+id+`,"result":`+result+`}`)
}

const (
	fullInit = `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"prompts":{},"tools":{"x":12345678901234567890}},"serverInfo":{"name":"real","version":"1"},"instructions":"be nice"}}`
	// keptInit is fullInit as it is said in the server's place.
	keptInit = `{"jsonrpc":"2.0","id":0,"result":{"capabilities":{"prompts":{"listChanged":true},"tools":{"listChanged":true,"x":12345678901234567890}},"instructions":"be nice","protocolVersion":"2025-06-18","serverInfo":{"name":"real","version":"1"}}}`

	twoTools       = `{ "tools" : [{"name":"a","x":1.0},{"name":"b"}], "_meta":{"n":12345678901234567890}}`
	onePrompt      = `{"prompts":[{"name":"p"}]}`
	listPrompts    = `{"jsonrpc":"2.0","id":2,"method":"prompts/list"}`
	promptsChanged = `{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`
)

// remembering returns what is kept of a server by a bridge that read both its lists, and the server.
func remembering(t *testing.T) (*shelf, *server, *lists) {
	l := &lists{of: map[string]string{"tools/list": twoTools, "prompts/list": onePrompt}}
	s, m := &server{init: fullInit, handle: l.handle}, &shelf{owner: "ada"}
	cfg := inMemory(s, open{})
	cfg.Memory = m
	c := start(t, cfg)
	c.send(initialize)
	c.want(fullInit)
	c.send(initialized, listTools)
	c.want(`{"jsonrpc":"2.0","id":1,"result":` + twoTools + `}`)
	c.send(listPrompts)
	c.want(`{"jsonrpc":"2.0","id":2,"result":` + onePrompt + `}`)
	c.finish()
	return m, s, l
}

// TestKept: what a server says is kept as it sent it, for whom it was said to; a list once all its pages are known.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, l := remembering(t)
		result := strings.TrimSuffix(strings.TrimPrefix(fullInit, `{"jsonrpc":"2.0","id":0,"result":`), "}")
		want := map[string]string{"ada: initialize 2025-06-18": result, "ada: tools/list": twoTools, "ada: prompts/list": onePrompt}
		if diff := cmp.Diff(want, m.all()); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
		l.set("tools/list", `{"tools":[ {"name":"a"}, {"name":"b"} ],"nextCursor":"2"}`)
		l.set("tools/list2", `{"tools":[],"nextCursor":"3"}`)
		l.set("tools/list3", `{"tools":[{"name":"c"}],"_meta":{}}`)
		cfg := inMemory(s, open{})
		cfg.Memory = m
		c := start(t, cfg)
		c.send(initialize)
		c.next()
		c.send(initialized)
		page := func(cursor string) {
			c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"` + cursor + `"}}`)
			c.next()
		}
		kept := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := m.all()["ada: tools/list"]; got != want {
				t.Errorf("kept\n%s\nwant\n%s", got, want)
			}
		}
		page("")
		page("2")
		kept(twoTools)
		page("3")
		kept(`{"tools":[{"name":"a"}, {"name":"b"},{"name":"c"}]}`)
		l.set("tools/list3", `{"tools":[{"name":"d"}]}`)
		page("3") // a page out of order is part of no list
		page("")
		page("3")
		kept(`{"tools":[{"name":"a"}, {"name":"b"},{"name":"c"}]}`)
		l.delay(time.Second)
		l.set("prompts/list", `{"prompts":[]}`)
		c.send(listPrompts)
		synctest.Wait()
		m.belongTo("bob") // somebody else signed in meanwhile
		c.next()
		c.finish()
		for name, text := range m.all() {
			if strings.HasPrefix(name, "bob") || text == `{"prompts":[]}` {
				t.Errorf("kept after ada was gone: %s = %s", name, text)
			}
		}
	})
}

// TestKeptWhilePending: while a person signs in, the client has the lists of last time and sign_in beside the tools.
// Afterwards it is told of those that are not what it has, and of no others.
func TestKeptWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := remembering(t)
		h := &human{}
		cfg := inMemory(protected(s), h)
		cfg.Memory = m
		c := start(t, cfg)
		c.send(initialize)
		c.want(keptInit)
		c.send(initialized, listPrompts)
		c.want(`{"jsonrpc":"2.0","id":2,"result":` + onePrompt + `}`)
		c.send(listTools)
		got := c.next()
		if !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"description":"Sign in to mcp.example.`) || !strings.HasSuffix(got, `,{"name":"a","x":1.0},{"name":"b"}]}}`) {
			t.Errorf("tools/list: %s", got)
		}
		c.send(fmt.Sprintf(unknownCall, "3"))
		synctest.Wait()
		h.end(nil)
		all := c.next() + "\n" + c.next()
		if !strings.Contains(all, toolsChanged) || !strings.Contains(all, `"id":3,"result":{}`) {
			t.Errorf("after the sign-in: %s", all)
		}
		c.send(listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":` + twoTools + `}`)
		c.quiet(t)
		if got := m.all()["ada: tools/list"]; got != twoTools {
			t.Errorf("kept %s", got)
		}
		c.finish()
	})
}

// quiet fails if anything comes within a minute.
func (c *client) quiet(t *testing.T) {
	t.Helper()
	select {
	case line := <-c.lines:
		t.Errorf("unexpected: %s", line)
	case <-time.After(time.Minute):
	}
}

// TestOwnSignInTool: a server's tool of the name sign_in is the server's.
func TestOwnSignInTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := remembering(t)
		m.Keep("ada", "tools/list", []byte(`{"tools":[{"name":"sign_in"}]}`))
		h := &human{}
		cfg := inMemory(protected(s), h)
		cfg.Memory = m
		c := start(t, cfg)
		c.send(initialize)
		c.next()
		c.send(initialized, listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"sign_in"}]}}`)
		c.send(`{"jsonrpc":"2.0","id":"s","method":"tools/call","params":{"name":"sign_in"}}`)
		synctest.Wait()
		h.end(nil)
		for range 2 {
			if got := c.next(); got != toolsChanged && got != `{"jsonrpc":"2.0","id":"s","result":{}}` {
				t.Errorf("got %s", got)
			}
		}
		if !sawCall(s, `"name":"sign_in"`) {
			t.Error("the call did not reach the server")
		}
		c.finish()
	})
}

// TestBadMemory: what is kept and is no list, or no handshake, counts as nothing.
func TestBadMemory(t *testing.T) {
	for _, text := range []string{"", "garbage", `[]`, `{"tools":{}}`, `{"tools":[`, `{"capabilities":[],"tools":null}`} {
		synctest.Test(t, func(t *testing.T) {
			m := &shelf{owner: "ada"}
			m.Keep("ada", "tools/list", []byte(text))
			m.Keep("ada", "initialize 2025-06-18", []byte(text))
			cfg := inMemory(protected(&server{}), &human{})
			cfg.Memory = m
			c := start(t, cfg)
			c.send(initialize)
			if got := c.next(); !strings.HasPrefix(got, earlyResult) {
				t.Errorf("initialize: %s", got)
			}
			c.send(initialized, listTools)
			if got := c.next(); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"description":"Sign in`) || strings.Count(got, `"name"`) != 1 {
				t.Errorf("tools/list: %s", got)
			}
			c.finish()
		})
	}
}

// TestRevisionOfTheClient: the handshake of memory serves a client that asks for the same revision, and no other.
func TestRevisionOfTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := remembering(t)
		cfg := inMemory(protected(s), &human{})
		cfg.Memory = m
		c := start(t, cfg)
		c.send(strings.Replace(initialize, "2025-06-18", "2025-03-26", 1))
		if got := c.next(); !strings.HasPrefix(got, earlyResult) || !strings.Contains(got, `"protocolVersion":"2025-03-26"`) {
			t.Errorf("initialize: %s", got)
		}
		c.finish()
	})
}

// TestHandshakeOfSomebodyElse: an answer to initialize is kept for whom it was said to. It was kept for whoever was signed in
// when it came.
func TestHandshakeOfSomebodyElse(t *testing.T) {
	for _, other := range []string{"ada", "bob"} {
		synctest.Test(t, func(t *testing.T) {
			m, s := &shelf{owner: "ada"}, &server{}
			cfg := inMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				pass(r, time.Second)
				s.ServeHTTP(w, r)
			}), open{})
			cfg.Memory = m
			c := start(t, cfg)
			c.send(initialize, initialized)
			synctest.Wait()
			m.belongTo(other)
			c.want(initResult)
			<-time.After(time.Minute)
			if kept := m.all(); len(kept) > 0 != (other == "ada") {
				t.Errorf("said to ada and heard by %s; kept %v", other, kept)
			}
			c.finish()
		})
	}
}
