package bridge_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/bridge"
)

const (
	oldCall     = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"n":12345678901234567890}}`
	oldAnswer   = `{"jsonrpc":"2.0","id":7,"result":{"echo":{"n":12345678901234567890}}}`
	oldRequests = "POST /mcp initialize\nGET /mcp\nPOST /messages initialize\nPOST /messages notifications/initialized\nPOST /messages tools/call"
)

// greet performs the handshake.
func (c *client) greet() {
	c.t.Helper()
	c.send(initialize)
	c.want(initResult)
	c.send(initialized)
}

// wantAnswer is want, after what the client is told of a new session.
func (c *client) wantAnswer(line string) {
	c.t.Helper()
	got := c.next()
	for strings.HasSuffix(got, `/list_changed"}`) {
		got = c.next()
	}
	if got != line {
		c.t.Fatalf("stdout has\n%s\nwant\n%s", got, line)
	}
}

// TestOldTransport: a server of HTTP+SSE is found out and spoken to, whatever it accepts messages with.
func TestOldTransport(t *testing.T) {
	spread := func(p *oldPeer, s *oldStream, m oldMsg) {
		s.out <- ": keep-alive"
		s.out <- "event: ping\ndata: 2026-11-26"
		s.out <- "data: {\"jsonrpc\":\"2.0\",\ndata:  \"id\":" + string(m.ID) + ",\ndata:  \"result\":{\"echo\":" + string(m.Params) + "}}"
	}
	for name, p := range map[string]*oldPeer{
		"202":              {},
		"200":              {accepted: http.StatusOK},
		"204":              {accepted: http.StatusNoContent},
		"accepts late":     {late: true},
		"POST is 404":      {post: http.NotFound},
		"POST is 400":      {post: refuseWith(http.StatusBadRequest, `{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no session"}}`)},
		"odd events":       {answer: spread},
		"relative":         {endpoint: func(id int) string { return fmt.Sprint("messages?session=", id) }},
		"absolute":         {endpoint: func(id int) string { return fmt.Sprint("http://MEM:80/messages?session=", id) }},
		"comment first":    {hello: ": welcome\n\n"},
		"other name first": {hello: "event: hello\ndata: you\n\n"},
		"batch": {answer: func(p *oldPeer, s *oldStream, m oldMsg) {
			s.message(`[{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{"echo":` + string(m.Params) + `}}]`)
		}},
		"number changed": {answer: func(p *oldPeer, s *oldStream, m oldMsg) {
			s.result([]byte(string(m.ID)+".0"), `{"echo":`+string(m.Params)+`}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, _ := startOld(t, p)
				var learned []bool
				cfg.LearnedSSE = func(sse bool) { learned = append(learned, sse) }
				c := start(t, cfg)
				c.greet()
				c.send(oldCall)
				if got := strings.ReplaceAll(c.next(), " ", ""); got != oldAnswer { // lines of data become one
					t.Errorf("answered %s", got)
				}
				if diff := cmp.Diff(oldRequests, p.requests()); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				if !slices.Equal(learned, []bool{true}) {
					t.Errorf("learned %v, want that it is HTTP+SSE, once", learned)
				}
				for i, h := range p.headers {
					if h.Get("Mcp-Session-Id") != "" {
						t.Errorf("request %d carries a session id, which HTTP+SSE does not know", i)
					}
				}
				c.finish()
				synctest.Wait()
				if len(p.streams) != 0 {
					t.Error("the stream outlives the bridge")
				}
			})
		})
	}
}

func refuseWith(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// anyNumber is any but none.
const anyNumber = -1

// TestOldTransportDetection: only 400, 404 and 405 without a modern error lead to a GET, and only an endpoint event to HTTP+SSE.
func TestOldTransportDetection(t *testing.T) {
	modern := func(code int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"error":{"code":%d,"message":"no"}}`, code)
	}
	for name, test := range map[string]struct {
		peer *oldPeer
		mode bridge.Transport
		kind string // of the error; "": works
		gets int
	}{
		"401":                 {&oldPeer{post: refuseWith(401, "")}, "", "refused", 0},
		"403":                 {&oldPeer{post: refuseWith(403, "")}, "", "refused", 0},
		"429":                 {&oldPeer{post: refuseWith(429, "")}, "", "early", 0},
		"500":                 {&oldPeer{post: refuseWith(500, "")}, "", "early", 0},
		"503":                 {&oldPeer{post: refuseWith(503, "")}, "", "early", 0},
		"415":                 {&oldPeer{post: refuseWith(415, "")}, "", "http_status", 0},
		"no answer":           {&oldPeer{post: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, "", "early", 0},
		"cut":                 {&oldPeer{post: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}, "", "early", 0},
		"modern version":      {&oldPeer{post: refuseWith(400, modern(-32022))}, "", "server", 0},
		"modern header":       {&oldPeer{post: refuseWith(400, modern(-32020))}, "", "server", 0},
		"modern params":       {&oldPeer{post: refuseWith(400, modern(-32602))}, "", "server", 0},
		"modern method":       {&oldPeer{post: refuseWith(404, modern(-32601))}, "", "server", 0},
		"params of 404":       {&oldPeer{post: refuseWith(404, modern(-32602))}, "", "", 1},
		"GET is 404":          {&oldPeer{post: refuseWith(404, ""), refuseGet: refusal(404, "", "")}, "", "http_status", 1},
		"GET is 405":          {&oldPeer{post: refuseWith(400, modern(-32000)), refuseGet: refusal(405, "", "")}, "", "server", 1},
		"GET is 403":          {&oldPeer{refuseGet: refusal(403, "", "")}, "", "refused", 1},
		"GET is 503":          {&oldPeer{refuseGet: refusal(503, "", "")}, "", "early", anyNumber},
		"GET is HTML":         {&oldPeer{refuseGet: refusal(200, "text/html", "<p>")}, "", "http_status", 1},
		"GET says no more":    {&oldPeer{refuseGet: refusal(200, "text/event-stream", "")}, "", "http_status", 1},
		"GET ends":            {&oldPeer{endAtOpen: true}, "", "http_status", 1},
		"GET has messages":    {&oldPeer{onlyEvents: true}, "", "http_status", 1},
		"told: HTTP":          {&oldPeer{}, bridge.StreamableHTTP, "http_status", 0},
		"told: SSE":           {&oldPeer{post: refuseWith(500, "")}, bridge.HTTPWithSSE, "", 1},
		"told: SSE, no":       {&oldPeer{refuseGet: refusal(405, "", "")}, bridge.HTTPWithSSE, "http_status", 1},
		"told: SSE, HTML":     {&oldPeer{refuseGet: refusal(200, "text/html", "<p>")}, bridge.HTTPWithSSE, "not_mcp", 1},
		"told: SSE, messages": {&oldPeer{onlyEvents: true}, bridge.HTTPWithSSE, "bad_endpoint", 1},
		"told: SSE, ends":     {&oldPeer{endAtOpen: true}, bridge.HTTPWithSSE, "bad_endpoint", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := test.peer
				cfg, _ := startOld(t, p)
				cfg.Transport = test.mode
				c := start(t, cfg)
				c.send(initialize)
				switch test.kind {
				case "":
					c.want(initResult)
				case "early":
					if got := c.next(); !strings.Contains(got, `"name":"drawbridge"`) {
						t.Errorf("got %s, want an answer in the server's place", got)
					}
					time.Sleep(5 * time.Minute) // it is tried again meanwhile
				case "server":
					if got := c.next(); !strings.Contains(got, `"message":"no"`) {
						t.Errorf("got %s, want the server's own error", got)
					}
				default:
					c.wantError("0", test.kind)
				}
				if got := strings.Count(p.requests(), "GET"); got != test.gets && (test.gets != anyNumber || got == 0) {
					t.Errorf("%d GET requests, want %d:\n%s", got, test.gets, p.requests())
				}
			})
		})
	}
}

