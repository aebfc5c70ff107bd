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
		if after != 30*time.Second {
			t.Errorf("the second arrived after %v, want 30 s", after)
		}
		c.finish()
	})
}
