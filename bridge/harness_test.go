package bridge_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
)

// client is an MCP client at the bridge's stdio.
type client struct {
	t      *testing.T
	stdin  *io.PipeWriter
	lines  chan string
	ended  chan error
	signal context.CancelFunc
}

// start runs a bridge with cfg.
func start(t *testing.T, cfg bridge.Config) *client {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{t: t, stdin: inW, lines: make(chan string, 1000), ended: make(chan error, 1), signal: cancel}
	go func() {
		c.ended <- bridge.Run(ctx, cfg, inR, outW)
		_ = outW.Close()
	}()
	go func() {
		defer close(c.lines)
		r := bufio.NewReader(outR)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			c.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	t.Cleanup(func() { cancel(); _ = inW.Close(); <-c.lines })
	return c
}

func (c *client) send(lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
			c.t.Fatalf("write to stdin: %v", err)
		}
	}
}

// next returns the next line of stdout, which must be JSON.
func (c *client) next() string {
	c.t.Helper()
	select {
	case line, ok := <-c.lines:
		if !ok {
			c.t.Fatal("stdout ended")
		}
		if !json.Valid([]byte(line)) {
			c.t.Fatalf("stdout carries %q", line)
		}
		return line
	case <-time.After(20 * time.Second):
		c.t.Fatal("no message within 20 s")
		return ""
	}
}

// want fails unless the next line is exactly this.
func (c *client) want(line string) {
	c.t.Helper()
	if got := c.next(); got != line {
		c.t.Fatalf("stdout has\n%s\nwant\n%s", got, line)
	}
}

// wantError fails unless the next line is an error answer to id with this kind; it returns the error's data.
func (c *client) wantError(id, kind string) errorData {
	c.t.Helper()
	line := c.next()
	var m struct {
		ID    json.RawMessage
		Error struct {
			Code    int
			Message string
			Data    errorData
		}
	}
	if err := json.Unmarshal([]byte(line), &m); err != nil || string(m.ID) != id || m.Error.Data.Kind != kind {
		c.t.Fatalf("stdout has\n%s\nwant an error of kind %q for id %s (%v)", line, kind, id, err)
	}
	m.Error.Data.Message = m.Error.Message
	return m.Error.Data
}

type errorData struct{ Source, Kind, Cause, Hint, URL, Message string }

// pingUntil exchanges pings with the bridge until cond holds.
func (c *client) pingUntil(cond func() bool) {
	c.t.Helper()
	for range 100_000 {
		if cond() {
			return
		}
		c.send(`{"jsonrpc":"2.0","id":"until","method":"ping"}`)
		c.want(`{"jsonrpc":"2.0","id":"until","result":{}}`)
	}
	c.t.Fatal("the condition does not come true")
}

// finish closes stdin and waits for a good end.
func (c *client) finish() {
	c.t.Helper()
	_ = c.stdin.Close()
	if err := <-c.ended; err != nil {
		c.t.Errorf("the bridge ended with %v", err)
	}
}

const (
	initialize   = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	initialized  = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	initResult   = `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}}`
	unknownCall  = `{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"x"}}`
	listTools    = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	toolsChanged = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
)

// seen is a request as the server got it.
type seen struct {
	Method, Body string
	Header       http.Header
}

// server is an MCP server whose answers a test sets.
type server struct {
	init   string // the answer to initialize; initResult if ""
	mu     sync.Mutex
	log    []seen
	handle func(w http.ResponseWriter, r *http.Request, rpc, body string) // called for what the defaults do not answer
}

// ServeHTTP answers initialize and notifications by itself and has no GET stream.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.log = append(s.log, seen{r.Method, string(body), r.Header.Clone()})
	s.mu.Unlock()
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.Unmarshal(body, &m)
	switch {
	case s.handle != nil && m.Method != "initialize" && m.Method != "notifications/initialized":
		s.handle(w, r, m.Method, string(body))
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case m.ID == nil || m.Method == "":
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "initialize":
		w.Header().Set("Mcp-Session-Id", "session-1")
		answerJSON(w, cmp.Or(s.init, initResult))
	default:
		answerJSON(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{}}`)
	}
}

// requests returns what the server got, by HTTP method and JSON-RPC method.
func (s *server) requests() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]seen(nil), s.log...)
}

func answerJSON(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

// events starts an event stream and returns a function that sends one event and flushes.
func events(w http.ResponseWriter) func(string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	_ = flush()
	return func(event string) {
		_, _ = io.WriteString(w, event+"\n\n")
		_ = flush()
	}
}

// serve runs h on a socket and returns a config for it.
func serve(t testing.TB, h http.Handler) bridge.Config {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return bridge.Config{URL: srv.URL + "/mcp", Auth: open{}, HTTP: srv.Client(), Version: "test"}
}

// open is the Authorizer of a server that wants none.
type open struct{}

func (open) Authorize(*http.Request) error { return nil }
func (open) Challenged(context.Context, *http.Response, bridge.Attempt) (bridge.Verdict, error) {
	return bridge.Refused, nil
}
func (open) Pending() (bridge.SignIn, bool) { return bridge.SignIn{}, false }

// memory is a RoundTripper that calls a handler, for tests with a synthetic clock: sockets do not work in its bubble.
type memory struct{ http.Handler }

func (m memory) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	pr, pw := io.Pipe()
	w := &memoryWriter{header: http.Header{}, pipe: pw, begun: make(chan int, 1)}
	stop := context.AfterFunc(req.Context(), func() { _ = pw.CloseWithError(req.Context().Err()) })
	go func() {
		defer stop()
		m.ServeHTTP(w, req)
		w.WriteHeader(http.StatusOK)
		_ = pw.Close()
	}()
	select {
	case status := <-w.begun:
		return &http.Response{StatusCode: status, Header: w.header, Body: pr, ContentLength: -1, Request: req}, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

type memoryWriter struct {
	header http.Header
	pipe   *io.PipeWriter
	once   sync.Once
	begun  chan int
}

func (w *memoryWriter) Header() http.Header    { return w.header }
func (w *memoryWriter) WriteHeader(status int) { w.once.Do(func() { w.begun <- status }) }
func (w *memoryWriter) Flush()                 {}
func (w *memoryWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pipe.Write(b)
}

// silent discards what an http.Server logs.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }

// TestMain keeps what net/http logs of broken answers out of the output.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	m.Run()
}
