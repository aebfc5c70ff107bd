package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// Token endpoint authentication methods (RFC 7591 section 2).
const (
	authNone  = "none"
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
)

// tokens is a successful answer of a token endpoint (RFC 6749 section 5.1).
type tokens struct {
	access   secret.Text
	refresh  secret.Text   // zero when none came
	scopes   []string      // nil when not said: then it is what was asked for
	lifetime time.Duration // zero when unknown
	account  string        // from an id_token, unverified: for display only
}

// redeem posts form to a token endpoint as client, once. x/oauth2 is not used here: it repeats a request to find out
// how a client authenticates (which spends a code or a rotating token), refuses a fractional expires_in, and cannot
// send `resource` with a refresh.
//
// An error that wraps *OAuthError is the server's refusal. Any other error leaves open what happened.
func (f *fetcher) redeem(ctx context.Context, endpoint string, client tokenstore.Client, form url.Values, anyAddress bool) (tokens, error) {
	a, err := f.postForm(ctx, "token endpoint", endpoint, client, form, anyAddress)
	if err != nil {
		return tokens{}, err
	}
	t, err := parseTokens(a)
	if err != nil {
		scrubSent(err, form, client)
		return tokens{}, later(fmt.Errorf("token endpoint %s: %w", quoted(endpoint), err), a.header)
	}
	return t, nil
}

func (f *fetcher) postForm(ctx context.Context, what, endpoint string, client tokenstore.Client, form url.Values, anyAddress bool) (answer, error) {
	u, err := secureURL(what, endpoint)
	if err != nil {
		return answer{}, err
	}
	if err := f.allowed(u, anyAddress); err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", what, quoted(endpoint), err)
	}
	authenticate(form, client)
	ctx = withDestination(ctx, u, anyAddress)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", what, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if client.AuthMethod == authBasic {
		// RFC 6749 section 2.3.1: form-encoded before they are joined.
		req.SetBasicAuth(url.QueryEscape(client.ID), url.QueryEscape(client.Secret.Reveal()))
	}
	a, err := f.do(f.post, req)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", what, quoted(endpoint), err)
	}
	return a, nil
}

// scrubSent takes out of a server's words what we sent it in confidence: some servers echo the code or token they
// refuse.
func scrubSent(err error, form url.Values, client tokenstore.Client) {
	var refusal *OAuthError
	if !errors.As(err, &refusal) {
		return
	}
	for _, name := range []string{"refresh_token", "code", "code_verifier", "device_code"} {
		refusal.Description = scrub(refusal.Description, secret.New(form.Get(name)))
	}
	refusal.Description = scrub(refusal.Description, client.Secret)
}

// authenticate puts into form what the client's method wants there.
func authenticate(form url.Values, client tokenstore.Client) {
	switch client.AuthMethod {
	case authBasic:
	case authPost:
		form.Set("client_id", client.ID)
		form.Set("client_secret", client.Secret.Reveal())
	default:
		form.Set("client_id", client.ID)
	}
}

// tokenJSON is the answer of a token endpoint, good or bad. Errors about it never quote it.
type tokenJSON struct {
	AccessToken      string          `json:"access_token"`
	TokenType        string          `json:"token_type"`
	RefreshToken     string          `json:"refresh_token"`
	ExpiresIn        json.RawMessage `json:"expires_in"`
	Scope            *string         `json:"scope"`
	IDToken          string          `json:"id_token"`
	Error            string          `json:"error"`
	ErrorDescription string          `json:"error_description"`
}

func parseTokens(a answer) (tokens, error) {
	var j tokenJSON
	bad := json.Unmarshal(a.body, &j) != nil
	switch {
	case a.status >= 300 && a.status < 400:
		return tokens{}, fmt.Errorf("status %d: redirects are not followed", a.status)
	case !bad && j.Error != "":
		return tokens{}, &OAuthError{j.Error, j.ErrorDescription, a.status}
	case a.status == http.StatusBadRequest && len(bytes.TrimSpace(a.body)) == 0:
		// Glewlwyd 2.7 refuses so, without the JSON of section 5.2. No proxy in the way says 400 and nothing else.
		return tokens{}, &OAuthError{Status: a.status}
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		return tokens{}, passing{fmt.Errorf("status %d", a.status)}
	case a.status != http.StatusOK:
		return tokens{}, fmt.Errorf("status %d", a.status)
	case a.isHTML():
		return tokens{}, errors.New("an HTML page instead of a token")
	case bad:
		return tokens{}, errors.New("the answer is not the JSON of RFC 6749 section 5.1")
	}
	return j.tokens()
}

func (j *tokenJSON) tokens() (tokens, error) {
	switch {
	case j.AccessToken == "":
		return tokens{}, errors.New("the answer has no access_token")
	case !isHeaderText(j.AccessToken):
		return tokens{}, errors.New("the access_token has characters that no header can carry")
	case j.TokenType == "":
		return tokens{}, errors.New("the answer has no token_type")
	case !strings.EqualFold(j.TokenType, "Bearer"):
		return tokens{}, fmt.Errorf("token_type is %s, want Bearer", quoted(j.TokenType))
	}
	t := tokens{access: secret.New(j.AccessToken), lifetime: lifetime(j.ExpiresIn), account: account(j.IDToken)}
	if j.RefreshToken != "" {
		t.refresh = secret.New(j.RefreshToken)
	}
	if j.Scope != nil {
		t.scopes = append([]string{}, strings.Fields(*j.Scope)...)
	}
	if len(legible(t.scopes)) < len(t.scopes) {
		return tokens{}, fmt.Errorf("the scope %s has characters that OAuth does not allow (RFC 6749 appendix A.4)", quoted(*j.Scope))
	}
	return t, nil
}

func isHeaderText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// maxLifetime bounds expires_in, so that no duration overflows.
const maxLifetime = 10 * 365 * 24 * time.Hour

// lifetime reads expires_in, which servers send as an integer, a fraction or a string. What is absent, negative or no
// number means that the lifetime is unknown; then the token is used until the server refuses it.
func lifetime(raw json.RawMessage) time.Duration {
	seconds, err := strconv.ParseFloat(strings.Trim(string(raw), `" `), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return 0
	}
	if seconds > maxLifetime.Seconds() {
		return maxLifetime
	}
	return time.Duration(seconds * float64(time.Second))
}

// account reads who signed in from an ID token, whose signature is not checked: nothing is decided by it but whose lists
// of the same server, profile and issuer are remembered.
func account(idToken string) string {
	parts := strings.Split(idToken, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return ""
	}
	var claims struct {
		Email    string `json:"email"`
		Username string `json:"preferred_username"`
		Subject  string `json:"sub"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	for _, name := range []string{claims.Email, claims.Username, claims.Subject} {
		if name = printable(name); name != "" {
			return name
		}
	}
	return ""
}