func refusal(status int, kind, body string) func() (int, string, string) {
	return func() (int, string, string) { return status, kind, body }
}

// TestForeignEndpoint: credentials do not follow a server's word to another origin.
func TestForeignEndpoint(t *testing.T) {
	for _, to := range []string{
		"https://mem/messages", "http://evil.example/messages", "http://mem:8080/messages", "//evil.example/messages",
		"http://ada:pw@mem/messages", "http://mem.evil.example/messages", "ftp://mem/x", "http://[::1", "javascript:alert(1)",
	} {
		for _, mode := range []bridge.Transport{bridge.AnyTransport, bridge.HTTPWithSSE} {
			t.Run(fmt.Sprint(mode, " ", to), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &oldPeer{endpoint: func(int) string { return to }}
					cfg, _ := startOld(t, p)
					cfg.Transport = mode
					c := start(t, cfg)
					c.send(initialize)
					line := c.next()
					if mode == bridge.HTTPWithSSE && !strings.Contains(line, `"kind":"bad_endpoint"`) {
						t.Errorf("answered %s", line)
					}
					if strings.Contains(line, "pw@") || strings.Contains(line, `"result"`) {
						t.Errorf("answered %s", line)
					}
					if got := p.requests(); strings.Contains(got, "/messages") || strings.Contains(got, "initialize\nPOST") {
						t.Errorf("requests:\n%s", got)
					}
				})
			})
		}
	}
}

