package bridge_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// tlsPeer is a server behind TLS. While it is being restarted, new connections end in the middle of the handshake.
type tlsPeer struct {
	*network
	way *http.Transport

	mu    sync.Mutex
	cuts  int           // how many handshakes are still to be cut
	hold  chan struct{} // when they are; nil: at once
	calls int
	gate  chan string // takes each call, which is answered 10 s later; nil: answered at once
}

func (p *tlsPeer) dial(ctx context.Context, kind, addr string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cuts == 0 {
		return p.network.dial(ctx, kind, addr)
	}
	p.cuts--
	near, far := newMemPair()
	go func(hold chan struct{}) {
		_, _ = far.Read(make([]byte, 1)) // of the ClientHello
		if hold != nil {
			<-hold
		}
		_ = far.Close()
	}(p.hold)
	return near, nil
}

func (p *tlsPeer) set(f func()) { p.mu.Lock(); defer p.mu.Unlock(); f() }

func (p *tlsPeer) count() int { p.mu.Lock(); defer p.mu.Unlock(); return p.calls }

// startTLS runs a server and returns a bridge's client to it, greeted.
func startTLS(t *testing.T, p *tlsPeer, http2 bool) *client {
	p.network = newNetwork()
	s := &server{handle: func(w http.ResponseWriter, r *http.Request, rpc, body string) {
		if rpc != "tools/call" {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		p.set(func() { p.calls++ })
		if p.gate != nil {
			p.gate <- body
			pass(r, 10*time.Second)
		}
		var id int
		_, _ = fmt.Sscanf(body, `{"jsonrpc":"2.0","id":%d`, &id)
		answerJSON(w, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{}}`, id))
	}}
	srv := httptest.NewUnstartedServer(s)
	_ = srv.Listener.Close() // no socket
	srv.Listener, srv.EnableHTTP2, srv.Config.ErrorLog = p.network, http2, silent()
	srv.StartTLS()
	p.way = srv.Client().Transport.(*http.Transport).Clone()
	p.way.DialContext, p.way.ForceAttemptHTTP2 = p.dial, http2
	t.Cleanup(func() { p.way.CloseIdleConnections(); p.cutAll(); srv.Close() })
	c := start(t, bridge.Config{URL: "https://example.com/mcp", Auth: open{}, HTTP: &http.Client{Transport: p.way}})
	c.greet()
	synctest.Wait()
	return c
}

// TestCutTLSHandshake: a call whose connection was cut in the TLS handshake never left, so that it is sent again; a call that
// may have left is not. The former counted as the latter.
func TestCutTLSHandshake(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for name, tt := range map[string]struct {
			cuts, calls int
			kind        string // of the error, "" for an answer
		}{
			"once": {cuts: 1, calls: 1}, "all the time": {cuts: 100, kind: "unreachable"},
		} {
			t.Run(fmt.Sprint(name, ", HTTP/2 ", http2), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &tlsPeer{}
					c := startTLS(t, p, http2)
					p.way.CloseIdleConnections()
					synctest.Wait()
					p.set(func() { p.cuts = tt.cuts })
					c.send(fmt.Sprintf(unknownCall, "1"))
					if tt.kind == "" {
						c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
					} else {
						c.wantError("1", tt.kind)
					}
					if n := p.count(); n != tt.calls {
						t.Errorf("the server got the call %d times, want %d", n, tt.calls)
					}
					p.set(func() { p.cuts = 0 })
					c.finish()
				})
			})
		}
	}
}

// TestCutAfterTLSHandshake: what was written counts as written, on a new connection and also where a handshake fails that was
// begun for the call before another connection took it.
func TestCutAfterTLSHandshake(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := &tlsPeer{gate: make(chan string)}
			c := startTLS(t, p, http2)
			p.way.CloseIdleConnections()
			c.send(fmt.Sprintf(unknownCall, "1"))
			<-p.gate
			p.cutAll()
			c.wantError("1", "outcome_unknown")
			if n := p.count(); n != 1 {
				t.Errorf("HTTP/2 %v: the server got the call %d times, want once", http2, n)
			}
			c.finish()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := &tlsPeer{gate: make(chan string)}
		c := startTLS(t, p, false)
		c.send(fmt.Sprintf(unknownCall, "1"))
		<-p.gate
		hold := make(chan struct{})
		p.set(func() { p.cuts, p.hold = 1, hold })
		c.send(fmt.Sprintf(unknownCall, "2")) // begins a handshake, then takes the connection of the first
		c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		<-p.gate
		close(hold)
		synctest.Wait()
		p.cutAll()
		c.wantError("2", "outcome_unknown")
		if n := p.count(); n != 2 {
			t.Errorf("the server got %d calls, want 2", n)
		}
		c.finish()
	})
}
