package bridge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// streams is a forgetful server that notes when a GET came, and answers it as get says.
func streams(get func(n int, w http.ResponseWriter, r *http.Request)) (s *forgetful, times *[]time.Time) {
	s, times = &forgetful{refusal: notFound}, new([]time.Time)
	s.handle = func(w http.ResponseWriter, r *http.Request, a asked) bool {
		if a.http != http.MethodGet {
			return false
		}
		*times = append(*times, time.Now())
		get(len(*times), w, r)
		return true
	}
	return s, times
}

func hang(_ int, w http.ResponseWriter, r *http.Request) {
	events(w)(": hello")
	<-r.Context().Done()
}

// keepAsking has the client make a request every ten minutes, so that it is not idle.
func (c *client) keepAsking(d time.Duration) {
	for range int(d / (10 * time.Minute)) {
		<-time.After(10 * time.Minute)
		c.send(`{"jsonrpc":"2.0","id":"busy","method":"completion/complete"}`)
		for line := c.next(); !strings.Contains(line, `"id":"busy"`); line = c.next() {
		}
	}
}

// TestStreamComesBack: however long the server is away, and however its GET stream ends, it is opened again soon after the
// server is back, at a pace that harms nobody; a server that offers none is asked once.
func TestStreamComesBack(t *testing.T) {
	const outage = 10 * time.Hour
	for name, refuse := range map[string]func(w http.ResponseWriter, r *http.Request){
		"503":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"429":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"409":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) },
		"ends":      func(w http.ResponseWriter, _ *http.Request) { events(w) },
		"retry 5 s": func(w http.ResponseWriter, _ *http.Request) { events(w)("retry: 5000\ndata:") },
		"405":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"web page":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"404":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"retry 1 h": func(w http.ResponseWriter, _ *http.Request) { events(w)("retry: 3600000\ndata:") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := time.Now().Add(outage)
				s, times := streams(func(n int, w http.ResponseWriter, r *http.Request) {
					if time.Now().Before(back) {
						refuse(w, r)
						return
					}
					hang(n, w, r)
				})
				c := start(t, inMemory(s, open{}))
				c.send(initialize)
				c.want(initResult)
				c.send(initialized)
				c.keepAsking(outage + 20*time.Minute)
				synctest.Wait()
				n, last := len(*times), (*times)[len(*times)-1]
				switch name {
				case "405", "web page", "404":
					if n != 1 || s.opened != 1 {
						t.Errorf("%d GETs and %d sessions, want one of each", n, s.opened)
					}
				case "retry 1 h": // ten minutes at most
					if n < 60 || n > 65 || last.Before(back) {
						t.Errorf("%d GETs, the last at %v", n, last)
					}
				default:
					pace := 12 * time.Second // 15 s to 30 s, or what the server asks for
					if name == "retry 5 s" {
						pace = 4 * time.Second
					}
					late := slices.IndexFunc(*times, func(at time.Time) bool { return !at.Before(back) })
					if late < 0 || (*times)[late].Sub(back) > 30*time.Second || n > int(outage/pace) {
						t.Errorf("%d GETs; the stream is back at %v, %v after the server", n, last, last.Sub(back))
					}
				}
				c.finish()
			})
		})
	}
}

// TestSilentStream: a stream that brings nothing for ten minutes is opened anew where it was; comments count.
func TestSilentStream(t *testing.T) {
	for _, comments := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var ids []string
			s, times := streams(func(n int, w http.ResponseWriter, r *http.Request) {
				ids = append(ids, r.Header.Get("Last-Event-ID"))
				emit := events(w)
				emit(fmt.Sprintf("id: %d\ndata:", n))
				for comments && r.Context().Err() == nil {
					pass(r, 5*time.Minute)
					emit(": still here")
				}
				<-r.Context().Done()
			})
			c := start(t, inMemory(s, open{}))
			c.send(initialize)
			c.want(initResult)
			c.send(initialized)
			c.keepAsking(time.Hour)
			synctest.Wait()
			want := 7
			if comments {
				want = 1
			}
			if n := len(*times); n < want-1 || n > want {
				t.Errorf("comments %v: %d GETs in an hour, want %d", comments, n, want)
			}
			if !comments && !slices.Equal(ids[:3], []string{"", "1", "2"}) {
				t.Errorf("Last-Event-ID of the GETs: %q", ids)
			}
			c.finish()
		})
	}
}

