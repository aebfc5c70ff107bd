// Package httpsse speaks the HTTP+SSE transport of MCP 2024-11-05 in the shape of Streamable HTTP.
//
// A [Client] takes the requests of a Streamable HTTP client and answers them as a Streamable HTTP server would, so that
// everything above it (sessions, sign-in, what is sent again, cancellation) is the same for both transports:
//
//	POST initialize    GET of the URL; its stream names the endpoint; POST there; the stream brings the answer
//	POST of a request  POST to the endpoint; the stream brings the answer
//	POST of the rest   POST to the endpoint
//	GET                what the stream brings beside answers
//	DELETE             the stream is closed, which ends the session (MCP 2024-11-05 lifecycle, shutdown)
//
// The stream is the session: when it ends, requests under way fail with [ErrStreamEnded], and later ones with
// [ErrSessionOver], which says that they were not sent. A refusal (401 and the like) of any request, also of the GET,
// comes back as it is.
//
// # Detection
//
// In mode [Auto] initialize is first sent as Streamable HTTP wants it. If that fails with 400, 404 or 405 and the body is no
// error of a modern server, a GET that brings an endpoint event shows the old transport (MCP 2025-11-25 transports,
// backwards compatibility). No other failure does: a 401 asks for a sign-in, a 503 passes. What was found is kept for the
// next start, which then sends the GET first; when that is contradicted, all begins anew.
package httpsse

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge/bulk"
	"drawbridge/bridge/envelope"
)

// Mode is which transport a server is spoken to with.
type Mode string

// Modes of a [Client].
const (
	Auto Mode = "auto" // found out
	HTTP Mode = "http" // Streamable HTTP
	SSE  Mode = "sse"  // HTTP+SSE
)

var (
	// ErrSessionOver means that the stream of a request's session has ended: the request was not sent, and needs a new session.
	ErrSessionOver = errors.New("the server's event stream has ended, and its session with it")
	// ErrStreamEnded means that the stream ended before it brought the answer to a request, which may have been executed.
	ErrStreamEnded = errors.New("the server's event stream ended before the answer")
	// ErrNoEndpoint means that a stream does not begin as HTTP+SSE wants it.
	ErrNoEndpoint = errors.New("the server's event stream names no endpoint to send messages to")
	// ErrForeignEndpoint means that a stream names an endpoint where credentials for this server must not go.
	ErrForeignEndpoint = errors.New("the server's event stream names an endpoint on another origin")
)

// Config says how to speak to a server. Do is required.
type Config struct {
	// Do sends a request, within the origin of its URL.
	Do func(*http.Request) (*http.Response, error)

	// Mode is the transport. If "", it is Auto.
	Mode Mode

	// Known says that HTTP+SSE was found the last time.
	Known bool

	// Learned, if not nil, is told when Auto finds another transport than Known says.
	Learned func(sse bool)

	// MaxMessage is the size of the largest message, in bytes.
	MaxMessage int

	// Log receives diagnostics, never contents. If nil, they are discarded.
	Log *slog.Logger
}

// Client sends requests. It is safe for concurrent use.
type Client struct {
	cfg  Config
	pool *bulk.Pool // memory for big messages

	mu    sync.Mutex
	known bool      // the server speaks HTTP+SSE, as far as we know
	now   *session  // nil where there is none
	count int       // of sessions, to name them
	brief int       // how many of the last sessions in a row ended soon after they began
	last  time.Time // when the last one ended
}

// New returns a Client.
func New(cfg Config) *Client {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	pool := &bulk.Pool{Limit: 3*cfg.MaxMessage + 1<<20} // what a reader of events needs
	return &Client{cfg: cfg, pool: pool, known: cfg.Known || cfg.Mode == SSE}
}

const (
	sessionHeader, versionHeader = "Mcp-Session-Id", "Mcp-Protocol-Version"
	// sessionPrefix begins session ids made here. They never leave this process.
	sessionPrefix = "drawbridge-httpsse-"
)

// Do answers req. The caller closes the answer's body.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	switch {
	case c.cfg.Mode == HTTP:
	case strings.HasPrefix(req.Header.Get(sessionHeader), sessionPrefix):
		return c.inSession(req)
	case req.Method == http.MethodPost && req.Header.Get(sessionHeader) == "" && req.Header.Get(versionHeader) == "":
		return c.begin(req)
	}
	return c.cfg.Do(req)
}

// Close ends the session, if there is one.
func (c *Client) Close() { c.adopt(nil) }

// begin answers a request that belongs to no session: initialize, as a rule.
func (c *Client) begin(req *http.Request) (*http.Response, error) {
	body, err := content(req)
	if err != nil {
		return nil, err
	}
	m, err := envelope.Parse(body)
	if known := c.isKnown(); err != nil || m.Method != "initialize" && !known {
		return c.cfg.Do(withBody(req, body))
	} else if known {
		if s := c.session(); m.Method != "initialize" && s != nil && !s.isOver() {
			return s.post(req, body, m) // of a client that does not care about sessions
		}
		resp, s, err := c.open(req)
		switch {
		case s != nil:
			return c.greet(s, req, body, m)
		case c.cfg.Mode == SSE || !contradicts(resp, err):
			return resp, err
		}
		discard(resp)
	}
	return c.detect(req, body, m)
}

