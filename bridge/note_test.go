package bridge_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestNotificationWaitsForTheSession: what the client says while a person signs in reaches the server afterwards, however
// long that takes. It was dropped after 30 s.
func TestNotificationWaitsForTheSession(t *testing.T) {
	const rootsChanged = `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`
	synctest.Test(t, func(t *testing.T) {
		h, got := &human{}, 0
		s := &server{handle: func(w http.ResponseWriter, r *http.Request, _, body string) {
			if r.Method != http.MethodPost {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			if body == rootsChanged {
				got++
			}
			w.WriteHeader(http.StatusAccepted)
		}}
		c := start(t, inMemory(protected(s), h))
		c.send(initialize)
		c.next()
		c.send(initialized, rootsChanged)
		<-time.After(20 * time.Minute)
		h.end(nil)
		synctest.Wait()
		if got != 1 {
			t.Errorf("the server got the notification %d times, want once", got)
		}
		c.finish()
	})
}

// TestNotificationIsOfferedForALimitedTime: in a session that stands, one that the server does not take is given up after
// 30 s, for those behind it.
func TestNotificationIsOfferedForALimitedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var after time.Duration
		began := time.Now()
		s := &server{handle: func(w http.ResponseWriter, r *http.Request, rpc, _ string) {
			switch {
			case r.Method != http.MethodPost:
				w.WriteHeader(http.StatusMethodNotAllowed)
			case rpc == "x/1":
				pass(r, time.Hour)
			default:
				after = time.Since(began)
				w.WriteHeader(http.StatusAccepted)
			}
		}}
		c := start(t, inMemory(s, open{}))
		c.greet()
		c.send(`{"jsonrpc":"2.0","method":"x/1"}`, `{"jsonrpc":"2.0","method":"x/2"}`)
		<-time.After(time.Minute)
		synctest.Wait()
		if after != 30*time.Second {
			t.Errorf("the second arrived after %v, want 30 s", after)
		}
		c.finish()
	})
}

// TestNoNotificationHoldsUpTheEnd: a notification that waits for a server that is away does not keep the bridge from ending;
// one that waits for a slow server is still delivered.
func TestNoNotificationHoldsUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := inMemory(&server{}, open{})
		cfg.HTTP = &http.Client{Transport: &departed{RoundTripper: cfg.HTTP.Transport, away: true}}
		c := start(t, cfg)
		c.send(initialize)
		c.next()
		c.send(initialized, `{"jsonrpc":"2.0","method":"x"}`)
		<-time.After(10 * time.Minute)
		began := time.Now()
		c.finish()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %v, want none", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s, got := &server{}, make(chan string, 1)
		s.handle = func(w http.ResponseWriter, _ *http.Request, rpc, _ string) {
			if rpc == "x" {
				got <- rpc
			}
			w.WriteHeader(http.StatusAccepted)
		}
		c := start(t, inMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pass(r, time.Second)
			s.ServeHTTP(w, r)
		}), open{}))
		c.send(initialize, initialized, `{"jsonrpc":"2.0","method":"x"}`)
		c.finish()
		if len(got) != 1 {
			t.Error("the notification did not arrive")
		}
	})
}