// oldToken is an Authorizer whose token the server refuses until it was renewed.
type oldToken struct {
	token chan string // 1-buffered
}

func (a oldToken) Authorize(req *http.Request) error {
	token := <-a.token
	a.token <- token
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}

func (a oldToken) Challenged(_ context.Context, resp *http.Response, at bridge.Attempt) (bridge.Verdict, error) {
	if resp.StatusCode != http.StatusUnauthorized || at.Resent > 0 {
		return bridge.Refused, nil
	}
	<-a.token
	a.token <- "new"
	return bridge.Resend, nil
}

func (oldToken) Pending() (bridge.SignIn, bool) { return bridge.SignIn{}, false }

// TestOldTransportAuthorizes: both legs carry the token, and a 401 of either is cured like any other.
func TestOldTransportAuthorizes(t *testing.T) {
	for name, refuses := range map[string]func(r *http.Request) bool{
		"all":                  func(*http.Request) bool { return true },
		"the stream":           func(r *http.Request) bool { return r.Method == http.MethodGet },
		"messages":             func(r *http.Request) bool { return r.URL.Path == "/messages" },
		"messages, once begun": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := false
				if refuses == nil {
					refuses = func(*http.Request) bool { return begun }
				}
				p := &oldPeer{refuse: func(r *http.Request) int {
					if refuses(r) && r.Header.Get("Authorization") != "Bearer new" {
						return http.StatusUnauthorized
					}
					return 0
				}}
				cfg, _ := startOld(t, p)
				a := oldToken{make(chan string, 1)}
				a.token <- "old"
				cfg.Auth = a
				c := start(t, cfg)
				c.greet()
				synctest.Wait()
				begun = true
				c.send(oldCall)
				c.want(oldAnswer)
				if n := p.executions(`{"n":12345678901234567890}`); n != 1 {
					t.Errorf("the call was executed %d times", n)
				}
				for i, h := range p.headers {
					if h.Get("Authorization") == "" {
						t.Errorf("request %d carries no token", i)
					}
				}
			})
		})
	}
}

