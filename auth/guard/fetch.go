package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4/json" // refuses members that are there twice
)

const (
	fetchTimeout = 10 * time.Second // of one request to an issuer
	fetchLimit   = 1 << 20          // bytes read of any answer
)

// fetcher makes the requests to issuers. It follows no redirect: documents of an issuer are where the issuer says, and a
// request with a token in its body must go nowhere else.
type fetcher struct{ http *http.Client }

func newFetcher(transport http.RoundTripper) *fetcher {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &fetcher{&http.Client{Transport: transport, Timeout: fetchTimeout, CheckRedirect: stay}}
}

// get reads a JSON document.
func (f *fetcher) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	return f.do(req, into)
}

// do sends a request and decodes its answer. Errors quote neither the answer nor the request.
func (f *fetcher) do(req *http.Request, into any) error {
	resp, err := f.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, withoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return statusError(resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, fetchLimit+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: read answer: %w", ErrAway, withoutURL(err))
	case len(body) > fetchLimit:
		return errors.New("the answer is longer than 1 MB")
	case json.Unmarshal(body, into) != nil:
		return errors.New("the answer is no JSON of the expected form")
	}
	return nil
}

// statusError is an answer other than 200.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("answered with status %d", int(s)) }

// Is tells the statuses that pass by themselves.
func (s statusError) Is(target error) bool {
	return target == ErrAway && (s >= 500 || s == http.StatusTooManyRequests) || target == s
}

// withoutURL drops what net/http says before a cause: the caller names the place.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
