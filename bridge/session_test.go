package bridge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// forgetful is a server that can drop its session. It notes what it gets as "session method".
type forgetful struct {
	mu      sync.Mutex
	session int    // 0: none
	opened  int    // how many there were
	refusal answer // of a session that it does not know
	streams bool
	got     []string
	push    chan string                                                // events for the GET stream
	handle  func(w http.ResponseWriter, r *http.Request, a asked) bool // true if it answered
}

func (s *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a := readAsked(r, body)
	known, name := s.note(a)
	switch {
	case !known:
		for _, h := range s.refusal.header {
			key, value, _ := strings.Cut(h, ": ")
			w.Header().Set(key, value)
		}
		w.WriteHeader(s.refusal.status)
		for _, b := range s.refusal.body {
			_, _ = io.WriteString(w, b.text)
		}
	case a.rpc == "initialize":
		w.Header().Set("Mcp-Session-Id", name)
		answerJSON(w, initResult)
	case s.handle != nil && s.handle(w, r, a):
	case r.Method == http.MethodGet && s.streams:
		emit := events(w)
		for {
			select {
			case e := <-s.push:
				emit(e)
			case <-r.Context().Done():
				return
			}
		}
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case a.id == "" || a.rpc == "":
		w.WriteHeader(http.StatusAccepted)
	default:
		answerJSON(w, `{"jsonrpc":"2.0","id":`+a.id+`,"result":{}}`)
	}
}

// note writes down what came; known says whether the session of a is the server's.
func (s *forgetful) note(a asked) (known bool, session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.rpc == "initialize" {
		s.opened++
		s.session = s.opened
	}
	session = fmt.Sprint("s", s.session)
	known = a.rpc == "initialize" || a.http == http.MethodDelete || s.session > 0 && a.header.Get("Mcp-Session-Id") == session
	what := a.rpc
	if a.http != http.MethodPost {
		what = a.http
	} else if what == "" {
		what = "response"
	}
	if known {
		s.got = append(s.got, session+" "+what)
	}
	return known, session
}

func (s *forgetful) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = 0
}

// seen returns what came since the last time, but for GETs.
func (s *forgetful) seen() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.got {
		if !strings.HasSuffix(g, " GET") {
			list = append(list, g)
		}
	}
	s.got = nil
	return list
}

var notFound = answer{status: http.StatusNotFound}

// TestDroppedSession: whatever words a server finds for a session it dropped, the refused request is answered in a new
// one, opened once with the client's own parameters, log level and subscriptions; then the client is told to ask for its
// lists again.
func TestDroppedSession(t *testing.T) {
	for i, refusal := range []answer{
		notFound,
		{status: 404, header: []string{jsonType}, body: []part{{text: `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}`}}},
		{status: 404, header: []string{jsonType}, body: []part{{text: `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":7}`}}},
		{status: 400, header: []string{jsonType}, body: []part{{text: `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`}}},
		{status: 400, header: []string{jsonType}, body: []part{{text: `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}`}}},
		{status: 400, header: []string{jsonType}, body: []part{{text: `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request: Missing session ID"}}`}}},
		{status: 400, header: []string{"Content-Type: text/plain"}, body: []part{{text: "Invalid session ID"}}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &forgetful{refusal: refusal}
				c := start(t, inMemory(s, open{}))
				c.send(initialize)
				c.want(initResult)
				c.send(initialized)
				for _, m := range []string{`"logging/setLevel","params":{"level":"error"}`, `"resources/subscribe","params":{"uri":"a:1"}`,
					`"resources/subscribe","params":{"uri":"a:2"}`, `"resources/unsubscribe","params":{"uri":"a:1"}`} {
					c.send(`{"jsonrpc":"2.0","id":1,"method":` + m + `}`)
					c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
				}
				synctest.Wait()
				s.seen()
				s.forget()
				c.send(fmt.Sprintf(unknownCall, "7"))
				c.want(`{"jsonrpc":"2.0","id":7,"result":{}}`)
				c.want(toolsChanged)
				synctest.Wait()
				got := s.seen()
				slices.Sort(got[min(3, len(got)):]) // subscriptions are restored beside what waits
				want := []string{"s2 initialize", "s2 notifications/initialized", "s2 logging/setLevel", "s2 resources/subscribe", "s2 tools/call"}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				c.finish()
				if got := s.seen(); !cmp.Equal(got, []string{"s2 DELETE"}) {
					t.Errorf("at the end the server gets %v", got)
				}
			})
		})
	}
}

