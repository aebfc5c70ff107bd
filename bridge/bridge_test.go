package bridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHandshakeAndHeaders(t *testing.T) {
	s := &server{}
	c := start(t, serve(t, s))
	c.send(initialize)
	c.want(initResult)
	c.send(initialized, listTools)
	c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	c.pingUntil(func() bool { return sawMethod(s, http.MethodGet) })
	c.finish()

	type row struct{ HTTP, Session, Version, Accept string }
	got := map[string]row{}
	for _, r := range s.requests() {
		name := r.Method
		for _, m := range []string{"initialized", "initialize", "tools/list"} {
			if strings.Contains(r.Body, m+`"`) {
				name = m
			}
		}
		got[name] = row{r.Method, r.Header.Get("Mcp-Session-Id"), r.Header.Get("Mcp-Protocol-Version"), r.Header.Get("Accept")}
	}
	both := "application/json, text/event-stream"
	want := map[string]row{
		"initialize":  {"POST", "", "", both},
		"initialized": {"POST", "session-1", "2025-06-18", both},
		"tools/list":  {"POST", "session-1", "2025-06-18", both},
		"GET":         {"GET", "session-1", "2025-06-18", "text/event-stream"},
		"DELETE":      {"DELETE", "session-1", "2025-06-18", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if last := s.requests()[len(s.requests())-1]; last.Method != http.MethodDelete {
		t.Errorf("the last request is %s, want DELETE", last.Method)
	}
}

// TestBytesPass: params and results reach the other side as they were written, in one line.
func TestBytesPass(t *testing.T) {
	call := `{"params":{"z":12345678901234567890,"a":1.0,"unknown":"\u00e9<&>"},"traceparent":"00-1","method":"tools/call","jsonrpc":"2.0","id":%s}`
	answer := `{"result":{"z":12345678901234567890,"b":1e400,"a":"\u00e9"},"extra":[1, 2],"id":%s,"jsonrpc":"2.0"}`
	ids := []string{"7", `"seven"`, "12345678901234567890", "1.50", "-1", `"\u0041"`, "9007199254740993"}
	for _, how := range []string{"json", "pretty", "events", "changed id"} {
		t.Run(how, func(t *testing.T) {
			s := &server{}
			s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
				id := ids[0]
				for _, candidate := range ids {
					if body == fmt.Sprintf(call, candidate) {
						id = candidate
					}
				}
				text := fmt.Sprintf(answer, id)
				switch {
				case rpc != "tools/call":
					w.WriteHeader(http.StatusMethodNotAllowed)
				case how == "json":
					answerJSON(w, text)
				case how == "changed id":
					answerJSON(w, fmt.Sprintf(answer, "12345678901234567000"))
				case how == "pretty":
					answerJSON(w, "\n  "+strings.Replace(text, ",", ",\r\n\t", 2)+"\n\n")
				default:
					events(w)("id: 1\ndata: " + strings.Replace(text, ",", ",\ndata: ", 1))
				}
			}
			c := start(t, serve(t, s))
			c.send(initialize)
			c.next()
			c.send(initialized)
			for _, id := range ids {
				c.send(fmt.Sprintf(call, id) + "  \r")
				want := fmt.Sprintf(answer, id)
				got := c.next()
				if how == "pretty" || how == "events" {
					got, want = strings.NewReplacer(" ", "", "\t", "").Replace(got), strings.ReplaceAll(want, " ", "")
				}
				if got != want {
					t.Errorf("id %s:\n got %s\nwant %s", id, got, want)
				}
			}
			for _, r := range s.requests() {
				if strings.Contains(r.Body, "tools/call") && !strings.HasPrefix(r.Body, `{"params":{"z":12345678901234567890,"a":1.0,"unknown":"\u00e9<&>"},"traceparent":"00-1",`) {
					t.Errorf("the server got %s", r.Body)
				}
			}
		})
	}
}

func TestAnsweredHere(t *testing.T) {
	block := make(chan struct{})
	s := &server{handle: func(w http.ResponseWriter, r *http.Request, rpc, body string) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}}
	cfg := serve(t, s)
	t.Cleanup(func() { close(block) })
	c := start(t, cfg)
	c.send(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	c.want(`{"jsonrpc":"2.0","id":"p","result":{}}`)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{}}}`)
	c.wantError("1", "unsupported")
	c.send(initialize)
	c.want(initResult)
	c.send(initialized, fmt.Sprintf(unknownCall, "2"), `{"jsonrpc":"2.0","id":3,"method":"ping"}`)
	c.want(`{"jsonrpc":"2.0","id":3,"result":{}}`) // although the call hangs
	c.send(fmt.Sprintf(unknownCall, "2"))
	c.wantError("2", "invalid_request")
}

// TestNotificationsHoldUpNoPing: however many notifications wait for a silent server, pings are answered.
func TestNotificationsHoldUpNoPing(t *testing.T) {
	s := &server{handle: func(w http.ResponseWriter, r *http.Request, rpc, body string) { <-r.Context().Done() }}
	c := start(t, serve(t, s))
	c.send(initialize)
	c.want(initResult)
	c.send(initialized)
	for range 200 {
		c.send(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)
	}
	c.send(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	c.want(`{"jsonrpc":"2.0","id":"p","result":{}}`)
	c.signal()
	<-c.ended
}

func TestMalformedInput(t *testing.T) {
	c := start(t, serve(t, &server{}))
	tests := []struct{ in, id, kind string }{
		{`{"jsonrpc":`, "null", "parse_error"},
		{`garbage`, "null", "parse_error"},
		{`[{"id":1},`, "null", "parse_error"},
		{`42`, "null", "invalid_request"},
		{`[]`, "null", "invalid_request"},
		{`{"jsonrpc":"2.0","id":5}`, "5", "invalid_request"},
		{`{"jsonrpc":"2.0","id":null,"method":"ping"}`, "null", "invalid_request"},
		{`{"jsonrpc":"2.0","id":{},"method":"ping"}`, "null", "invalid_request"},
	}
	for _, tt := range tests {
		c.send(tt.in)
		c.wantError(tt.id, tt.kind)
	}
	c.send("\xef\xbb\xbf", "", `{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\r")
	c.wantError("null", "parse_error") // a byte order mark is white space only at the beginning
	c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	c.finish()
}

func TestBatches(t *testing.T) {
	s := &server{handle: func(w http.ResponseWriter, r *http.Request, rpc, body string) {
		switch rpc {
		case "batch/answer":
			answerJSON(w, `[{"jsonrpc":"2.0","method":"notifications/message"},{"jsonrpc":"2.0","id":9,"result":"nine"}]`)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}}
	c := start(t, serve(t, s))
	c.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":"b","method":"ping"},7]`)
	c.want(`[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":"b","result":{}},` +
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"data":{"source":"drawbridge","kind":"invalid_request","cause":"not a JSON-RPC message"},"message":"drawbridge: the message is no JSON-RPC request, notification or response: not a JSON-RPC message"}}]`)
	c.send(`[{"jsonrpc":"2.0","method":"notifications/x"}]`, `{"jsonrpc":"2.0","id":9,"method":"batch/answer"}`)
	c.want(`{"jsonrpc":"2.0","method":"notifications/message"}`)
	c.want(`{"jsonrpc":"2.0","id":9,"result":"nine"}`)
	c.finish()
}

// TestBothWays: requests of the server, progress and logging pass on the stream of a call and on the GET stream; the
// client's answers and cancellations pass back.
func TestBothWays(t *testing.T) {
	answered, cancelled := make(chan string, 1), make(chan string, 1)
	push := make(chan string)
	s := &server{}
	s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
		switch {
		case r.Method == http.MethodGet:
			emit := events(w)
			for {
				select {
				case m := <-push:
					emit("data: " + m)
				case <-r.Context().Done():
					return
				}
			}
		case strings.Contains(body, `"id":2,"method":"tools/call"`):
			emit := events(w)
			emit(`data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}`)
			emit(`data: {"jsonrpc":"2.0","id":"srv-1","method":"elicitation/create","params":{}}`)
			emit(`data: {"jsonrpc":"2.0","id":2,"result":"` + <-answered + `"}`)
		case strings.Contains(body, `"id":3,"method":"tools/call"`):
			events(w)
			<-r.Context().Done()
		case rpc == "notifications/cancelled":
			cancelled <- body
			w.WriteHeader(http.StatusAccepted)
		case strings.Contains(body, `"id":"srv-1"`):
			answered <- "answered"
			w.WriteHeader(http.StatusAccepted)
		}
	}
	c := start(t, serve(t, s))
	c.send(initialize)
	c.next()
	c.send(initialized, fmt.Sprintf(unknownCall, "2"))
	c.want(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}`)
	c.want(`{"jsonrpc":"2.0","id":"srv-1","method":"elicitation/create","params":{}}`)
	c.send(`{"jsonrpc":"2.0","id":"srv-1","result":{"action":"accept"}}`)
	c.want(`{"jsonrpc":"2.0","id":2,"result":"answered"}`)

	push <- `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}`
	c.want(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}`)

	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3,"reason":"enough"}}`
	c.send(fmt.Sprintf(unknownCall, "3"))
	for !sawCall(s, `"id":3`) {
		push <- toolsChanged
		c.want(toolsChanged)
	}
	c.send(cancel)
	if got := <-cancelled; got != cancel {
		t.Errorf("the server got %s", got)
	}
	c.send(`{"jsonrpc":"2.0","id":4,"method":"ping"}`)
	c.want(`{"jsonrpc":"2.0","id":4,"result":{}}`) // and nothing for 3
	c.finish()
}

