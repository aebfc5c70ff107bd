package bridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestClientThatDoesNotRead: what the server sends waits at the server, not in memory; nothing is dropped; and what the
// client writes is still dealt with.
func TestClientThatDoesNotRead(t *testing.T) {
	const total, room = 5000, 1000 // room is what the test's client holds before it stops reading
	synctest.Test(t, func(t *testing.T) {
		sent, cancelled := 0, make(chan bool)
		s := &server{}
		s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
			switch {
			case rpc == "notifications/cancelled":
				close(cancelled)
				w.WriteHeader(http.StatusAccepted)
			case rpc != "tools/call":
				w.WriteHeader(http.StatusMethodNotAllowed)
			case strings.Contains(body, `"id":2`):
				<-r.Context().Done()
			default:
				emit := events(w)
				for ; sent < total; sent++ {
					emit(fmt.Sprintf(`data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":%d}}`, sent))
				}
				emit(`data: {"jsonrpc":"2.0","id":1,"result":{}}`)
			}
		}
		c := start(t, inMemory(s, open{}))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized, fmt.Sprintf(unknownCall, "1"), fmt.Sprintf(unknownCall, "2"))
		synctest.Wait()
		if sent > room+10 {
			t.Errorf("the server could send %d messages, although the client takes only %d", sent, room)
		}
		c.send(`{"jsonrpc":"2.0","id":"p","method":"ping"}`, "garbage", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`)
		<-cancelled // it does not wait for the client to read
		progress := 0
		for answers := 0; answers < 3; {
			line := c.next()
			switch {
			case strings.Contains(line, "notifications/progress"):
				if !strings.Contains(line, fmt.Sprintf(`"progress":%d}`, progress)) {
					t.Fatalf("%s comes where progress %d should", line, progress)
				}
				progress++
			case strings.Contains(line, `"id":"p"`), strings.Contains(line, "parse_error"), strings.Contains(line, `"id":1,"result"`):
				answers++
			default:
				t.Errorf("the client gets %s", line)
			}
		}
		if progress != total {
			t.Errorf("%d notifications arrived, want %d", progress, total)
		}
		c.finish()
	})
}

// TestEndOfInputIsNoticed although the client reads nothing any more, and many answers wait for it.
func TestEndOfInputIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := inMemory(&server{}, open{})
		cfg.MaxMessage = 1 << 10
		c := start(t, cfg)
		for i := range 1200 {
			c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, i))
		}
		c.send(strings.Repeat("x", 2<<10)) // is refused, which waits too
		_ = c.stdin.Close()
		began := time.Now()
		if err := <-c.ended; err != nil {
			t.Errorf("the bridge ended with %v", err)
		}
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

// TestFloodOfNotifications: while the server takes none, they wait, a list_changed only once; when too many wait, the
// client is told once, and pings are answered all the while.
func TestFloodOfNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, got := make(chan struct{}), map[string]int{}
		s := &server{}
		s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
			if r.Method != http.MethodPost {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			<-release
			got[rpc]++
			w.WriteHeader(http.StatusAccepted)
		}
		c := start(t, inMemory(s, open{}))
		c.send(initialize)
		c.want(initResult)
		c.send(initialized)
		const sent = 5000
		for i := range sent {
			c.send(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`, fmt.Sprintf(`{"jsonrpc":"2.0","method":"x/%d"}`, i%2))
		}
		c.send(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
		if line := c.next(); !strings.Contains(line, `"method":"notifications/message"`) || !strings.Contains(line, "are lost") {
			t.Errorf("the client is told %s", line)
		}
		c.want(`{"jsonrpc":"2.0","id":"p","result":{}}`)
		close(release)
		synctest.Wait()
		if n := got["x/0"] + got["x/1"]; n < 4000 || n >= sent {
			t.Errorf("%d of %d notifications arrived, want those that found a place", n, sent)
		}
		if n := got["notifications/roots/list_changed"]; n < 1 || n > 2 {
			t.Errorf("list_changed arrived %d times, want once or twice", n)
		}
		c.finish()
	})
}
