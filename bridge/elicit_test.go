package bridge_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// elicitInit is the initialize of a client that shows pages.
const elicitInit = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{"form":{},"url":{}}},"clientInfo":{"name":"t","version":"1"}}}`

// elicited is the bridge's request to show a page.
type elicited struct {
	ID, Method string
	Params     struct{ Mode, ElicitationID, URL, Message string }
}

// waitingCall starts a bridge whose client shows pages and makes a call that needs a human.
func waitingCall(t *testing.T, h *human, s *server) (*client, elicited) {
	t.Helper()
	c := start(t, inMemory(protected(s), h))
	c.send(elicitInit)
	c.next()
	c.send(initialized, fmt.Sprintf(unknownCall, "1"))
	var e elicited
	line := c.next()
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Method != "elicitation/create" {
		t.Fatalf("got %s (%v)", line, err)
	}
	return c, e
}

func (e elicited) answer(result string) string {
	return `{"jsonrpc":"2.0","id":"` + e.ID + `",` + result + `}`
}

// TestElicitation: a client that shows pages is asked to show the sign-in, instead of a tab. It is told when the sign-in
// has ended, and the server sees nothing of it.
func TestElicitation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := &human{reason: "it expired"}, &server{}
		c, e := waitingCall(t, h, s)
		p := e.Params
		if p.Mode != "url" || p.ElicitationID == "" || p.URL != "https://idp.example/authorize?state=1" || !strings.Contains(p.Message, "mcp.example") || !strings.Contains(p.Message, "it expired") {
			t.Errorf("asked %+v", e)
		}
		c.send(e.answer(`"result":{"action":"accept"}`), fmt.Sprintf(unknownCall, "2"))
		<-time.After(10 * time.Second) // the time for another tab, or another question
		synctest.Wait()
		h.end(nil)
		got := map[string]bool{}
		for range 6 {
			got[c.next()] = true
		}
		for _, want := range []string{
			`{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{"elicitationId":"` + p.ElicitationID + `"}}`,
			toolsChanged, `{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":2,"result":{}}`,
		} {
			if !got[want] {
				t.Errorf("missing %s in %v", want, got)
			}
		}
		if h.tabs() != 0 || sawCall(s, e.ID) {
			t.Errorf("%d tabs, want none; the server saw the answer: %v", h.tabs(), sawCall(s, e.ID))
		}
		c.send(e.answer(`"result":{"action":"accept"}`)) // late, and once too often
		c.quiet(t)
		c.finish()
	})
}

// TestElicitationDeclined: calls fail with a clear error and no tab, until the person asks for the sign-in again.
func TestElicitationDeclined(t *testing.T) {
	for _, action := range []string{"decline", "cancel"} {
		t.Run(action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &human{}
				c, e := waitingCall(t, h, &server{})
				c.send(e.answer(`"result":{"action":"` + action + `"}`))
				if d := c.wantError("1", "sign_in_declined"); d.URL == "" || d.Hint == "" {
					t.Errorf("data = %+v", d)
				}
				c.send(fmt.Sprintf(unknownCall, "2"))
				c.wantError("2", "sign_in_declined")
				c.send(listTools)
				c.next()
				c.send(`{"jsonrpc":"2.0","id":"s","method":"tools/call","params":{"name":"sign_in"}}`)
				var again elicited
				if err := json.Unmarshal([]byte(c.next()), &again); err != nil || again.Method != "elicitation/create" || again.ID == e.ID {
					t.Fatalf("sign_in asked %+v after %+v (%v)", again, e, err)
				}
				c.send(again.answer(`"result":{"action":"accept"}`))
				synctest.Wait()
				h.end(nil)
				for line := ""; !strings.Contains(line, `"id":"s"`); {
					if line = c.next(); strings.Contains(line, `"isError":true`) {
						t.Errorf("got %s", line)
					}
				}
				if h.tabs() != 0 {
					t.Errorf("%d tabs", h.tabs())
				}
				c.finish()
			})
		})
	}
}