// TestOldStreamEnds: the stream is the session. A call that it takes along may have run; a list is asked again; what follows
// happens in a new session.
func TestOldStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &oldPeer{endAtAccept: true}
		cfg, _ := startOld(t, p)
		c := start(t, cfg)
		c.greet()
		c.send(oldCall)
		if d := c.wantError("7", "outcome_unknown"); !strings.Contains(d.Cause, "event stream ended before the answer") {
			t.Errorf("cause %q", d.Cause)
		}
		p.endAtAccept = false
		c.send(`{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"n":2}}`)
		c.wantAnswer(`{"jsonrpc":"2.0","id":8,"result":{"echo":{"n":2}}}`)
		if p.executions(`{"n":12345678901234567890}`) != 1 || p.executions(`{"n":2}`) != 1 {
			t.Errorf("executed %v", p.executed)
		}
		if got := strings.Count(p.requests(), "POST /messages initialize"); got != 2 {
			t.Errorf("%d sessions were begun, want 2:\n%s", got, p.requests())
		}
		asked := 0
		p.answer = func(p *oldPeer, s *oldStream, m oldMsg) {
			if asked++; asked == 1 {
				s.end()
				return
			}
			s.result(m.ID, `{"tools":[]}`)
		}
		c.send(listTools)
		c.wantAnswer(`{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`)
	})
}

// TestOldStreamReconnects: without a request of the client too, so that what the server has to say is heard; the request after
// a server's restart is not executed twice.
func TestOldStreamReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &oldPeer{}
		cfg, n := startOld(t, p)
		c := start(t, cfg)
		c.greet()
		time.Sleep(time.Second)
		p.cut()
		time.Sleep(time.Minute)
		p.send(`{"jsonrpc":"2.0","method":"notifications/news"}`)
		c.wantAnswer(`{"jsonrpc":"2.0","method":"notifications/news"}`)
		n.setDown(true) // the server restarts
		n.setDown(false)
		c.send(oldCall)
		c.wantAnswer(oldAnswer)
		if got := p.executions(`{"n":12345678901234567890}`); got != 1 {
			t.Errorf("the call was executed %d times", got)
		}
	})
}

// TestOldTransportOrder: what the server sent before an answer reaches the client before it, and its requests are answered.
func TestOldTransportOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		progress := func(i int) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":%d}}`, i)
		}
		p := &oldPeer{answer: func(_ *oldPeer, s *oldStream, m oldMsg) {
			for i := range 500 {
				s.message(progress(i))
			}
			s.result(m.ID, "{}")
			s.message(`{"jsonrpc":"2.0","id":"ask","method":"roots/list"}`)
		}}
		cfg, _ := startOld(t, p)
		c := start(t, cfg)
		c.greet()
		synctest.Wait()
		for call := range 5 {
			c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{}}`, call))
			for i := range 500 {
				c.want(progress(i))
			}
			c.want(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{}}`, call))
			c.want(`{"jsonrpc":"2.0","id":"ask","method":"roots/list"}`)
			c.send(`{"jsonrpc":"2.0","id":"ask","result":{"roots":[]}}`)
		}
		synctest.Wait()
		if len(p.replies) != 5 || p.replies[0] != `{"jsonrpc":"2.0","id":"ask","result":{"roots":[]}}` {
			t.Errorf("the server got the replies %q", p.replies)
		}
	})
}

// TestOldTransportCancels: the server is told, and its late answer is dropped.
func TestOldTransportCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked oldMsg
		p := &oldPeer{answer: func(_ *oldPeer, s *oldStream, m oldMsg) {
			if asked.ID == nil {
				asked = m
				return
			}
			s.result(asked.ID, `{"late":true}`)
			s.result(m.ID, `{}`)
		}}
		cfg, _ := startOld(t, p)
		c := start(t, cfg)
		c.greet()
		c.send(oldCall)
		synctest.Wait()
		c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)
		synctest.Wait()
		if !strings.HasSuffix(p.requests(), "POST /messages notifications/cancelled") {
			t.Errorf("requests:\n%s", p.requests())
		}
		c.send(`{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{}}`)
		c.want(`{"jsonrpc":"2.0","id":8,"result":{}}`)
	})
}