// TestIdleClientHasNoStream: thirty minutes after the client's last request the stream is given up, and the server hears
// nothing more until the next request; then it is opened again, and the client asks again for the lists whose changes it
// may have missed.
func TestIdleClientHasNoStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := time.Time{}
		s, times := streams(func(n int, w http.ResponseWriter, r *http.Request) {
			emit := events(w)
			for r.Context().Err() == nil {
				emit(": ping")
				pass(r, time.Minute)
			}
			ended = time.Now()
		})
		c := start(t, inMemory(s, open{}))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized)
		synctest.Wait()
		began := time.Now()
		<-time.After(8 * time.Hour)
		synctest.Wait()
		if len(*times) != 1 || ended.Sub(began) < 30*time.Minute || ended.Sub(began) > 31*time.Minute {
			t.Errorf("%d GETs; the stream ended after %v", len(*times), ended.Sub(began))
		}
		s.seen()
		<-time.After(8 * time.Hour)
		if got := s.seen(); len(got) > 0 {
			t.Errorf("the server of an idle client gets %v", got)
		}
		c.send(listTools)
		c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		c.want(toolsChanged)
		synctest.Wait()
		if len(*times) != 2 {
			t.Errorf("%d GETs after the next request, want 2", len(*times))
		}
		c.finish()
	})
}

// TestStreamFindsTheSessionLost: without any request of the client a new session is opened, and the client told to ask
// again. It starts no sign-in: if one is needed, the client's next request brings it about.
func TestStreamFindsTheSessionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &forgetful{refusal: notFound, streams: true, push: make(chan string)}
		c := start(t, inMemory(s, open{}))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized)
		synctest.Wait()
		s.forget()
		s.push <- "data:\n\nevent: end" // the handler goes on; what ends it is below
		<-time.After(11 * time.Minute)  // the silent stream is opened anew, and refused
		c.want(toolsChanged)
		synctest.Wait()
		if s.opened != 2 {
			t.Errorf("%d sessions were opened, want 2", s.opened)
		}
		s.push <- "data: " + toolsChanged
		c.want(toolsChanged)
		c.finish()
	})
	synctest.Test(t, func(t *testing.T) {
		h := &human{signedIn: true}
		s := &forgetful{refusal: notFound, streams: true, push: make(chan string)}
		forgot := false
		c := start(t, inMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" && r.Header.Get("Mcp-Session-Id") == "" && forgot { // initialize
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			s.ServeHTTP(w, r)
		}), h))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized)
		synctest.Wait()
		s.forget()
		forgot = true
		h.revoke("the sign-in has ended")
		<-time.After(25 * time.Minute)
		if _, pending := h.Pending(); pending {
			t.Error("the GET stream brought about a sign-in")
		}
		c.send(fmt.Sprintf(unknownCall, "1"))
		synctest.Wait()
		if h.tabs() != 1 {
			t.Errorf("%d tabs after the client's request, want 1", h.tabs())
		}
		h.end(nil)
		for line := c.next(); line != `{"jsonrpc":"2.0","id":1,"result":{}}`; line = c.next() {
			if !strings.Contains(line, "list_changed") {
				t.Errorf("the client gets %s", line)
			}
		}
		c.finish()
	})
}

