package bridge_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// overMemory serves h on a network in memory, over HTTP/2 without TLS if http2, and returns a config for it. The caller
// calls end before its bubble ends.
func overMemory(h http.Handler, http2 bool) (cfg bridge.Config, n *network, end func()) {
	n = newNetwork()
	transport := &http.Transport{DialContext: n.dial, HTTP2: bridge.HTTP2()}
	srv := &http.Server{Handler: h, ErrorLog: silent()}
	if http2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
		srv.Protocols = transport.Protocols
	}
	go func() { _ = srv.Serve(n) }()
	cfg = bridge.Config{URL: "http://mcp.example/mcp", Auth: open{}, HTTP: &http.Client{Transport: transport}, Version: "test"}
	return cfg, n, func() { transport.CloseIdleConnections(); _ = srv.Close() }
}

// TestStoppedServer: a server that is stopped for a minute in the middle of a call answers it afterwards. One that never
// comes back is noticed within two minutes over HTTP/2, and the next call takes a new connection.
func TestStoppedServer(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{handle: func(w http.ResponseWriter, r *http.Request, rpc, body string) {
				switch {
				case rpc != "tools/call":
					w.WriteHeader(http.StatusMethodNotAllowed)
				case body == fmt.Sprintf(unknownCall, "1"):
					<-time.After(5 * time.Second)
					events(w)("data: " + `{"jsonrpc":"2.0","id":1,"result":"late"}`)
				default:
					<-time.After(5 * time.Second)
					answerJSON(w, `{"jsonrpc":"2.0","id":2,"result":"new"}`)
				}
			}}
			cfg, n, end := overMemory(s, http2)
			defer end()
			c := start(t, cfg)
			c.send(initialize)
			c.want(initResult)
			c.send(initialized, fmt.Sprintf(unknownCall, "1"))
			<-time.After(time.Second)
			n.freeze(true)
			<-time.After(time.Minute)
			n.freeze(false)
			<-time.After(5 * time.Second)
			c.want(`{"jsonrpc":"2.0","id":1,"result":"late"}`)
			if !http2 {
				c.finish()
				return // over HTTP/1.1 the kernel notices, see TestDialerNoticesDeadPeers
			}
			c.send(fmt.Sprintf(unknownCall, "3"))
			<-time.After(time.Second)
			n.freeze(true)
			<-time.After(2 * time.Minute)
			c.wantError("3", "outcome_unknown")
			c.send(fmt.Sprintf(unknownCall, "2"))
			<-time.After(6 * time.Second)
			c.want(`{"jsonrpc":"2.0","id":2,"result":"new"}`)
			n.freeze(false)
			c.finish()
		})
	}
}

// TestSleep: after the machine slept, a request goes out on a new connection, though nobody said that the old ones are
// dead, and the GET stream is opened anew.
func TestSleep(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			gets := 0
			s := &server{handle: func(w http.ResponseWriter, r *http.Request, rpc, body string) {
				switch {
				case r.Method == http.MethodGet:
					gets++
					events(w)(": hello")
					<-r.Context().Done()
				case rpc != "":
					answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
				}
			}}
			cfg, n, end := overMemory(s, http2)
			defer end()
			began, asleep := time.Now(), time.Duration(0)
			cfg.SetClock(func() time.Time { return time.Now().Add(asleep) }, func() time.Duration { return time.Since(began) })
			c := start(t, cfg)
			c.send(initialize)
			c.want(initResult)
			c.send(initialized, fmt.Sprintf(unknownCall, "1"))
			c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
			synctest.Wait()
			n.freeze(true)
			asleep = 8 * time.Hour
			c.send(fmt.Sprintf(unknownCall, "1"))
			synctest.Wait()
			awake := time.Now()
			c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
			<-time.After(time.Second)
			synctest.Wait()
			if took := time.Since(awake); took > time.Second || gets != 2 {
				t.Errorf("HTTP/2 %v: the call took %v, and the GET stream was opened %d times, want 2", http2, took, gets)
			}
			n.freeze(false)
			c.finish()
		})
	}
}