// TestErrorOfACallIsNoLostSession: a 400 that answers the request, and speaks of another kind of session, is the server's.
func TestErrorOfACallIsNoLostSession(t *testing.T) {
	s := &forgetful{}
	s.handle = func(w http.ResponseWriter, r *http.Request, a asked) bool {
		if a.rpc != "tools/call" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"your shopping session expired"}}`)
		return true
	}
	c := start(t, serve(t, s))
	c.send(initialize)
	c.want(initResult)
	c.send(initialized, fmt.Sprintf(unknownCall, "7"))
	c.want(`{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"your shopping session expired"}}`)
	c.finish()
	if s.opened != 1 {
		t.Errorf("%d sessions were opened", s.opened)
	}
}

// TestInFlightWhenTheSessionIsLost: of the requests that are under way when another finds the session lost, refused ones
// are sent again, and those without an answer after a grace are unknown, unless they may run twice.
func TestInFlightWhenTheSessionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &forgetful{refusal: notFound}
		s.handle = func(w http.ResponseWriter, r *http.Request, a asked) bool {
			if strings.HasSuffix(a.id, "00") && a.header.Get("Mcp-Session-Id") == "s1" {
				<-r.Context().Done()
				return true
			}
			return false
		}
		c := start(t, inMemory(s, open{}))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized, fmt.Sprintf(unknownCall, "100"), `{"jsonrpc":"2.0","id":200,"method":"resources/read","params":{"uri":"x"}}`)
		synctest.Wait()
		s.forget()
		began := time.Now()
		var calls []string
		for i := range 8 {
			calls = append(calls, fmt.Sprintf(unknownCall, fmt.Sprint(i+1)))
		}
		c.send(calls...)
		answered := map[string]bool{}
		for len(answered) < 8 {
			if line := c.next(); line != toolsChanged {
				answered[line] = true
			}
		}
		for i := range 8 {
			if !answered[fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{}}`, i+1)] {
				t.Errorf("call %d was not answered by the server: %v", i+1, answered)
			}
		}
		if s.opened != 2 || time.Since(began) > 0 {
			t.Errorf("%d sessions were opened in %v, want 2 at once", s.opened, time.Since(began))
		}
		<-time.After(5 * time.Second)
		lines := []string{c.next(), c.next()}
		if strings.Contains(lines[0], `"id":200`) {
			lines[0], lines[1] = lines[1], lines[0]
		}
		if !strings.Contains(lines[0], `"id":100,"error":{"code":5040`) || !strings.Contains(lines[0], "forgot the session") {
			t.Errorf("the call under way is answered with %s", lines[0])
		}
		if lines[1] != `{"jsonrpc":"2.0","id":200,"result":{}}` {
			t.Errorf("the read under way is answered with %s", lines[1])
		}
		c.finish()
	})
}

// TestRequestsOfALostSession: the client is told that a request of the server is void, and an answer that comes all the
// same is not sent into the new session, whose requests may have the same ids.
func TestRequestsOfALostSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &forgetful{refusal: notFound, streams: true, push: make(chan string)}
		c := start(t, inMemory(s, open{}))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized)
		s.push <- `data: {"jsonrpc":"2.0","id":"q","method":"elicitation/create"}`
		c.want(`{"jsonrpc":"2.0","id":"q","method":"elicitation/create"}`)
		s.forget()
		c.send(fmt.Sprintf(unknownCall, "1"))
		c.want(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q","reason":"the server forgot the session"}}`)
		for line := c.next(); line != `{"jsonrpc":"2.0","id":1,"result":{}}`; line = c.next() {
		}
		c.send(`{"jsonrpc":"2.0","id":"q","result":{}}`)
		synctest.Wait()
		for _, g := range s.seen() {
			if strings.HasSuffix(g, " response") {
				t.Error("the answer to a request of the lost session was sent")
			}
		}
		s.push <- `data: {"jsonrpc":"2.0","id":"r","method":"elicitation/create"}`
		for line := c.next(); !strings.Contains(line, `"id":"r"`); line = c.next() {
		}
		c.send(`{"jsonrpc":"2.0","id":"r","result":{}}`)
		synctest.Wait()
		if got := s.seen(); !cmp.Equal(got, []string{"s2 response"}) {
			t.Errorf("the server gets %v, want the response", got)
		}
		c.finish()
	})
}

// TestClientInitializesAgain: the session that is replaced is ended at the server.
func TestClientInitializesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deleted := make(chan string, 2)
		s := &forgetful{refusal: notFound}
		s.handle = func(w http.ResponseWriter, r *http.Request, a asked) bool {
			if a.http == http.MethodDelete {
				deleted <- a.header.Get("Mcp-Session-Id")
			}
			return false
		}
		c := start(t, inMemory(s, open{}))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized, listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		c.send(initialize)
		c.want(initResult)
		if got := <-deleted; got != "s1" {
			t.Errorf("the session %s was ended", got)
		}
		c.finish()
	})
}

// TestServerThatForgetsEverySession: it does not keep the bridge and its client busy for ever.
func TestServerThatForgetsEverySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &forgetful{refusal: notFound}
		s.handle = func(w http.ResponseWriter, r *http.Request, a asked) bool {
			if a.rpc == "tools/list" {
				w.WriteHeader(http.StatusNotFound)
			}
			return a.rpc == "tools/list"
		}
		c := start(t, inMemory(s, open{}))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized, listTools)
		var m struct {
			ID    json.RawMessage
			Error *struct{ Data errorData }
		}
		if line := c.next(); json.Unmarshal([]byte(line), &m) != nil || m.Error == nil || m.Error.Data.Kind != "http_status" {
			t.Errorf("the client gets %s", line) // and no list_changed, which would begin it all again
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if s.opened != 3 {
			t.Errorf("%d sessions were opened, want 3", s.opened)
		}
		c.finish()
	})
}
