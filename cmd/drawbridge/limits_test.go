package main_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"drawbridge/internal/demo"
)

// TestMaxMessage: the flag sets the limit, a message beyond it gets an error, and the next one is dealt with.
func TestMaxMessage(t *testing.T) {
	p := newPlace(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	big := `{"jsonrpc":"2.0","id":"big","method":"tools/call","params":{"name":"echo","arguments":{"text":"` + strings.Repeat("x", 1<<20) + `"}}}`
	for limit, want := range map[string]string{"1": "null", "2": `"big"`} {
		w := p.start("--max-message", limit, p.world.URL())
		w.send(initialize, initialized, big)
		if m := w.answer(want); (m.Error != nil) != (limit == "1") {
			t.Errorf("--max-message %s: the answer is %+v", limit, m.Error)
		} else if limit == "1" && m.Error.Data.Kind != "too_long" {
			t.Errorf("--max-message 1: an error of kind %q", m.Error.Data.Kind)
		}
		w.send(ping)
		w.answer(`"ping"`)
		w.hangUp()
		w.wantExit(0)
	}
	w := p.start("--max-message", "0", p.world.URL())
	w.wantExit(2)
}

// TestRemarksOfTheHTTPLibrary: net/http logs what a server sends though nobody asked, in the server's words. Nobody is to
// see that.
func TestRemarksOfTheHTTPLibrary(t *testing.T) {
	answered := make(chan struct{}, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"initialize"`) {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		text := `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}`
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		fmt.Fprint(conn, "this was not asked for")
		answered <- struct{}{}
		_, _ = io.Copy(io.Discard, conn) // until the bridge hangs up
		_ = conn.Close()
	}))
	defer srv.Close()
	p := newPlace(t, demo.Config{})
	w := p.start(srv.URL + "/mcp")
	w.send(initialize)
	w.answer("0")
	take(t, "the unasked bytes", answered)
	for range 20 { // time for the library to see them
		w.send(ping)
		w.answer(`"ping"`)
	}
	w.hangUp()
	w.wantExit(0)
	if said := p.hear("standard error of drawbridge " + srv.URL + "/mcp").String(); strings.Contains(said, "not asked for") || strings.Contains(said, "Unsolicited") {
		t.Errorf("standard error has %q", said)
	}
}