// TestResume: what is asked for with Last-Event-ID is asked for again after faults that pass. What is said to that GET is
// no answer to the call, which was executed.
func TestResume(t *testing.T) {
	tests := map[string]struct {
		rest func(n int, w http.ResponseWriter)
		want string // of the answer
		gets int
	}{
		"503 three times": {func(n int, w http.ResponseWriter) {
			if n <= 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			events(w)(`data: {"jsonrpc":"2.0","id":1,"result":"rest"}`)
		}, `{"jsonrpc":"2.0","id":1,"result":"rest"}`, 4},
		"503 for ever":  {func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, `"kind":"outcome_unknown"`, 6},
		"nothing new":   {func(_ int, w http.ResponseWriter) { events(w) }, `"kind":"outcome_unknown"`, 5},
		"405":           {func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusMethodNotAllowed) }, `"kind":"outcome_unknown"`, 1},
		"JSON-RPC 404":  {func(_ int, w http.ResponseWriter) { rpcStatus(w, 404, "Session not found") }, `"kind":"outcome_unknown"`, 1},
		"JSON-RPC 400":  {func(_ int, w http.ResponseWriter) { rpcStatus(w, 400, "No such event") }, `"kind":"outcome_unknown"`, 1},
		"in two pieces": {func(n int, w http.ResponseWriter) { pieces(n, w) }, `{"jsonrpc":"2.0","id":1,"result":"rest"}`, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gets, calls := 0, 0
				s := &forgetful{refusal: notFound}
				s.handle = func(w http.ResponseWriter, r *http.Request, a asked) bool {
					switch {
					case a.rpc == "tools/call":
						calls++
						events(w)("id: 1\nretry: 2000\ndata:")
					case a.http == http.MethodGet && a.header.Get("Last-Event-ID") != "":
						gets++
						tt.rest(gets, w)
					default:
						return false
					}
					return true
				}
				c := start(t, inMemory(s, open{}))
				c.send(initialize)
				c.want(initResult)
				began := time.Now()
				c.send(initialized, fmt.Sprintf(unknownCall, "1"))
				<-time.After(time.Minute)
				if got := c.next(); !strings.Contains(got, tt.want) {
					t.Errorf("the client gets %s\nwant %s", got, tt.want)
				}
				synctest.Wait()
				if calls != 1 || gets != tt.gets {
					t.Errorf("%d calls and %d GETs in %v, want 1 and %d", calls, gets, time.Since(began), tt.gets)
				}
				c.finish()
			})
		})
	}
}

func rpcStatus(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":%q}}`, message)
}

func pieces(n int, w http.ResponseWriter) {
	if n == 1 {
		events(w)("id: 2\ndata:")
		return
	}
	events(w)(`data: {"jsonrpc":"2.0","id":1,"result":"rest"}`)
}

// TestTooLargeOnTheStream: a message over the limit on the GET stream is lost, the next is delivered, and none is asked for
// twice. It was replayed for ever where its id came after its data.
func TestTooLargeOnTheStream(t *testing.T) {
	huge := `data: {"jsonrpc":"2.0","method":"x","params":"` + strings.Repeat("x", 100_000) + `"}`
	const small = `{"jsonrpc":"2.0","method":"y"}`
	for name, event := range map[string]string{"id first": "id: 2\n" + huge, "id last": huge + "\nid: 2"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ids []string
				s, _ := streams(func(n int, w http.ResponseWriter, r *http.Request) {
					after := r.Header.Get("Last-Event-ID")
					ids = append(ids, after)
					emit := events(w)
					if after == "" {
						emit("id: 1\ndata: " + small)
					}
					if after < "2" {
						emit(event)
					}
					if n > 1 {
						emit("id: 3\ndata: " + small)
						<-r.Context().Done()
					}
				})
				cfg := inMemory(s, open{})
				cfg.MaxMessage = 50_000
				c := start(t, cfg)
				c.greet()
				c.want(small)
				<-time.After(5 * time.Minute)
				c.want(small)
				if !slices.Equal(ids, []string{"", "2"}) {
					t.Errorf("Last-Event-ID of the GETs: %q, want none and 2", ids)
				}
				c.finish()
			})
		})
	}
}

// TestAnsweredOnAnotherStream: the exchange of a call whose answer came on the GET stream ends soon after. It stood until the
// server ended it.
func TestAnsweredOnAnotherStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const answer = `{"jsonrpc":"2.0","id":1,"result":{}}`
		var took time.Duration
		s := &forgetful{refusal: notFound, streams: true, push: make(chan string)}
		s.handle = func(w http.ResponseWriter, r *http.Request, a asked) bool {
			if a.rpc == "tools/call" {
				began := time.Now()
				events(w)(": working")
				<-r.Context().Done()
				took = time.Since(began)
			}
			return a.rpc == "tools/call"
		}
		c := start(t, inMemory(s, open{}))
		c.greet()
		c.send(fmt.Sprintf(unknownCall, "1"))
		synctest.Wait()
		s.push <- "data: " + answer
		c.want(answer)
		<-time.After(time.Hour)
		synctest.Wait()
		if took != time.Second {
			t.Errorf("the call's POST ended after %v, want 1 s after its answer", took)
		}
		c.quiet(t)
		c.finish()
	})
}
