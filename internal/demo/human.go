package demo

import (
	"context"
	"net/http"

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

// SignIn follows an authorization URL through login and consent to the client's redirect URI, and returns the text of
// the last page, tags removed. A page with a status other than 200 is an error as well as a text.
func (h Human) SignIn(ctx context.Context, authorizationURL, user string, password secret.Text) (finalPage string, err error) {
	return "", nil
}
