package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"drawbridge/internal/secret"
)

// Human is a person with a browser, played over HTTP: it fills in the forms of the [IdP]. Its cookies last for one
// sign-in; each is a fresh browser. The zero value works.
type Human struct {
	// Deny makes the human press "Deny" on the consent page.
	Deny bool
	// Transport carries the requests. If nil, http.DefaultTransport.
	Transport http.RoundTripper
}

// maxForms ends a sign-in that goes in circles.
const maxForms = 5

// SignIn follows an authorization URL through login and consent to the client's redirect URI, and returns the text of
// the last page, tags removed. A last page with a status other than 200 is an error beside the text. The password is
// sent to the origin of the authorization URL only.
func (h Human) SignIn(ctx context.Context, authorizationURL, user string, password secret.Text) (finalPage string, err error) {
	b, err := h.browser(authorizationURL)
	if err != nil {
		return "", err
	}
	page, err := b.get(ctx, authorizationURL)
	for range maxForms {
		if err != nil {
			return "", fmt.Errorf("sign in as %q: %w", user, err)
		}
		if page.form == nil || page.status != http.StatusOK || page.url.Host != b.provider.Host {
			return page.outcome(user)
		}
		page.form.fill(user, password, h.Deny)
		page, err = b.submit(ctx, page)
	}
	return page.text, fmt.Errorf("sign in as %q: still a form after %d of them", user, maxForms)
}

// browser is a cookie jar and the origin it trusts with a password.
type browser struct {
	http     *http.Client
	provider *url.URL
}

func (h Human) browser(authorizationURL string) (*browser, error) {
	provider, err := url.Parse(authorizationURL)
	if err != nil {
		return nil, fmt.Errorf("open authorization URL: %w", err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &browser{&http.Client{Jar: jar, Transport: h.Transport, Timeout: time.Minute}, provider}, nil
}

func (b *browser) get(ctx context.Context, address string) (webPage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return webPage{}, err
	}
	return b.do(req)
}

func (b *browser) submit(ctx context.Context, p webPage) (webPage, error) {
	to, err := p.url.Parse(p.form.action)
	if err != nil {
		return webPage{}, err
	}
	if to.Host != b.provider.Host {
		return webPage{}, fmt.Errorf("the form goes to another host, %q", to.Host)
	}
	body := strings.NewReader(p.form.values.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), body)
	if err != nil {
		return webPage{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

// webPage is a page that the browser ended on, after redirects.
type webPage struct {
	url    *url.URL
	status int
	text   string
	form   *form // nil without one
}

func (b *browser) do(req *http.Request) (webPage, error) {
	resp, err := b.http.Do(req)
	if err != nil {
		return webPage{}, withoutURL(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return webPage{}, err
	}
	html := string(body)
	return webPage{resp.Request.URL, resp.StatusCode, pageText(html), firstForm(html)}, nil
}

// outcome judges the last page.
func (p webPage) outcome(user string) (string, error) {
	if p.status != http.StatusOK {
		return p.text, fmt.Errorf("sign in as %q: the last page has status %d: %q", user, p.status, cutText(p.text))
	}
	return p.text, nil
}

// cutText bounds foreign text in an error.
func cutText(s string) string { return s[:min(len(s), 200)] }

// withoutURL drops the URL from an error of net/http, for it may hold an authorization code.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
