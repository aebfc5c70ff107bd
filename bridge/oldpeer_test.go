package bridge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"drawbridge/bridge"
)

// oldPeer is a server of HTTP+SSE (MCP 2024-11-05): GET /mcp opens a stream, POST /messages takes messages.
type oldPeer struct {
	url string // of the stream

	// What it does otherwise than it should.
	endpoint    func(id int) string                      // what the endpoint event names
	post        http.HandlerFunc                         // answers POST to the URL of the stream; nil: 405
	accepted    int                                      // status of accepted messages; 0: 202
	late        bool                                     // accepts a request when it has answered it
	hello       string                                   // is sent before the endpoint event
	answer      func(p *oldPeer, s *oldStream, m oldMsg) // answers a request other than initialize
	refuse      func(r *http.Request) int                // status to refuse a request with; 0: none
	refuseGet   func() (status int, kind, body string)   // answers GET; nil: a stream
	onlyEvents  bool                                     // the stream names no endpoint
	endAtOpen   bool                                     // the stream ends before the endpoint event
	endAtAccept bool                                     // the stream ends when a call was executed, before its answer

	mu       sync.Mutex
	streams  map[int]*oldStream
	count    int
	log      []string       // "METHOD path rpc"
	executed map[string]int // by the text of params
	headers  []http.Header
	replies  []string // responses of the client
}

type oldStream struct {
	id    int
	out   chan string // events; "" is a mark
	marks chan chan struct{}
	gone  chan struct{}
	end   func()
}

type oldMsg struct {
	ID     json.RawMessage
	Method string
	Params json.RawMessage
}

// startOld runs p on a network in memory, and returns a configuration to reach it.
func startOld(t *testing.T, p *oldPeer) (bridge.Config, *network) {
	t.Helper()
	n := newNetwork()
	p.url, p.streams, p.executed = "http://mem/mcp", map[int]*oldStream{}, map[string]int{}
	web := &http.Server{Handler: p, ErrorLog: silent()}
	go func() { _ = web.Serve(n) }() // ends with Close
	way := &http.Transport{DialContext: n.dial}
	t.Cleanup(func() {
		_ = web.Close()
		way.CloseIdleConnections()
	})
	return bridge.Config{URL: p.url, Auth: open{}, HTTP: &http.Client{Transport: way}, Version: "test"}, n
}

func (p *oldPeer) note(r *http.Request, m oldMsg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+m.Method))
	p.headers = append(p.headers, r.Header.Clone())
}

// requests returns what was asked, one line each.
func (p *oldPeer) requests() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// ServeHTTP implements [http.Handler].
func (p *oldPeer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m oldMsg
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &m)
	p.note(r, m)
	if p.refuse != nil {
		if status := p.refuse(r); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	switch {
	case r.URL.Path == "/mcp" && r.Method == http.MethodGet && p.refuseGet != nil:
		status, kind, text := p.refuseGet()
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	case r.URL.Path == "/mcp" && r.Method == http.MethodGet:
		p.stream(w, r)
	case r.URL.Path == "/mcp" && p.post != nil:
		p.post(w, r)
	case r.URL.Path == "/messages" && r.Method == http.MethodPost:
		p.take(w, r, m, string(body))
	default:
		http.Error(w, "not here", http.StatusMethodNotAllowed)
	}
}

func (p *oldPeer) stream(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.count++
	gone := make(chan struct{})
	s := &oldStream{id: p.count, out: make(chan string, 10_000), marks: make(chan chan struct{}, 10_000), gone: gone, end: sync.OnceFunc(func() { close(gone) })}
	p.streams[s.id] = s
	p.mu.Unlock()
	defer func() {
		s.end()
		p.mu.Lock()
		delete(p.streams, s.id)
		p.mu.Unlock()
	}()
	send := events(w)
	to := fmt.Sprintf("/messages?session=%d", s.id)
	if p.endpoint != nil {
		to = p.endpoint(s.id)
	}
	switch {
	case p.endAtOpen:
		return
	case p.onlyEvents:
		send("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/hello\"}")
	default:
		send(p.hello + "event: endpoint\ndata: " + to)
	}
	for {
		select {
		case text := <-s.out:
			if text == "" {
				close(<-s.marks)
				continue
			}
			send(text)
		case <-gone:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// take handles a POST to the endpoint.
func (p *oldPeer) take(w http.ResponseWriter, r *http.Request, m oldMsg, body string) {
	p.mu.Lock()
	var id int
	_, _ = fmt.Sscan(r.URL.Query().Get("session"), &id) // 0 is no session
	s := p.streams[id]
	if s != nil && m.Method == "" {
		p.replies = append(p.replies, body)
	}
	p.mu.Unlock()
	if s == nil {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	status := p.accepted
	if status == 0 {
		status = http.StatusAccepted
	}
	if !p.late {
		p.accept(w, status)
	}
	if m.ID != nil && m.Method != "" {
		p.serve(s, m)
	}
	if p.late {
		s.flushed()
		p.accept(w, status)
	}
}

// flushed waits until everything that was put on the stream so far was sent.
func (s *oldStream) flushed() {
	sent := make(chan struct{})
	s.marks <- sent
	s.out <- ""
	select {
	case <-sent:
	case <-s.gone:
	}
}

func (p *oldPeer) accept(w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		_, _ = io.WriteString(w, "Accepted")
	}
	_ = http.NewResponseController(w).Flush() // the client may have left
}

func (p *oldPeer) serve(s *oldStream, m oldMsg) {
	if m.Method == "initialize" {
		s.message(`{"jsonrpc":"2.0","id":` + string(m.ID) + initResult[len(`{"jsonrpc":"2.0","id":0`):])
		return
	}
	p.mu.Lock()
	p.executed[string(m.Params)]++
	p.mu.Unlock()
	switch {
	case p.endAtAccept && m.Method == "tools/call":
		s.end()
	case p.answer != nil:
		p.answer(p, s, m)
	default:
		s.result(m.ID, `{"echo":`+string(m.Params)+`}`)
	}
}

func (s *oldStream) message(text string) { s.out <- "event: message\ndata: " + text }

func (s *oldStream) result(id json.RawMessage, result string) {
	s.message(`{"jsonrpc":"2.0","id":` + string(id) + `,"result":` + result + `}`)
}

// send sends a message on every stream.
func (p *oldPeer) send(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.streams {
		s.message(text)
	}
}

// cut ends every stream.
func (p *oldPeer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.streams {
		s.end()
	}
}

func (p *oldPeer) executions(params string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.executed[params]
}
