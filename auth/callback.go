package auth

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"drawbridge/internal/secret"
)

// callback recognises the authorization response that belongs to one sign-in (RFC 6749 section 4.1.2).
//
// Anybody can send requests to a loopback port: web pages, other users, other programs. So everything that shows
// whether a request is the awaited one is compared before anything in it is looked at, and what does not match changes
// nothing: the real response can still come.
type callback struct {
	host, path    string
	state         secret.Text
	issuer        string // recorded from validated metadata before the URL was built (MCP 2026-07-28)
	issAdvertised bool   // RFC 9207 section 3
	trusted       string // another issuer that may answer, by the user's word; "" when none
	asked         string // host of the authorization endpoint
}

// response is an authorization response that passed every check.
type response struct {
	code secret.Text
	err  *OAuthError
}

// rejection says why a request is not the awaited response.
type rejection struct {
	status int
	reason string
	mixUp  bool // state was right and iss was not: worth telling the human
	hint   string
}

func (r *rejection) Error() string { return r.reason }

func newCallback(redirectURI string, state secret.Text, as serverMetadata) (callback, error) {
	u, err := url.Parse(redirectURI)
	if err != nil {
		return callback{}, fmt.Errorf("redirect URI: %w", err)
	}
	endpoint, err := url.Parse(as.AuthorizationEndpoint)
	if err != nil {
		return callback{}, fmt.Errorf("authorization endpoint: %w", err)
	}
	return callback{
		host: u.Host, path: u.Path, state: state,
		issuer: as.Issuer, issAdvertised: as.IssAdvertised, trusted: as.trusted, asked: endpoint.Host,
	}, nil
}

// read judges a request. The order is the point: path, host and method, then state, then iss, and only then code and
// error.
func (c *callback) read(r *http.Request) (response, error) {
	switch {
	case r.URL.Path != c.path || r.URL.RawPath != "":
		return response{}, &rejection{status: http.StatusNotFound, reason: "no such page"}
	case r.Host != c.host || r.URL.Host != "":
		// An absolute request target, which only proxies are sent, would take the place of the Host header.
		// A name that an attacker points at 127.0.0.1 (DNS rebinding) shows here.
		return response{}, &rejection{status: http.StatusBadRequest, reason: "wrong host"}
	case r.Method != http.MethodGet:
		return response{}, &rejection{status: http.StatusBadRequest, reason: "wrong method"}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || repeats(query) {
		return response{}, &rejection{status: http.StatusBadRequest, reason: "the query is malformed"}
	}
	if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(c.state.Reveal())) != 1 {
		return response{}, &rejection{status: http.StatusBadRequest, reason: "this is not the sign-in that is under way"}
	}
	if err := c.checkIss(query); err != nil {
		return response{}, &rejection{status: http.StatusBadRequest, reason: err.Error(), mixUp: true, hint: c.gatewayHint(query.Get("iss"))}
	}
	return c.outcome(query)
}

// repeats reports whether a parameter that counts comes twice (RFC 6749 section 3.1 forbids it): whoever reads the
// other one would see another response.
func repeats(query url.Values) bool {
	for _, name := range []string{"state", "iss", "code", "error"} {
		if len(query[name]) > 1 {
			return true
		}
	}
	return false
}

// checkIss is the table of MCP 2026-07-28 (RFC 9207 section 2.4): advertised or not, an iss that came must be
// identical; one that was advertised must come.
func (c *callback) checkIss(query url.Values) error {
	switch {
	case !query.Has("iss") && c.issAdvertised:
		return errors.New("the answer does not say which identity provider it is from (iss is missing)")
	case query.Has("iss") && query.Get("iss") != c.issuer && (c.trusted == "" || query.Get("iss") != c.trusted):
		return errors.New("the answer is from another identity provider than the one that was asked (iss differs)")
	}
	return nil
}

// gatewayHint names the flag for a gateway that publishes its identity provider's endpoints under an issuer of its own.
// It is given only when the answer claims to come from the very host that was asked: else it is a mix-up.
func (c *callback) gatewayHint(iss string) string {
	u, err := secureURL("iss", iss)
	if err != nil || !strings.EqualFold(u.Host, c.asked) {
		return ""
	}
	return "if the server is a gateway of that identity provider, accept it with --trust-issuer " + flagValue(iss)
}

func (c *callback) outcome(query url.Values) (response, error) {
	switch {
	case query.Get("error") != "":
		return response{err: &OAuthError{Code: query.Get("error"), Description: query.Get("error_description")}}, nil
	case query.Get("code") == "":
		return response{}, &rejection{status: http.StatusBadRequest, reason: "the answer holds neither a code nor an error"}
	}
	return response{code: secret.New(query.Get("code"))}, nil
}