// detect finds out which transport the server speaks.
func (c *Client) detect(req *http.Request, body []byte, m envelope.Message) (*http.Response, error) {
	resp, err := c.cfg.Do(withBody(req, body))
	if err != nil || !mayBeOld(resp) {
		if err == nil && resp.StatusCode < 300 {
			c.learn(false)
			if strings.HasPrefix(resp.Header.Get(sessionHeader), sessionPrefix) {
				resp.Header.Del(sessionHeader) // it would be taken for one of ours
			}
		}
		return resp, err
	}
	fromGet, s, err := c.open(req)
	switch {
	case s != nil:
		discard(resp)
		c.cfg.Log.Debug("the server speaks HTTP+SSE of MCP 2024-11-05")
		c.learn(true)
		return c.greet(s, req, body, m)
	case errors.Is(err, ErrForeignEndpoint):
		discard(resp)
		return nil, err
	case err == nil && !contradicts(fromGet, nil):
		discard(resp)
		return fromGet, nil
	}
	discard(fromGet)
	return resp, nil
}

// greet sends the first request of s. Its answer names the session.
func (c *Client) greet(s *session, req *http.Request, body []byte, m envelope.Message) (*http.Response, error) {
	c.adopt(s)
	resp, err := s.post(req, body, m)
	if err == nil && resp.StatusCode < 300 {
		resp.Header.Set(sessionHeader, s.id)
	}
	return resp, err
}

// inSession answers a request of a session.
func (c *Client) inSession(req *http.Request) (*http.Response, error) {
	s := c.session()
	if s == nil || s.id != req.Header.Get(sessionHeader) || s.isOver() && req.Method != http.MethodDelete {
		return nil, ErrSessionOver
	}
	switch req.Method {
	case http.MethodGet:
		return s.listen(req), nil
	case http.MethodDelete:
		s.end()
		return answer(req, http.StatusNoContent, "", http.NoBody), nil
	}
	body, err := content(req)
	if err != nil {
		return nil, err
	}
	m, err := envelope.Parse(body)
	if err != nil {
		return nil, err
	}
	return s.post(req, body, m)
}

func (c *Client) isKnown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// learn keeps what the server speaks.
func (c *Client) learn(sse bool) {
	c.mu.Lock()
	news := c.known != sse
	c.known = sse
	c.mu.Unlock()
	if news && c.cfg.Learned != nil {
		c.cfg.Learned(sse)
	}
}

func (c *Client) session() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// adopt makes s the session. The one before ends.
func (c *Client) adopt(s *session) {
	c.mu.Lock()
	before := c.now
	c.now = s
	c.mu.Unlock()
	if before != nil {
		before.end()
	}
}

// mayBeOld reports whether an answer to initialize is what a server of the old transport may say. It leaves resp with its
// body.
func mayBeOld(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed:
	default:
		return false
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what was read explains
	_ = resp.Body.Close()                                        // read as far as wanted
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return !isModernError(resp.StatusCode, body)
}

// maxRefusal bounds how much of a refusal is read, in bytes.
const maxRefusal = 64 << 10

// isModernError knows the errors of MCP 2026-07-28 (transports, status codes), whose servers never speak the old transport.
func isModernError(status int, body []byte) bool {
	m, err := envelope.Parse(body)
	if err != nil || m.Error == nil {
		return false
	}
	code, _ := envelope.Member(m.Error, "code")
	switch string(code) {
	case "-32020", "-32021", "-32022":
		return true
	case "-32601":
		return status == http.StatusNotFound
	case "-32602":
		return status == http.StatusBadRequest
	}
	return false
}

// contradicts reports whether the outcome of a GET says that the server does not speak HTTP+SSE: refusals that ask for a
// sign-in, and faults that pass, do not say so.
func contradicts(resp *http.Response, err error) bool {
	if err != nil {
		return errors.Is(err, ErrNoEndpoint)
	}
	switch code := resp.StatusCode; code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusTooManyRequests, http.StatusRequestTimeout:
		return false
	default:
		return code < 500
	}
}

// content returns the body of req, which is then read.
func content(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer req.Body.Close()
	return io.ReadAll(req.Body)
}

// withBody gives req a body again.
func withBody(req *http.Request, body []byte) *http.Request {
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody() // it does not fail
	req.ContentLength = int64(len(body))
	return req
}

// answer makes an answer to req.
func answer(req *http.Request, status int, kind string, body io.ReadCloser) *http.Response {
	resp := &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: body, ContentLength: -1, TransferEncoding: []string{"chunked"}, Request: req,
	}
	if kind != "" {
		resp.Header.Set("Content-Type", kind)
	}
	return resp
}

func discard(resp *http.Response) {
	if resp != nil {
		_ = resp.Body.Close() // of no interest
	}
}

func isEventStream(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return resp.StatusCode == http.StatusOK && kind == "text/event-stream"
}

// detached is a context with the values of req's that ends by itself alone, and with req's as long as stop was not called.
func detached(req *http.Request) (ctx context.Context, cancel context.CancelFunc, stop func() bool) {
	ctx, cancel = context.WithCancel(context.WithoutCancel(req.Context()))
	return ctx, cancel, context.AfterFunc(req.Context(), cancel)
}

const (
	// briefSession is a session that ended so soon that the next one waits before it begins, up to maxPause: a server that ends
	// its streams at once is asked less and less often. A request waits as long, and must not give up over it.
	briefSession, maxPause = 10 * time.Second, 10 * time.Second
	// endpointLimit bounds the wait for the endpoint event, which a server of HTTP+SSE sends at once.
	endpointLimit = 5 * time.Second
	// overLimit bounds the wait for what becomes of a POST when the stream has ended.
	overLimit = 5 * time.Second
	// postLimit bounds the rest of a POST whose answer the stream has brought already.
	postLimit = 10 * time.Second
)