// TestKnownTransport: what was found out last time is tried first, and given up when it is contradicted; a fault that passes
// contradicts nothing.
func TestKnownTransport(t *testing.T) {
	modern := func(w http.ResponseWriter, r *http.Request) { answerJSON(w, initResult) }
	for name, test := range map[string]struct {
		peer    *oldPeer
		known   bool
		kind    string
		learned []bool
		begins  string
	}{
		"right":             {&oldPeer{}, true, "", nil, "GET /mcp\nPOST /messages initialize"},
		"redeployed":        {&oldPeer{post: modern, refuseGet: refusal(405, "", "")}, true, "", []bool{false}, "GET /mcp\nPOST /mcp initialize"},
		"another stream":    {&oldPeer{post: modern, onlyEvents: true}, true, "", []bool{false}, "GET /mcp\nPOST /mcp initialize"},
		"away":              {&oldPeer{post: modern, refuseGet: refusal(503, "", "")}, true, "early", nil, "GET /mcp"},
		"refused":           {&oldPeer{post: modern, refuseGet: refusal(401, "", "")}, true, "refused", nil, "GET /mcp"},
		"new, nothing kept": {&oldPeer{post: modern}, false, "", nil, "POST /mcp initialize"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := test.peer
				cfg, _ := startOld(t, p)
				var learned []bool
				cfg.KnownSSE, cfg.LearnedSSE = test.known, func(sse bool) { learned = append(learned, sse) }
				c := start(t, cfg)
				c.send(initialize)
				switch test.kind {
				case "":
					c.want(initResult)
				case "early":
					c.next()
				default:
					c.wantError("0", test.kind)
				}
				if got := p.requests(); !strings.HasPrefix(got, test.begins) || test.kind != "" && strings.Contains(got, "POST") {
					t.Errorf("requests:\n%s\nwant\n%s", got, test.begins)
				}
				if !slices.Equal(learned, test.learned) {
					t.Errorf("learned %v, want %v", learned, test.learned)
				}
			})
		})
	}
}

// TestOldStreamFlaps: a server that ends its streams at once is asked less and less often, and works when it has recovered.
func TestOldStreamFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &oldPeer{}
		cfg, _ := startOld(t, p)
		c := start(t, cfg)
		c.greet()
		flaps, recover := context.WithCancel(t.Context())
		defer recover()
		go func() {
			for flaps.Err() == nil {
				p.cut()
				time.Sleep(100 * time.Millisecond)
			}
		}()
		const span = 10 * time.Minute
		go func() {
			for range c.lines { // what the client is told of new sessions
			}
		}()
		time.Sleep(span)
		if got := strings.Count(p.requests(), "GET /mcp"); got < 2 || got > 100 {
			t.Errorf("%d streams were opened in %v", got, span)
		}
		recover()
		time.Sleep(time.Minute)
		before := p.executions(`{"n":1}`)
		c.send(`{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"n":1}}`)
		time.Sleep(time.Minute)
		if p.executions(`{"n":1}`) != before+1 {
			t.Error("the server has recovered, and gets no call")
		}
	})
}

// TestBorrowedSessionName: a server of Streamable HTTP cannot pass its session off as one of the old transport.
func TestBorrowedSessionName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &oldPeer{post: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Mcp-Session-Id", "drawbridge-httpsse-1")
			answerJSON(w, initResult)
		}}
		cfg, _ := startOld(t, p)
		c := start(t, cfg)
		c.greet()
		c.send(`{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{}}`)
		c.want(initResult)
		if got := strings.Count(p.requests(), "initialize"); got != 2 { // the second one is notifications/initialized
			t.Errorf("requests:\n%s", p.requests())
		}
	})
}
