package bridge_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestEndIsBounded has a server that neither answers a call nor lets go of the session. The end of input is told at once,
// answers are waited for, the word to the server is bounded; a signal cuts all of it short, whenever it comes.
func TestEndIsBounded(t *testing.T) {
	const never = time.Hour
	for _, c := range []struct {
		name   string
		call   bool          // a call is due when the input ends
		hangUp time.Duration // when the input ends
		signal time.Duration // when the signal comes
		ends   time.Duration
	}{
		{"end of input", false, 0, never, 2 * time.Second},
		{"end of input with a call due", true, 0, never, 12 * time.Second},
		{"signal", false, never, 0, 300 * time.Millisecond},
		{"signal with a call due", true, never, 0, 300 * time.Millisecond},
		{"signal while answers are waited for", true, 0, 4 * time.Second, 4300 * time.Millisecond},
		{"signal while the server is told", false, 0, time.Second, 1300 * time.Millisecond},
		{"signal right before the end", false, 0, 1900 * time.Millisecond, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{handle: func(w http.ResponseWriter, r *http.Request, _, _ string) {
					if r.Method == http.MethodGet {
						w.WriteHeader(http.StatusMethodNotAllowed)
						return
					}
					pass(r, never)
				}}
				told := never
				began := time.Now()
				cfg := inMemory(s, open{})
				cfg.OnInputEnd = func() { told = time.Since(began) }
				client := start(t, cfg)
				client.send(initialize)
				client.want(initResult)
				client.send(initialized)
				if c.call {
					client.send(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}`)
				}
				synctest.Wait()
				time.AfterFunc(c.hangUp, func() { _ = client.stdin.Close() })
				time.AfterFunc(c.signal, client.signal)
				if err := <-client.ended; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != c.ends {
					t.Errorf("it ended after %v, want %v", took, c.ends)
				}
				if told != c.hangUp {
					t.Errorf("the end of input was told after %v, want %v", told, c.hangUp)
				}
			})
		})
	}
}

// TestReplacedBeforeItOpened: a request that waits for a session which the client replaces, before the server took
// notifications/initialized, goes to the next. It went out in the old one.
func TestReplacedBeforeItOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		opened, calls := 0, []string{}
		c := start(t, inMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			switch a, session := readAsked(r, body), r.Header.Get("Mcp-Session-Id"); {
			case a.rpc == "initialize":
				opened++
				w.Header().Set("Mcp-Session-Id", fmt.Sprint("s", opened))
				answerJSON(w, initResult)
			case a.rpc == "tools/call":
				calls = append(calls, session)
				answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
			case a.rpc == "notifications/initialized" && session == "s1":
				w.WriteHeader(http.StatusServiceUnavailable)
			case r.Method == http.MethodGet:
				w.WriteHeader(http.StatusMethodNotAllowed)
			default:
				w.WriteHeader(http.StatusAccepted)
			}
		}), open{}))
		c.greet()
		c.send(fmt.Sprintf(unknownCall, "1"))
		synctest.Wait()
		c.send(initialize)
		c.want(initResult)
		c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		c.finish()
		if diff := cmp.Diff([]string{"s2"}, calls); diff != "" {
			t.Error(diff)
		}
	})
}

// TestReplacedSessionIsDeleted: a session that the client replaces is ended at the server, also one that never took a request
// because the server had not accepted notifications/initialized. That one was left behind.
func TestReplacedSessionIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &forgetful{refusal: notFound}
		var deleted []string
		s.handle = func(w http.ResponseWriter, r *http.Request, a asked) bool {
			if a.http == http.MethodDelete {
				deleted = append(deleted, a.header.Get("Mcp-Session-Id"))
			}
			if a.rpc == "notifications/initialized" && a.header.Get("Mcp-Session-Id") == "s1" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			return false
		}
		c := start(t, inMemory(s, open{}))
		c.greet()
		synctest.Wait()
		c.send(initialize)
		c.want(initResult)
		synctest.Wait()
		if diff := cmp.Diff([]string{"s1"}, deleted); diff != "" {
			t.Error(diff)
		}
		c.finish()
	})
}

// TestQuickEndIsQuiet: a client that ends while the server still thinks about notifications/initialized is told of no
// failure.
func TestQuickEndIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := inMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch a := readAsked(r, body); a.rpc {
			case "initialize":
				w.Header().Set("Mcp-Session-Id", "s1")
				answerJSON(w, initResult)
			case "notifications/initialized":
				pass(r, time.Hour)
			}
		}), open{})
		cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		c := start(t, cfg)
		c.greet()
		synctest.Wait()
		c.finish()
		synctest.Wait()
		if log.Len() > 0 {
			t.Errorf("logged %s", log.String())
		}
	})
}
