package httpsse

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"drawbridge/bridge/sse"
)

// open opens the stream of a session, with the credentials of req. Where the server does not open one, it returns the answer
// or the error.
func (c *Client) open(req *http.Request) (*http.Response, *session, error) {
	if err := c.pause(req.Context()); err != nil {
		return nil, nil, err
	}
	ctx, cancel, stop := detached(req)
	defer stop() // from then on the stream lives by itself
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, req.URL.String(), nil)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	get.Header = own(req.Header)
	get.Header.Del("Content-Type")
	get.Header.Set("Accept", "text/event-stream")
	resp, err := c.cfg.Do(get)
	switch {
	case err != nil:
		cancel()
		return nil, nil, err
	case !isEventStream(resp):
		resp.Body = &closing{resp.Body, cancel}
		return resp, nil, nil
	}
	s, err := c.begun(ctx, cancel, resp)
	if err != nil {
		cancel()
		_ = resp.Body.Close() // nothing more is wanted of it
		return nil, nil, cmp.Or(req.Context().Err(), err)
	}
	return nil, s, nil
}

// ended counts a session that the server ended.
func (c *Client) ended(soon bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
	if c.brief++; !soon {
		c.brief = 0
	}
}

// pause waits before a stream is opened, the longer the more streams ended at once. The first time it does not.
func (c *Client) pause(ctx context.Context) error {
	c.mu.Lock()
	n, next := c.brief, c.last
	c.mu.Unlock()
	if n < 2 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Until(next.Add(min(time.Second<<min(n-2, 10), maxPause))))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// own is what a request of ours carries of the headers of one that belongs to Streamable HTTP.
func own(h http.Header) http.Header {
	h = h.Clone()
	h.Del(sessionHeader)
	h.Del("Last-Event-Id")
	return h
}

// begun reads a stream up to its endpoint event.
func (c *Client) begun(ctx context.Context, cancel context.CancelFunc, resp *http.Response) (*session, error) {
	late := time.AfterFunc(endpointLimit, cancel)
	defer late.Stop()
	r := sse.NewReader(resp.Body, c.cfg.MaxMessage, c.pool)
	to, err := firstEndpoint(ctx, r, resp.Request.URL)
	if err == nil && !late.Stop() {
		err = fmt.Errorf("%w within %v", ErrNoEndpoint, endpointLimit)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return c.start(ctx, cancel, resp, r, to), nil
}

// firstEndpoint reads up to the endpoint event. Events of other kinds may come first, messages not.
func firstEndpoint(ctx context.Context, r *sse.Reader, base *url.URL) (*url.URL, error) {
	for {
		e, err := r.Next()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("%w within %v", ErrNoEndpoint, endpointLimit)
		case err != nil:
			return nil, fmt.Errorf("%w: it ended", ErrNoEndpoint)
		case e.Name == "endpoint":
			return endpoint(base, string(e.Data))
		case e.Name == "message":
			return nil, ErrNoEndpoint
		}
	}
}

// endpoint is the URL that the endpoint event of a stream from base names. MCP 2024-11-05 does not restrict it; credentials
// are for one origin, and must not follow a server's word to another.
func endpoint(base *url.URL, named string) (*url.URL, error) {
	u, err := base.Parse(strings.TrimSpace(named))
	if err != nil {
		return nil, fmt.Errorf("%w: what it names is no URL", ErrNoEndpoint)
	}
	if u.Scheme != base.Scheme || !strings.EqualFold(u.Hostname(), base.Hostname()) || port(u) != port(base) || u.User != nil {
		return nil, fmt.Errorf("%w: %s", ErrForeignEndpoint, shown(u))
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// shown is the origin of u, fit for an error: no query, no user, nothing long or odd.
func shown(u *url.URL) string {
	text := fmt.Sprintf("%q", u.Scheme+"://"+u.Host)
	if len(text) > 200 {
		return text[:200] + "..."
	}
	return text
}

// lines makes the data lines of an event.
func lines(message []byte) []byte {
	return append(append([]byte("data: "), bytes.ReplaceAll(message, []byte("\n"), []byte("\ndata: "))...), "\n\n"...)
}
