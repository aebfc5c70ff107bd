// Package proxy carries requests that a guard let through to the MCP server behind it.
//
// What the server gets is the client's message with another sender: the token, cookies and every header that could name
// somebody are gone, and a signed assertion takes their place if one is configured. Session ids are bound to the person
// who got them, lists are cut down to what that person may use, event streams pass event by event, and a client that goes
// away takes its request with it.
package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"drawbridge/auth/guard"
	"drawbridge/internal/secret"
)

const sessionHeader = "Mcp-Session-Id"

// Config says where requests go. Upstream and Sessions are required.
type Config struct {
	// Upstream is the URL of the MCP server behind. Every request goes to exactly this path.
	Upstream string

	// Sessions binds session ids.
	Sessions *Sessions

	// Visible says what an identity may see in the lists of the server: kind is "tool", "prompt" or "resource", method would
	// use it. If nil, lists pass unchanged.
	Visible func(id *guard.Identity, method, kind, name string) bool

	// Signer tells the server who is calling. If nil, it is not told.
	Signer *Signer

	// Authorization is the guard's own credential at the server, such as "Bearer ...". If zero, there is none.
	Authorization secret.Text

	// Strip are more request headers that clients must not set. A name that ends in - stands for all that begin so.
	Strip []string

	// MaxList is how many bytes an answer may have that is filtered. If zero, it is 16 MiB.
	MaxList int64

	// Transport makes the requests. If nil, one is made that waits for answers as long as the client does.
	Transport http.RoundTripper

	// Log receives diagnostics. If nil, they are discarded.
	Log *slog.Logger
}

// defaultMaxList holds tens of thousands of tools.
const defaultMaxList = 16 << 20

// Proxy is the handler for a guard to wrap. It is safe for concurrent use.
type Proxy struct {
	cfg      Config
	upstream *url.URL
	strip    names
	reverse  *httputil.ReverseProxy
}

// New makes a proxy.
func New(cfg Config) (*Proxy, error) {
	upstream, err := url.Parse(cfg.Upstream)
	switch {
	case err != nil || upstream.Host == "" || upstream.Scheme != "http" && upstream.Scheme != "https":
		return nil, fmt.Errorf("upstream %q: want an http or https URL", cfg.Upstream)
	case upstream.User != nil || upstream.RawQuery != "" || upstream.Fragment != "":
		return nil, errors.New("upstream: want a URL without user, query and fragment")
	case cfg.Sessions == nil:
		return nil, errors.New("sessions are not configured")
	}
	if cfg.MaxList == 0 {
		cfg.MaxList = defaultMaxList
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Transport == nil {
		cfg.Transport = NewTransport()
	}
	p := &Proxy{cfg: cfg, upstream: upstream, strip: newNames(identityHeaders, overrides, cfg.Strip)}
	p.reverse = &httputil.ReverseProxy{
		Rewrite: p.rewrite, ModifyResponse: p.modify, ErrorHandler: p.fail, Transport: cfg.Transport,
		// It flushes what it copies of event streams and of answers without a length by itself.
		BufferPool: buffers{}, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return p, nil
}

// maxIdle connections to the one server behind are kept.
const maxIdle = 256

// NewTransport returns a transport for [Config.Transport]. It bounds the making of a connection only: how long an answer may take is the client's to say. The server
// behind is configured, so no proxy of the environment counts.
func NewTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.MaxIdleConns, t.MaxIdleConnsPerHost = maxIdle, maxIdle
	t.DisableCompression = true // answers pass as they are
	t.IdleConnTimeout = 90 * time.Second
	return t
}

// buffers are for copying answers: an open event stream keeps one for as long as it waits.
type buffers struct{}

const bufferSize = 16 << 10

var spare = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Get implements [httputil.BufferPool].
func (buffers) Get() []byte { return spare.Get().(*[bufferSize]byte)[:] }

// Put implements [httputil.BufferPool].
func (buffers) Put(b []byte) { spare.Put((*[bufferSize]byte)(b)) }

// ServeHTTP implements [http.Handler] for requests that a guard let through.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if guard.FromContext(r.Context()) == nil {
		http.Error(w, "nobody is signed in", http.StatusInternalServerError) // fail closed: the guard was left out
		return
	}
	// A switch of protocols would be a tunnel past everything that judges messages.
	r.Header.Del("Upgrade")
	p.reverse.ServeHTTP(w, r)
}

// Authorize returns a policy that also refuses session ids that were not handed out to this identity. If next is nil, it
// allows the rest.
func (p *Proxy) Authorize(next guard.Authorizer) guard.Authorizer {
	return sessionCheck{p, next}.authorize
}

