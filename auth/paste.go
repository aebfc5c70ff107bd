package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// pasteLimit bounds how long the process that holds the port may take to complete the sign-in.
const pasteLimit = exchangeLimit + 5*time.Second

// Paste finishes the sign-in under way with the address of the page that the browser ended on, for browsers that run
// on another machine and so cannot reach the loopback port. The process that holds the port judges it like any other
// answer; it may be this process or another one.
func (s *Session) Paste(ctx context.Context, address string) error {
	p := s.view().pending
	if p == nil {
		return errors.New("no sign-in is under way")
	}
	u, err := p.pasted(strings.TrimSpace(address))
	if err != nil {
		return hint(err, "copy the whole address from the browser's address bar; it begins with %s", printable(p.redirectURI))
	}
	ctx, cancel := context.WithTimeout(ctx, pasteLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return errors.New("the address cannot be used") // the error would show the code in it
	}
	resp, err := loopbackClient.Do(req)
	if err != nil {
		return fmt.Errorf("hand the address to the waiting process: %w", netCause(err))
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxPage) // the page is for browsers; how the sign-in ended is told to all
	if resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusNotFound {
		return errors.New("the address does not belong to the sign-in under way")
	}
	return nil
}

const maxPage = 64 << 10

// loopbackClient goes to our own port: never through a proxy, never anywhere else.
var loopbackClient = &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}, CheckRedirect: never}

// pasted returns the redirect URI with the query of address, if that is an answer to p.
func (p *signIn) pasted(address string) (string, error) {
	want, err := url.Parse(p.redirectURI)
	if err != nil {
		return "", errors.New("this sign-in has no redirect address")
	}
	got, err := url.Parse(address)
	switch {
	case err != nil || got.RawQuery == "":
		return "", errors.New("that is not the address of the page after the sign-in")
	case got.Scheme != want.Scheme || got.Host != want.Host || got.Path != want.Path:
		return "", errors.New("that is the address of another page")
	}
	want.RawQuery = got.RawQuery
	return want.String(), nil
}
