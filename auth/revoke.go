package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// errNoRevocation is why a token of an issuer without a revocation endpoint stays valid.
var errNoRevocation = errors.New("the identity provider offers no revocation")

// revoke asks the issuer to end a token (RFC 7009 section 2.1). kind is the token_type_hint. A nil error means that the
// issuer confirmed it; with any other nothing is known.
func (f *fetcher) revoke(ctx context.Context, c tokenstore.Credential, client tokenstore.Client, kind string, token secret.Text) error {
	if c.RevocationEndpoint == "" {
		return errNoRevocation
	}
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {kind}}
	// The sign-in connected to the token endpoint, so its host was judged; another host is judged now.
	a, err := f.postForm(ctx, "revocation endpoint", c.RevocationEndpoint, client, form, sameHost(c.RevocationEndpoint, c.TokenEndpoint))
	if err != nil {
		return err
	}
	err = confirmation(a)
	var refusal *OAuthError
	if errors.As(err, &refusal) && refusal.Code == "invalid_token" {
		return nil // Google's way of saying what RFC 7009 section 2.2 has 200 for: this token is good for nothing
	}
	if err != nil {
		scrubRefusal(err, token, client.Secret)
		return fmt.Errorf("revocation endpoint %s: %w", quoted(c.RevocationEndpoint), err)
	}
	return nil
}

func sameHost(a, b string) bool {
	u, errA := url.Parse(a)
	v, errB := url.Parse(b)
	return errA == nil && errB == nil && u.Host != "" && u.Host == v.Host
}

// deregister deletes a dynamic registration (RFC 7592 section 2.3). A nil error means that the issuer confirmed it.
func (f *fetcher) deregister(ctx context.Context, reg tokenstore.Registration) error {
	const what = "registration management"
	u, err := secureURL(what, reg.ManagementURI)
	if err != nil {
		return err
	}
	if err := f.allowed(u, false); err != nil {
		return fmt.Errorf("%s %s: %w", what, quoted(reg.ManagementURI), err)
	}
	req, err := http.NewRequestWithContext(withDestination(ctx, u, false), http.MethodDelete, u.String(), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	req.Header.Set("Authorization", "Bearer "+reg.ManagementToken.Reveal())
	a, err := f.do(f.post, req)
	if err == nil {
		err = confirmation(a)
		scrubRefusal(err, reg.ManagementToken, reg.Client.Secret)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, quoted(origin(u)), err) // the path may be as good as the token
	}
	return nil
}

// confirmation reads an answer whose only news is its status: 200 (RFC 7009) or 204 (RFC 7592). A page is none, as a
// portal on the way answers 200 to everything.
func confirmation(a answer) error {
	var j struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	done := a.status == http.StatusOK || a.status == http.StatusNoContent
	switch bad := json.Unmarshal(a.body, &j) != nil; {
	case !bad && j.Error != "":
		return &OAuthError{j.Error, j.Description, a.status}
	case done && a.isHTML():
		return errors.New("an HTML page instead of a confirmation")
	case done:
		return nil
	case a.status >= 300 && a.status < 400:
		return fmt.Errorf("status %d: redirects are not followed", a.status)
	}
	return fmt.Errorf("status %d", a.status)
}

// scrubRefusal takes out of a server's words what we sent it in confidence.
func scrubRefusal(err error, sent ...secret.Text) {
	var refusal *OAuthError
	if !errors.As(err, &refusal) {
		return
	}
	for _, hidden := range sent {
		refusal.Code, refusal.Description = scrub(refusal.Code, hidden), scrub(refusal.Description, hidden)
	}
}
