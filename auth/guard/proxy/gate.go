package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"drawbridge/auth/guard"
)

// Gate refuses requests that need no look at their token: for another host, from a page of another origin, by a method
// that MCP has no use for, or more at once than this instance takes. Make it with [NewGate].
type Gate struct {
	hosts, origins []string
	limit          int64
	record         func(*http.Request, guard.Event) error
	open           atomic.Int64
}

// GateConfig says what a [Gate] lets through.
type GateConfig struct {
	// Resource is the public URL of the server. Its host and origin are let through.
	Resource string

	// Hosts are more values of the Host header that are let through, such as the name that a load balancer uses.
	Hosts []string

	// Origins are more origins whose pages may use the server, such as https://inspector.example.com.
	Origins []string

	// MaxConcurrent is how many requests may be under way. If zero, it is 4096.
	MaxConcurrent int

	// Record writes a refusal down before it is sent, as [guard.Guard.Record] does. If it fails, the answer is 503. If nil,
	// refusals are not written down.
	Record func(*http.Request, guard.Event) error
}

// defaultConcurrent event streams fit into the memory of a small machine.
const defaultConcurrent = 4096

// bodyTime is how long a message may take to arrive: who sends a byte a minute would otherwise hold a place for hours.
const bodyTime = 30 * time.Second

// NewGate makes a gate.
func NewGate(cfg GateConfig) (*Gate, error) {
	u, err := url.Parse(cfg.Resource)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("resource %q: not a URL that can be used", cfg.Resource)
	}
	g := &Gate{limit: int64(cfg.MaxConcurrent), record: cfg.Record}
	if g.record == nil {
		g.record = func(*http.Request, guard.Event) error { return nil }
	}
	if g.limit == 0 {
		g.limit = defaultConcurrent
	}
	for _, host := range append([]string{u.Host}, cfg.Hosts...) {
		g.hosts = append(g.hosts, canonicalHost(host))
	}
	for _, origin := range append([]string{u.Scheme + "://" + u.Host}, cfg.Origins...) {
		o, err := url.Parse(origin)
		if err != nil || o.Host == "" || o.Path != "" || o.RawQuery != "" || o.User != nil {
			return nil, fmt.Errorf("origin %q: want scheme://host, as browsers send it", origin)
		}
		g.origins = append(g.origins, o.Scheme+"://"+canonicalHost(o.Host))
	}
	return g, nil
}

// canonicalHost drops the ports that schemes imply.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	if name, port, err := net.SplitHostPort(host); err == nil && (port == "80" || port == "443") {
		return name
	}
	return host
}

// Wrap returns a handler that passes on to next what the gate lets through.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// DNS rebinding makes a browser send a page's requests here under the page's own name.
		if !slices.Contains(g.hosts, canonicalHost(r.Host)) {
			g.refuse(w, r, guard.Denied, http.StatusMisdirectedRequest, "this server has another name", r.Host)
			return
		}
		if !g.fromOrigin(w, r) {
			return
		}
		if g.open.Add(1) > g.limit {
			g.open.Add(-1)
			w.Header().Set("Retry-After", "1")
			g.refuse(w, r, guard.Limited, http.StatusServiceUnavailable, "too many requests are under way")
			return
		}
		defer g.open.Add(-1)
		if r.Method == http.MethodPost {
			limitBody(w, r)
		}
		next.ServeHTTP(w, r)
	})
}

// fromOrigin answers a request that must go no further: of a foreign origin (MCP, Streamable HTTP, security: 403), by
// another method, or a browser's question whether it may.
func (g *Gate) fromOrigin(w http.ResponseWriter, r *http.Request) bool {
	if origins := r.Header.Values("Origin"); len(origins) > 0 {
		u, err := url.Parse(origins[0])
		if err != nil || len(origins) > 1 || !slices.Contains(g.origins, u.Scheme+"://"+canonicalHost(u.Host)) {
			g.refuse(w, r, guard.Denied, http.StatusForbidden, "pages of this origin may not use this server", origins...)
			return false
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origins[0])
		h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, Retry-After")
		h.Add("Vary", "Origin")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "POST, GET, DELETE")
			h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return false
		}
	}
	switch r.Method {
	case http.MethodPost, http.MethodGet, http.MethodDelete:
		return true
	}
	w.Header().Set("Allow", "POST, GET, DELETE")
	g.refuse(w, r, guard.Malformed, http.StatusMethodNotAllowed, "MCP uses POST, GET and DELETE")
	return false
}

// refuse writes a refusal down and sends it. The audit is told what was sent, the caller knows.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, verdict guard.Verdict, status int, text string, sent ...string) {
	reason := text
	if len(sent) > 0 {
		reason = fmt.Sprintf("%s: %.200q", text, sent)
	}
	if err := g.record(r, guard.Event{Verdict: verdict, Reason: reason, Status: status}); err != nil {
		status, text = http.StatusServiceUnavailable, "the audit cannot be written"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "{\"error_description\":%q}\n", text) // the caller has gone
}

// limitBody gives a body its time. Once it has arrived the limit is taken away, because the connection must stay readable
// for as long as the answer takes: that is how the server notices that the client has gone.
func limitBody(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return // fail open because not every connection has deadlines; the server's own limits hold
	}
	r.Body = &timedBody{r.Body, control}
}

type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements [io.Reader].
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{}) // it could be set, so it can be taken away
	}
	return n, err
}
