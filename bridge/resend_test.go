package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRetryAfter: a request that was refused with 429 or 503 is sent again where the server says when, and where running
// twice does no harm; the pause has a bound.
func TestRetryAfter(t *testing.T) {
	const again = ""
	tests := []struct {
		method, after string
		status        int
		kind, hint    string        // of the error; again: there is none
		waited        time.Duration // at least, and less than a second more
		requests      int
	}{
		{"tools/list", "7", 503, again, "", 7 * time.Second, 2},
		{"resources/read", "7", 429, again, "", 7 * time.Second, 2},
		{"prompts/get", "0", 503, again, "", 0, 2},
		{"completion/complete", "20", 429, again, "", 20 * time.Second, 2},
		{"tools/list", "date", 503, again, "", 4 * time.Second, 2},
		{"tools/list", "21", 503, "http_status", "server's", 0, 1},
		{"resources/list", "3600", 429, "http_status", "1h0m0s", 0, 1},
		{"tools/list", "", 503, "http_status", "server's", 0, 1},
		{"tools/list", "soon", 429, "http_status", "fewer requests", 0, 1},
		{"tools/list", "-1", 429, "http_status", "fewer requests", 0, 1},
		{"tools/list", "1", 500, "http_status", "server's", 0, 1},
		{"tools/call", "1", 503, "outcome_unknown", "whether it took effect", 0, 1},
		{"tools/call", "", 503, "outcome_unknown", "whether it took effect", 0, 1},
		{"tools/call", "30", 429, "http_status", "30s", 0, 1},
		{"tools/call", "", 429, "http_status", "did not execute", 0, 1},
		{"resources/subscribe", "1", 503, "outcome_unknown", "whether it took effect", 0, 1},
		{"x/unknown", "1", 429, "http_status", "1s", 0, 1},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.method, " ", tt.status, " ", tt.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, requests := &server{}, 0
				s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
					if rpc != tt.method {
						w.WriteHeader(http.StatusMethodNotAllowed)
						return
					}
					if requests++; requests > 1 {
						answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
						return
					}
					after := tt.after
					if after == "date" {
						after = time.Now().Add(4 * time.Second).UTC().Format(http.TimeFormat)
					}
					w.Header().Set("Retry-After", after)
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, "busy")
				}
				c := start(t, inMemory(s, open{}))
				c.send(initialize)
				c.want(initResult)
				began := time.Now()
				c.send(initialized, `{"jsonrpc":"2.0","id":1,"method":"`+tt.method+`"}`)
				if tt.kind == again {
					<-time.After(tt.waited + time.Millisecond)
					c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
				} else if d := c.wantError("1", tt.kind); !strings.Contains(d.Hint, tt.hint) {
					t.Errorf("hint %q, want %q in it", d.Hint, tt.hint)
				}
				if waited := time.Since(began); waited < tt.waited || waited > tt.waited+time.Second {
					t.Errorf("it took %v, want %v", waited, tt.waited)
				}
				if requests != tt.requests {
					t.Errorf("%d requests, want %d", requests, tt.requests)
				}
				c.finish()
			})
		})
	}
}

// TestRetryAfterEnds: a server that asks for a pause again and again gets one request a second at most, and the client
// its error when the bound is reached or stdin is closed.
func TestRetryAfterEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, requests := &server{}, 0
		s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
			if rpc == "tools/list" {
				requests++
			}
			w.Header().Set("Retry-After", "6")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		c := start(t, inMemory(s, open{}))
		c.send(initialize)
		c.want(initResult)
		began := time.Now()
		c.send(initialized, listTools)
		<-time.After(retryBound)
		c.wantError("1", "http_status")
		if took := time.Since(began); requests != 4 || took > retryBound {
			t.Errorf("%d requests in %v, want 4 in less than %v", requests, took, retryBound)
		}
		c.send(listTools)
		synctest.Wait()
		began = time.Now()
		_ = c.stdin.Close()
		c.wantError("1", "http_status")
		if took := time.Since(began); took > 0 {
			t.Errorf("after the end of input it took %v", took)
		}
		<-c.ended
	})
}

const retryBound = 20 * time.Second

// TestLostAnswerOfAList: what has no side effects is sent again when its answer is lost, and a refused connection of a
// server that restarts is tried again; a call whose answer is lost is not sent again.
func TestLostAnswerOfAList(t *testing.T) {
	for method, want := range map[string]int{"tools/list": 3, "prompts/get": 3, "tools/call": 1, "resources/subscribe": 1} {
		synctest.Test(t, func(t *testing.T) {
			s, requests := &server{}, 0
			s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
				if rpc == method {
					requests++
					events(w)(": cut")
				} else {
					w.WriteHeader(http.StatusMethodNotAllowed)
				}
			}
			c := start(t, inMemory(s, open{}))
			c.send(initialize)
			c.want(initResult)
			c.send(initialized, `{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`)
			c.wantError("1", "outcome_unknown")
			if requests != want {
				t.Errorf("%s: %d requests, want %d", method, requests, want)
			}
			c.finish()
		})
	}
}
