package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// cutter is a server whose first answer to a call ends after so many bytes. The rest of its streams can be asked for.
type cutter struct {
	net     *network
	text    string // the whole answer, HTTP and all
	at      int
	rst     bool
	calls   int
	resumed bool
}

func (s *cutter) run() {
	for {
		c, err := s.net.Accept()
		if err != nil {
			return
		}
		go s.serve(c.(*memConn))
	}
}

func (s *cutter) serve(c *memConn) {
	serveRaw(c, func(a asked) bool {
		text, end := s.answer(a)
		_, _ = io.WriteString(c, text) // the client may have left
		if end && s.rst {
			wait(c, time.Millisecond) // what was sent arrives before the reset drops it
			c.reset()
		}
		return !end
	})
}

// answer returns the bytes to send and whether the connection ends then.
func (s *cutter) answer(a asked) (text string, end bool) {
	switch {
	case a.rpc == "initialize":
		return httpJSON(strings.ReplaceAll(initResult, `"id":0`, `"id":`+a.id)), false
	case a.http == http.MethodGet && a.header.Get("Last-Event-ID") == "2":
		s.resumed = true
		return httpEvents("id: 3\n" + event(callAnswer)), false
	case a.http != http.MethodPost:
		return "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n", false
	case a.id == "":
		return "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", false
	}
	s.calls++
	if s.calls > 1 {
		s.rst = false
		return s.text, s.untilEnd()
	}
	return s.text[:s.at], true
}

// untilEnd reports whether only the end of the connection ends the answer.
func (s *cutter) untilEnd() bool {
	return !strings.Contains(s.text, "chunked") && !strings.Contains(s.text, "Length")
}

const callAnswer = `{"jsonrpc":"2.0","id":7,"result":{"text":"the answer"}}`

func httpJSON(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func httpEvents(body string) string {
	half := len(body) / 2
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n",
		half, body[:half], len(body)-half, body[half:])
}

// TestCutAtEveryByte ends the connection at every byte position of an answer, by FIN and by RST. A call has its answer
// or an unknown outcome, and reached the server once; a list has its answer, and reached it twice at most; a stream with
// event ids is resumed.
func TestCutAtEveryByte(t *testing.T) {
	plain := event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`) + event(callAnswer)
	answers := map[string]string{
		"json":       httpJSON(callAnswer),
		"events":     httpEvents(plain),
		"event ids":  httpEvents("id: 1\nretry: 5\ndata:\n\nid: 2\n" + event(`{"jsonrpc":"2.0","method":"notifications/progress"}`) + "id: 3\n" + event(callAnswer)),
		"to the end": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + callAnswer,
	}
	for name, text := range answers {
		for _, method := range []string{"tools/call", "tools/list"} {
			for _, how := range []string{"FIN", "RST"} {
				t.Run(name+"/"+method+"/"+how, func(t *testing.T) {
					for at := 0; at <= len(text); at++ {
						synctest.Test(t, func(t *testing.T) { cutOnce(t, &cutter{text: text, at: at, rst: how == "RST"}, method) })
						if t.Failed() {
							t.Fatalf("cut after byte %d, %q", at, text[max(at-30, 0):at])
						}
					}
				})
			}
		}
	}
}

func cutOnce(t *testing.T, s *cutter, method string) {
	s.net = newNetwork()
	go s.run()
	transport := &http.Transport{DialContext: s.net.dial}
	defer func() { transport.CloseIdleConnections(); _ = s.net.Close() }()
	c := start(t, bridge.Config{URL: "http://mcp.example/mcp", Auth: open{}, HTTP: &http.Client{Transport: transport}})
	c.send(initialize)
	c.want(initResult)
	c.send(initialized, `{"jsonrpc":"2.0","id":7,"method":"`+method+`","params":{"name":"x"}}`)
	line := c.next()
	for strings.Contains(line, "notifications/progress") {
		line = c.next()
	}
	unknown := strings.Contains(line, `"id":7,"error":{"code":5040`)
	whole := s.at == len(s.text) && !(s.rst && s.untilEnd()) || s.resumed || s.calls > 1
	switch {
	case line != callAnswer && !unknown:
		t.Errorf("the client gets %s", line)
	case unknown && (whole || method == "tools/list"):
		t.Errorf("the outcome is unknown, although the server gave it: %s", line)
	case s.calls > 1 && method == "tools/call":
		t.Errorf("the call reached the server %d times", s.calls)
	case s.calls > 2:
		t.Errorf("the list reached the server %d times", s.calls)
	}
	c.finish()
}
