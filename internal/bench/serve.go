package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge/envelope"
	"drawbridge/internal/bench/script"
)

const (
	endpoint       = "/mcp"
	metadataPath   = "/.well-known/oauth-protected-resource"
	roundTrip      = 50 * time.Millisecond // of the distant server
	idleConnection = 300 * time.Millisecond
)

// places is where the server's faces are; the server prints it when it is ready.
type places struct {
	Plain  string // no TLS
	TLS    string
	Far    string // TLS, and a round trip of 50 ms
	Closer string // Far, without a GET stream, and with connections closed when they are idle
	CA     string // certificate, in PEM
}

// server is the remote side.
type server struct {
	issuer string

	mu    sync.Mutex // guards texts
	texts *script.Answers

	requests, connections atomic.Int64
	sessions              atomic.Int64
}

// serve runs the server until in ends.
func serve(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	issuer := f.String("issuer", "", "issuer of access tokens")
	if err := f.Parse(args); err != nil {
		return err
	}
	s := &server{issuer: *issuer, texts: script.NewAnswers()}
	at, err := s.listen(ctx)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(at); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// listen opens all faces. They close with the process.
func (s *server) listen(ctx context.Context) (at places, err error) {
	certificate, ca, err := newCertificate()
	if err != nil {
		return at, fmt.Errorf("make a certificate: %w", err)
	}
	plain := &http.Server{Handler: s.handler(true), ConnState: s.count}
	secure := &http.Server{Handler: s.handler(true), ConnState: s.count, TLSConfig: certificate}
	closing := &http.Server{Handler: s.handler(false), ConnState: s.count, TLSConfig: certificate.Clone(), IdleTimeout: idleConnection}
	l, err1 := listenLocal(ctx)
	sl, err2 := listenLocal(ctx)
	cl, err3 := listenLocal(ctx)
	far, err4 := listenLocal(ctx)
	closer, err5 := listenLocal(ctx)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return at, err
	}
	go func() { _ = plain.Serve(l) }() // they end with the process
	go func() { _ = secure.ServeTLS(sl, "", "") }()
	go func() { _ = closing.ServeTLS(cl, "", "") }()
	go delay(far, sl.Addr().String(), roundTrip)
	go delay(closer, cl.Addr().String(), roundTrip)
	return places{Plain: "http://" + l.Addr().String() + endpoint, TLS: "https://" + sl.Addr().String() + endpoint,
		Far: "https://" + far.Addr().String() + endpoint, Closer: "https://" + closer.Addr().String() + endpoint, CA: ca}, nil
}

func listenLocal(ctx context.Context) (net.Listener, error) {
	var c net.ListenConfig
	return c.Listen(ctx, "tcp", "127.0.0.1:0")
}

func (s *server) count(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.connections.Add(1)
	}
}

// handler is one face; streams says whether it has a GET stream.
func (s *server) handler(streams bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+metadataPath+endpoint, s.metadata)
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%d %d", s.requests.Load(), s.connections.Load())
	})
	mux.HandleFunc(endpoint, func(w http.ResponseWriter, r *http.Request) {
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); !ok || token == "" {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+origin(r)+metadataPath+endpoint+`"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.requests.Add(1)
		switch {
		case r.Method == http.MethodPost:
			s.post(w, r)
		case r.Method == http.MethodGet && streams:
			stream(w, r)
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	})
	return mux
}

func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// metadata is the protected resource metadata (RFC 9728), which sends clients to the identity provider.
func (s *server) metadata(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client may have left
		"resource": origin(r) + endpoint, "authorization_servers": []string{s.issuer}, "scopes_supported": []string{"mcp"},
	})
}

// stream keeps a GET stream open, on which nothing comes.
func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // the client may have left
	<-r.Context().Done()
}

func (s *server) post(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	m, err := envelope.Parse(body)
	if err != nil || m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if m.Method == "initialize" {
		w.Header().Set("Mcp-Session-Id", fmt.Sprintf("session-%d", s.sessions.Add(1)))
	}
	kind, n := script.Tool(m)
	prefix := `{"jsonrpc":"2.0","id":` + string(m.ID) + ","
	rest := s.answer(m)
	switch kind {
	case "sleep":
		time.Sleep(time.Duration(n) * time.Millisecond)
	case "notes":
		notify(w, m.ID, n)
		event(w, prefix, rest)
		return
	case "sse":
		w.Header().Set("Content-Type", "text/event-stream")
		event(w, prefix, rest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(prefix)+len(rest)))
	_, _ = io.WriteString(w, prefix) // the client may have left
	_, _ = io.WriteString(w, rest)
}

func (s *server) answer(m envelope.Message) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.texts.To(m)
}

func event(w io.Writer, parts ...string) {
	_, _ = io.WriteString(w, "event: message\ndata: ") // the client may have left
	for _, p := range append(parts, "\n\n") {
		_, _ = io.WriteString(w, p)
	}
}

// notesAtOnce is how many notifications leave with one write.
const notesAtOnce = 8

// notify sends n notifications of progress.
func notify(w http.ResponseWriter, token []byte, n int) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	for i := range n {
		event(w, fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d,"total":%d,"message":"step %d of many"}}`, token, i, n, i))
		if i%notesAtOnce == notesAtOnce-1 {
			_ = flush() // the client may have left
		}
	}
}