func sawMethod(s *server, method string) bool {
	for _, r := range s.requests() {
		if r.Method == method {
			return true
		}
	}
	return false
}

func sawCall(s *server, part string) bool {
	for _, r := range s.requests() {
		if strings.Contains(r.Body, part) {
			return true
		}
	}
	return false
}

// TestForgottenSession: a 404 to a session id opens a new session and sends the refused request once more.
func TestForgottenSession(t *testing.T) {
	forgot := true
	s := &server{}
	s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
		switch {
		case rpc != "tools/list":
			w.WriteHeader(http.StatusMethodNotAllowed)
		case forgot:
			forgot = false
			w.WriteHeader(http.StatusNotFound)
			answerJSON(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}`)
		default:
			answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`)
		}
	}
	c := start(t, serve(t, s))
	c.send(initialize)
	c.next()
	c.send(initialized, listTools)
	c.want(`{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`)
	c.finish()
	handshakes := 0
	for _, r := range s.requests() {
		if strings.Contains(r.Body, `"initialize"`) {
			handshakes++
		}
	}
	if handshakes != 2 {
		t.Errorf("%d handshakes, want 2", handshakes)
	}
}

// TestCutStream: a stream that ends before the answer is resumed where the server gave event ids, else the outcome is
// unknown. The request is not sent again.
func TestCutStream(t *testing.T) {
	s := &server{}
	s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
		switch {
		case r.Method == http.MethodGet && r.Header.Get("Last-Event-ID") == "e2":
			events(w)(`data: {"jsonrpc":"2.0","id":2,"result":"resumed"}`)
		case rpc != "tools/call":
			w.WriteHeader(http.StatusMethodNotAllowed)
		case strings.Contains(body, `"id":2`):
			emit := events(w)
			emit("id: e1\nretry: 1\ndata:")
			emit(`id: e2` + "\n" + `data: {"jsonrpc":"2.0","method":"notifications/progress"}`)
		default:
			events(w)(`data: {"jsonrpc":"2.0","method":"notifications/progress"}`)
		}
	}
	c := start(t, serve(t, s))
	c.send(initialize)
	c.next()
	c.send(initialized, fmt.Sprintf(unknownCall, "2"))
	c.want(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
	c.want(`{"jsonrpc":"2.0","id":2,"result":"resumed"}`)
	c.send(fmt.Sprintf(unknownCall, "3"))
	c.want(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
	if d := c.wantError("3", "outcome_unknown"); d.Hint == "" || d.Cause == "" {
		t.Errorf("data = %+v", d)
	}
	c.finish()
	calls := 0
	for _, r := range s.requests() {
		if strings.Contains(r.Body, "tools/call") {
			calls++
		}
	}
	if calls != 2 {
		t.Errorf("%d calls reached the server, want 2", calls)
	}
}

// TestForeignAnswerOnAStream: a result with the id of another request, as servers send that replay too much, is not the
// call's.
func TestForeignAnswerOnAStream(t *testing.T) {
	s := &server{}
	s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
		switch {
		case r.Method == http.MethodGet && r.Header.Get("Last-Event-ID") == "e1":
			emit := events(w)
			emit(`data: {"jsonrpc":"2.0","id":1,"result":"of another"}`)
			emit(`data: {"jsonrpc":"2.0","id":2,"result":"its own"}`)
		case rpc != "tools/call":
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			events(w)("id: e1\nretry: 1\ndata:")
		}
	}
	c := start(t, serve(t, s))
	c.greet()
	c.send(fmt.Sprintf(unknownCall, "2"))
	c.want(`{"jsonrpc":"2.0","id":2,"result":"its own"}`)
	c.finish()
}
