package bridge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"drawbridge/bridge/bulk"
	"drawbridge/bridge/httpsse"
)

const (
	// maxRefusal bounds how much of a refusal's body is read.
	maxRefusal = 64 << 10
	// maxRedirects bounds redirects within the server's origin.
	maxRedirects = 5
)

// upstream sends requests to the MCP endpoint with their credentials.
type upstream struct {
	url  string
	host string
	wire *httpsse.Client // either transport
	auth Authorizer
	log  *slog.Logger
}

func newUpstream(cfg Config) upstream {
	u, _ := url.Parse(cfg.URL) // withDefaults checked it
	client := *cfg.HTTP
	client.CheckRedirect = sameOrigin
	wire := httpsse.New(httpsse.Config{
		Do: client.Do, Mode: cfg.Transport, Known: cfg.KnownSSE, Learned: cfg.LearnedSSE, MaxMessage: cfg.MaxMessage, Log: cfg.Log,
	})
	return upstream{url: cfg.URL, host: u.Host, wire: wire, auth: cfg.Auth, log: cfg.Log}
}

// sameOrigin follows redirects that keep method and origin (many servers send /mcp to /mcp/ with a 307). Others end
// here: a credential must not travel, and a POST that turns into a GET is another request.
func sameOrigin(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || req.Method != first.Method || req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// exchange is one request to the endpoint, sent again as often as its authorization takes.
type exchange struct {
	method  string
	body    []byte
	lent    *bulk.Buffer // the memory of body; nil where it is the garbage collector's
	link    link
	lastID  string // Last-Event-ID, to resume a stream
	attempt Attempt
	limit   time.Duration // bounds each try until its answer is read; 0 means none
	unasked bool          // sent again without a request of the client: it renews nothing for a client that is idle

	human func(SignIn) error // waits for a human; nil: nobody waits
	sent  func()             // is called before the request leaves; may be nil
}

// send returns the server's answer to x, refreshed and signed in as far as the Authorizer can. The caller closes its
// body. A refusal that no credential cures comes back as a response or, where the Authorizer knows why, as an error.
func (u *upstream) send(ctx context.Context, x exchange) (*http.Response, error) {
	for {
		resp, err := u.try(ctx, x)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
			return resp, nil
		}
		again, err := u.judge(ctx, resp, &x)
		if err != nil || !again {
			return resp, err
		}
	}
}

// judge asks the Authorizer what a 401 or 403 means. True means that x is to be sent again, with x.attempt updated.
func (u *upstream) judge(ctx context.Context, resp *http.Response, x *exchange) (bool, error) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what was read explains; more is not needed
	_ = resp.Body.Close()                                        // read as far as wanted
	resp.Body = io.NopCloser(bytes.NewReader(body))
	verdict, err := u.auth.Challenged(ctx, resp, x.attempt)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	u.log.Debug("request refused", "operation", x.attempt.Operation, "status", resp.StatusCode, "verdict", verdict, "error", err)
	if err != nil {
		return false, authFault(err)
	}
	switch verdict {
	case Resend:
	case Pending:
		if err := u.await(x); err != nil {
			return false, err
		}
		x.attempt.SignedIn = true
	default:
		return false, nil
	}
	x.attempt.Resent++
	return true, nil
}

// await waits for the human, if x has somebody who does.
func (u *upstream) await(x *exchange) error {
	s, ok := u.auth.Pending()
	if !ok {
		return nil // it ended meanwhile: the next try shows how
	}
	if x.human == nil {
		return signInFault(s)
	}
	return x.human(s)
}

// try sends x once.
func (u *upstream) try(ctx context.Context, x exchange) (*http.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	if x.attempt.Background || x.unasked {
		ctx = context.WithValue(ctx, backgroundKey{}, true)
	}
	if x.limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, x.limit)
	}
	way := new(connecting)
	req, err := u.request(httptrace.WithClientTrace(ctx, way.trace()), x)
	if err != nil {
		cancel()
		return nil, err
	}
	if x.sent != nil {
		x.sent()
	}
	start := time.Now()
	resp, err := u.wire.Do(req)
	if err != nil {
		cancel()
		return nil, u.fault(way.explain(err))
	}
	if u.log.Enabled(ctx, slog.LevelDebug) { // what is not logged need not be prepared for every call
		u.log.Debug("answered", "method", x.method, "operation", x.attempt.Operation, "status", resp.StatusCode, "after", time.Since(start))
	}
	resp.Body = &cancelBody{resp.Body, cancel}
	return resp, nil
}

func (u *upstream) fault(err error) error {
	if errors.Is(err, httpsse.ErrSessionOver) {
		return sessionLost{err}
	}
	return networkFault(u.host, err)
}

type backgroundKey struct{}

// IsBackground reports whether the context of a request that an [Authorizer] is to authorize belongs to traffic that
// no client request asked for.
func IsBackground(ctx context.Context) bool { return ctx.Value(backgroundKey{}) != nil }

// cancelBody ends the request's context when its body is closed.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}

// request builds x with its headers (MCP 2025-11-25 transports) and its credentials.
func (u *upstream) request(ctx context.Context, x exchange) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, x.method, u.url, nil)
	if err != nil {
		return nil, err
	}
	switch x.method {
	case http.MethodPost:
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Content-Type", "application/json")
	case http.MethodGet:
		req.Header.Set("Accept", "text/event-stream")
	}
	setUnlessEmpty(req.Header, "Mcp-Session-Id", x.link.sessionID)
	setUnlessEmpty(req.Header, "MCP-Protocol-Version", x.link.version)
	setUnlessEmpty(req.Header, "Last-Event-ID", strings.TrimSpace(x.lastID))
	if err := u.auth.Authorize(req); err != nil {
		return nil, authFault(err)
	}
	x.setBody(req)
	return req, nil
}

func setUnlessEmpty(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// delete ends the session at the server (MCP 2025-11-25 transports: SHOULD). Servers time sessions out, so a failure
// costs nothing.
func (u *upstream) delete(ctx context.Context, link link) {
	resp, err := u.try(ctx, exchange{method: http.MethodDelete, link: link, attempt: Attempt{Operation: "end session", Background: true}})
	if err != nil {
		u.log.Debug("session not deleted", "error", err)
		return
	}
	_ = resp.Body.Close() // nothing in it matters
}

// sessionLost says that the server does not know the session id that the request carried.
type sessionLost struct{ error }

// Unwrap returns what the server answered.
func (e sessionLost) Unwrap() error { return e.error }