// TestElicitationAskedAgainOnce: of many sign_in calls at once, after the person declined, one asks again. Two questions
// with one id get two answers, and the second ended the process.
func TestElicitationAskedAgainOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &human{}
		c, e := waitingCall(t, h, &server{})
		c.send(e.answer(`"result":{"action":"decline"}`))
		c.wantError("1", "sign_in_declined")
		c.send(listTools)
		c.next()
		const calls = 60
		for i := range calls {
			c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":"%d","method":"tools/call","params":{"name":"sign_in"}}`, i))
		}
		var again elicited
		if err := json.Unmarshal([]byte(c.next()), &again); err != nil || again.Method != "elicitation/create" {
			t.Fatalf("asked %+v (%v)", again, err)
		}
		synctest.Wait()
		if n := len(c.lines); n > 0 {
			t.Errorf("%d more messages, the first is %s", n, c.next())
		}
		c.send(again.answer(`"result":{"action":"decline"}`), again.answer(`"result":{"action":"decline"}`))
		for range calls {
			if line := c.next(); !strings.Contains(line, `"isError":true`) {
				t.Errorf("got %s", line)
			}
		}
		c.finish()
	})
}

// TestElicitationLateAnswer: the answer to a question that another took the place of is not the server's.
func TestElicitationLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := &human{}, &server{}
		c, e := waitingCall(t, h, s)
		c.send(e.answer(`"result":{"action":"decline"}`))
		c.wantError("1", "sign_in_declined")
		c.send(listTools)
		c.next()
		c.send(`{"jsonrpc":"2.0","id":"s","method":"tools/call","params":{"name":"sign_in"}}`)
		c.next() // the new question
		c.send(e.answer(`"result":{"action":"accept"}`))
		synctest.Wait()
		h.end(nil)
		for line := ""; !strings.Contains(line, `"id":"s"`); {
			line = c.next()
		}
		synctest.Wait()
		if sawCall(s, e.ID) {
			t.Error("the server got an answer to a question of the bridge's")
		}
		c.finish()
	})
}

// TestElicitationUnanswered: when the sign-in ends in another way, the client's question is taken back.
func TestElicitationUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &human{}
		c, e := waitingCall(t, h, &server{})
		h.end(nil)
		got := ""
		for range 5 {
			got += c.next() + "\n"
		}
		if !strings.Contains(got, `"method":"notifications/cancelled","params":{"reason":"the sign-in has ended","requestId":"`+e.ID+`"}`) {
			t.Errorf("got %s", got)
		}
		c.finish()
	})
}

// TestNoElicitation: a tab is opened where the client cannot show pages, does not say so in a revision that has that, or
// fails to.
func TestNoElicitation(t *testing.T) {
	tests := map[string]struct{ init, first string }{
		"not declared":      {strings.Replace(elicitInit, `"url":{}`, `"other":{}`, 1), ""},
		"form alone":        {strings.Replace(elicitInit, `{"form":{},"url":{}}`, `{}`, 1), ""},
		"older revision":    {strings.Replace(elicitInit, "2025-11-25", "2025-06-18", 1), ""},
		"refuses":           {elicitInit, `"error":{"code":-32602,"message":"no"}`},
		"never initialized": {elicitInit, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &human{}
				c := start(t, inMemory(protected(&server{}), h))
				c.send(tt.init)
				c.next()
				if name != "never initialized" {
					c.send(initialized)
				}
				c.send(fmt.Sprintf(unknownCall, "1"))
				if tt.first != "" {
					var e elicited
					if err := json.Unmarshal([]byte(c.next()), &e); err != nil {
						t.Fatal(err)
					}
					c.send(e.answer(tt.first))
				}
				<-time.After(10 * time.Second)
				synctest.Wait()
				if h.tabs() != 1 {
					t.Errorf("%d tabs, want 1", h.tabs())
				}
				h.end(nil)
				for line := ""; !strings.Contains(line, `"id":1,"result":{}`); {
					if line = c.next(); strings.Contains(line, "elicitation") {
						t.Errorf("got %s", line)
					}
				}
				c.finish()
			})
		})
	}
}

// TestServersElicitationPasses: a question of the server's own, and the answer to it, are none of the bridge's.
func TestServersElicitationPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := &human{}, &server{}
		c, e := waitingCall(t, h, s)
		c.send(`{"jsonrpc":"2.0","id":"mine","result":{"action":"decline"}}`, e.answer(`"result":{"action":"accept"}`))
		synctest.Wait()
		h.end(nil)
		for line := ""; !strings.Contains(line, `"id":1,"result":{}`); {
			line = c.next()
		}
		synctest.Wait()
		if !sawCall(s, `"id":"mine"`) {
			t.Error("the answer did not reach the server")
		}
		c.finish()
	})
}