// rewrite makes the request for the server behind.
func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	id := guard.FromContext(r.In.Context())
	p.strip.clean(r.Out.Header)
	r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = p.upstream.Scheme, p.upstream.Host, ""
	r.Out.URL.Path, r.Out.URL.RawPath = p.upstream.Path, p.upstream.RawPath
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.SetXForwarded()
	r.Out.Trailer = nil // headers that come late, and that nobody looked at
	if r.In.Method != http.MethodPost {
		// Nobody judged such a body, and some servers can be told to take the request for a POST.
		r.Out.Body, r.Out.ContentLength, r.Out.TransferEncoding = http.NoBody, 0, nil
	}
	if bound := r.In.Header.Get(sessionHeader); bound != "" {
		session, ok := p.cfg.Sessions.Open(bound, id)
		if !ok {
			session = "" // Authorize refuses it; whoever leaves that out gets no session here
		}
		setOrDelete(r.Out.Header, sessionHeader, session)
	}
	p.identify(r.Out.Header, id)
	if p.filters(r.In) {
		r.Out.Header.Del("Accept-Encoding") // what is filtered must be read
	}
	// The transport sends requests with such a key again, whatever their method; a tool call must not run twice.
	if r.Out.Header.Get("Idempotency-Key") != "" || r.Out.Header.Get("X-Idempotency-Key") != "" {
		r.Out.GetBody = nil
	}
}

func setOrDelete(h http.Header, name, value string) {
	if value == "" {
		h.Del(name)
		return
	}
	h.Set(name, value)
}

func (p *Proxy) identify(h http.Header, id *guard.Identity) {
	if !p.cfg.Authorization.IsZero() {
		h.Set("Authorization", p.cfg.Authorization.Reveal())
	}
	if p.cfg.Signer == nil {
		return
	}
	assertion, err := p.cfg.Signer.Assert(id)
	if err != nil {
		// Fail closed on the other side: without the header the server knows nobody.
		p.cfg.Log.Error("identity cannot be signed", "err", err)
		return
	}
	h.Set(IdentityHeader, assertion)
}

// filters reports whether the answer to a request may hold lists: one that asked for them, or a stream that takes up
// answers whose connection broke.
func (p *Proxy) filters(r *http.Request) bool {
	if p.cfg.Visible == nil {
		return false
	}
	asks := func(c guard.Call) bool { return listMethod(c.Method) }
	return r.Method == http.MethodGet || slices.ContainsFunc(guard.CallsFromContext(r.Context()), asks)
}

// errUpstream is an answer of the server behind that must not reach the client.
type errUpstream string

// Error says what is wrong with the answer.
func (e errUpstream) Error() string { return string(e) }

// modify makes the answer for the client.
func (p *Proxy) modify(resp *http.Response) error {
	id := guard.FromContext(resp.Request.Context())
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		// The client's token is good: a 401 would make it sign its person in again.
		return errUpstream("the server behind does not accept this guard (401)")
	case resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.StatusCode != http.StatusNotModified:
		return errUpstream(fmt.Sprintf("the server behind redirects (%d): configure the URL where it is", resp.StatusCode))
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return errUpstream("the server behind switches protocols")
	}
	for _, name := range []string{"Www-Authenticate", "Set-Cookie"} {
		resp.Header.Del(name)
	}
	for name := range resp.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(resp.Header, name) // who may read answers is the guard's to say
		}
	}
	if session := resp.Header.Get(sessionHeader); session != "" {
		resp.Header.Set(sessionHeader, p.cfg.Sessions.Bind(session, id))
	}
	if p.filters(resp.Request) && resp.StatusCode == http.StatusOK {
		return p.filter(resp, filter{id, p.cfg.Visible})
	}
	return nil
}

// filter puts a filtered body in place of the server's.
func (p *Proxy) filter(resp *http.Response, f filter) error {
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return errUpstream("the server behind compresses a list that has to be filtered")
	}
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if strings.EqualFold(strings.TrimSpace(media), "text/event-stream") {
		resp.Body = newStream(resp.Body, f, int(p.cfg.MaxList))
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, p.cfg.MaxList+1))
	if err != nil {
		return fmt.Errorf("read the answer of the server behind: %w", err)
	}
	if int64(len(raw)) > p.cfg.MaxList {
		return errUpstream("the server behind sends a list that is too large to be filtered")
	}
	filtered, err := f.body(raw)
	if err != nil {
		return errUpstream("the server behind answers a request for a list with something else: " + err.Error())
	}
	_ = resp.Body.Close() // it was read to its end
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(filtered)), int64(len(filtered))
	resp.Header.Set("Content-Length", fmt.Sprint(len(filtered)))
	return nil
}
