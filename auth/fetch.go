package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	metadataTimeout = 10 * time.Second // a discovery document is a static file
	tokenTimeout    = 30 * time.Second // patient: leaving early may lose a rotated refresh token
	bodyLimit       = 1 << 20          // bytes read of any answer
)

// fetcher makes the requests of this package. None carries a cookie or an access token.
type fetcher struct {
	reach *reach
	get   *http.Client
	post  *http.Client
	log   *slog.Logger
}

// newFetcher takes the transport of base over, with reach watching what it dials. A transport that is not
// *http.Transport is used as it is; then only hosts that are visibly inside are refused.
func newFetcher(base http.RoundTripper, r *reach, log *slog.Logger) *fetcher {
	if base == nil {
		base = http.DefaultTransport
	}
	if t, ok := base.(*http.Transport); ok {
		base = guarded(t, r)
	}
	return &fetcher{
		reach: r,
		get:   &http.Client{Transport: base, Timeout: metadataTimeout, CheckRedirect: withinOrigin},
		post:  &http.Client{Transport: base, Timeout: tokenTimeout, CheckRedirect: never},
		log:   log,
	}
}

// toServer sends requests to the origin of server through own.
func (f *fetcher) toServer(server *url.URL, own http.RoundTripper) {
	if t, ok := own.(*http.Transport); ok {
		own = guarded(t, f.reach)
	}
	both := byOrigin{server, own, f.get.Transport}
	f.get.Transport, f.post.Transport = both, both
}

// byOrigin sends requests to one origin another way than the rest.
type byOrigin struct {
	server      *url.URL
	own, others http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (b byOrigin) RoundTrip(req *http.Request) (*http.Response, error) {
	if sameOrigin(req.URL, b.server) {
		return b.own.RoundTrip(req)
	}
	return b.others.RoundTrip(req)
}

// CloseIdleConnections is what [http.Client] looks for.
func (b byOrigin) CloseIdleConnections() {
	for _, t := range []http.RoundTripper{b.own, b.others} {
		if c, ok := t.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

func guarded(t *http.Transport, r *reach) http.RoundTripper {
	t = t.Clone()
	if t.DialTLSContext != nil {
		t.DialTLSContext = r.guard(t.DialTLSContext)
	}
	dial := t.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: metadataTimeout}).DialContext
	}
	t.DialContext = r.guard(dial)
	return t
}

// withinOrigin lets a document move about on its own host. A redirect elsewhere would dodge the checks of its URL.
func withinOrigin(next *http.Request, via []*http.Request) error {
	if len(via) > 5 || !sameOrigin(next.URL, via[0].URL) {
		return http.ErrUseLastResponse
	}
	return nil
}

// never is for requests that carry a code, a token or a secret in the body: 307 would send it on.
func never(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (f *fetcher) close() { f.get.CloseIdleConnections() }

// unusable is an answer that holds no document.
type unusable struct {
	absent bool // the host works and there is no such document; false: it may be there another time
	cause  error
}

func (u *unusable) Error() string { return u.cause.Error() }
func (u *unusable) Unwrap() error { return u.cause }

// document fetches JSON into v. anyAddress says that the user named the place. An error is a *unusable, or errPrivate.
func (f *fetcher) document(ctx context.Context, u *url.URL, anyAddress bool, v any) error {
	if err := f.allowed(u, anyAddress); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(withDestination(ctx, u, anyAddress), http.MethodGet, u.String(), nil)
	if err != nil {
		return &unusable{cause: err}
	}
	req.Header.Set("Accept", "application/json")
	a, err := f.do(f.get, req)
	if errors.Is(err, errPrivate) {
		return privateError()
	}
	if err != nil {
		return &unusable{cause: err}
	}
	return a.decode(v)
}

func (f *fetcher) allowed(u *url.URL, anyAddress bool) error {
	if anyAddress {
		return nil
	}
	return f.reach.check(u)
}

// answer is a response that was read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (f *fetcher) do(c *http.Client, req *http.Request) (answer, error) {
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, passing{netCause(err)}
	}
	defer resp.Body.Close()
	f.log.Debug("answered", "method", req.Method, "host", req.URL.Host, "path", req.URL.Path, "status", resp.StatusCode)
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit+1))
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > bodyLimit {
		return answer{}, errors.New("the answer is larger than 1 MiB")
	}
	return answer{resp.StatusCode, resp.Header, body}, nil
}

func (a answer) decode(v any) error {
	switch {
	case a.status >= 500 || a.status == http.StatusTooManyRequests || a.status == http.StatusRequestTimeout:
		return &unusable{cause: fmt.Errorf("status %d", a.status)}
	case a.status >= 300 && a.status < 400:
		return &unusable{absent: true, cause: fmt.Errorf("status %d: redirects to another origin are not followed, nor long chains of them", a.status)}
	case a.status != http.StatusOK:
		return &unusable{absent: true, cause: fmt.Errorf("status %d", a.status)}
	case a.isHTML():
		return &unusable{absent: true, cause: errors.New("an HTML page instead of JSON")}
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		return &unusable{absent: true, cause: fmt.Errorf("not the JSON that is due: %w", err)}
	}
	return nil
}

func (a answer) isHTML() bool { return bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("<")) }
