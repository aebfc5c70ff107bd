package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"drawbridge/internal/secret"
)

// ErrSignInRequired means that only a human can provide a credential, and that nobody was asked.
var ErrSignInRequired = errors.New("a sign-in is required")

// errClosed is returned to who asks for a sign-in after Close.
var errClosed = errors.New("the session is closed")

// OAuthError is an error answer of an authorization server: at the redirect (RFC 6749 section 4.1.2.1), the token
// endpoint (section 5.2) or the registration endpoint (RFC 7591 section 3.2.2).
type OAuthError struct {
	Code        string // as the server sent it; "" when it refused with a status alone
	Description string // as the server sent it; "" when absent
	Status      int    // HTTP status; zero at the redirect
}

// Passing reports whether the same request may succeed later.
func (e *OAuthError) Passing() bool { return e.temporary() }

// Error quotes the server: what it sends is untrusted text.
func (e *OAuthError) Error() string {
	switch {
	case e.Code == "":
		return fmt.Sprintf("status %d, and the server does not say why", e.Status)
	case e.Description == "":
		return quoted(e.Code)
	}
	return quoted(e.Code) + ": " + quoted(e.Description)
}

// Hint says what to do about the codes that a person or an administrator can do something about.
func (e *OAuthError) Hint() string {
	if known := vendorHint(e.Description); known != "" {
		return known
	}
	switch e.Code {
	case "access_denied":
		return "the identity provider or the person at the browser refused; an administrator can grant the application access"
	case "invalid_client", "unauthorized_client":
		return "check the client id and secret, and that the client is allowed at this identity provider"
	case "invalid_redirect_uri":
		return "register the redirect URI of this client at the identity provider, or choose a registered one"
	case "invalid_scope":
		return "ask for other scopes with --scope"
	case "invalid_target", "invalid_resource": // RFC 8707 section 2; Entra ID
		return "name the resource as the identity provider knows it with --resource URI, or leave it out with --resource none"
	}
	return ""
}

// temporary reports whether the same request may succeed later. A server that is overloaded may still speak OAuth.
func (e *OAuthError) temporary() bool {
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests ||
		e.Code == "temporarily_unavailable" || e.Code == "server_error"
}

// passing is an error of something that was away and may come back: a network, an identity provider, a store.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

// Passing reports that another try may go well, with nothing changed but the time.
func (p passing) Passing() bool { return true }

// hinted is an error together with what the user can do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// Hint says what the user can do.
func (h hinted) Hint() string { return h.hint }

func hint(err error, format string, args ...any) error {
	return hinted{err, fmt.Sprintf(format, args...)}
}

// flagValue is foreign text as a hint may show it behind a flag, to be pasted into a shell: whole and harmless, or not
// at all.
func flagValue(s string) string {
	if !pasteable(s) {
		return "and that issuer"
	}
	return s
}

// flagScopes does the same for scopes, which may have every character that means something to a shell.
func flagScopes(scopes []string) string {
	if all := strings.Join(scopes, " "); pasteable(strings.Join(scopes, "")) && len(all) <= quoteLimit {
		return all
	}
	return "what is missing"
}

func pasteable(s string) bool {
	odd := func(r rune) bool { return !strings.ContainsRune("-._~:/%", r) && !isAlphanumeric(r) }
	return s != "" && len(s) <= quoteLimit && !strings.ContainsFunc(s, odd)
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// passOn gives err a hint where nobody knew a better one: what is wrong is on the other side.
func passOn(err error) error {
	return orHint(err, "if the network is up, pass this on to whoever runs the server or its identity provider: the fault is there")
}

// orHint gives err a hint unless it has one.
func orHint(err error, text string) error {
	var h interface{ Hint() string }
	if err == nil || errors.As(err, &h) && h.Hint() != "" {
		return err
	}
	return hint(err, "%s", text)
}

// quoteLimit bounds how much text of a server an error shows, in bytes.
const quoteLimit = 200

// printable makes foreign text fit for a terminal: no control or invisible characters, at most quoteLimit bytes.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, cut(s, 4*quoteLimit))
	return cut(s, quoteLimit)
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// scrub replaces a secret that foreign text repeats. Where text begins like a long one and goes on otherwise, as an echo
// does that somebody cut, nothing that follows is shown.
func scrub(s string, hidden secret.Text) string {
	if hidden.IsZero() {
		return s
	}
	const enough = 32 // bytes of a secret that tell it from other text
	s = strings.ReplaceAll(s, hidden.Reveal(), hidden.String())
	if i := strings.Index(s, cut(hidden.Reveal(), enough)); i >= 0 {
		s = s[:i] + hidden.String()
	}
	return s
}

func quoted(s string) string { return strconv.Quote(printable(s)) }

// errMalformed stands in for what net/http says about a broken answer, because that quotes the answer, in which a server
// may echo a token.
var errMalformed = errors.New("the answer is malformed HTTP")

// netCause drops the URL that net/http puts before a cause: the caller has named the place already, and a URL may
// carry a query. It drops what is quoted of an answer too.
func netCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return certificateCause(err)
	}
	if text := err.Error(); strings.Contains(text, "malformed") || strings.Contains(text, `"`) {
		return errMalformed
	}
	return shown{err}
}

// shown is an error whose words may be those of the other end, as a proxy's refusal to connect has them.
type shown struct{ error }

func (s shown) Error() string { return printable(s.error.Error()) }
func (s shown) Unwrap() error { return s.error }

// certificateCause names who issued a certificate that is not trusted here, which is how a proxy that inspects TLS shows.
func certificateCause(err error) error {
	var untrusted *tls.CertificateVerificationError
	if !errors.As(err, &untrusted) || len(untrusted.UnverifiedCertificates) == 0 {
		return err
	}
	chain := untrusted.UnverifiedCertificates
	return hint(fmt.Errorf("TLS certificate: %s; issued by %s", printable(untrusted.Err.Error()), quoted(chain[len(chain)-1].Issuer.String())),
		"if that is your company's proxy, which inspects TLS, or your own certificate authority, trust its root certificate with --ca-file FILE (PEM) or in the system's trust store")
}
