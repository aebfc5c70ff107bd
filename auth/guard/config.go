package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of the clock skew that is forgiven.
const (
	defaultSkew = 10 * time.Second // clocks that are kept by NTP differ by less
	maxSkew     = 5 * time.Minute  // more would make a withdrawn account's last token noticeably longer
)

// defaultMaxBody is more than clients send, and little enough to hold in memory for many of them.
const defaultMaxBody = 4 << 20

// Config says what a [Guard] protects and whom it believes. Resource and Issuers are required.
type Config struct {
	// Resource is the public URL of the MCP server, as clients are configured with it. It is the resource identifier of the
	// metadata (RFC 9728 section 1.2), and what the audience of every token must name (RFC 8707).
	Resource string

	// Name is shown to people (resource_name in the metadata). If "", none is.
	Name string

	// Documentation is a page for developers (resource_documentation in the metadata). If "", there is none.
	Documentation string

	// Issuers are the authorization servers whose tokens are accepted.
	Issuers []Issuer

	// Scopes is what a client should ask for to begin with: the scope of the 401 challenge and scopes_supported of the
	// metadata. offline_access does not belong here and is refused. If empty, neither is said.
	Scopes []string

	// StaticTokens are old bearer tokens that are still accepted, each until its end.
	StaticTokens []StaticToken

	// Skew is how far the clocks of issuers and of this machine may be apart. If zero, it is 10 s; at most 5 min. Tokens
	// are accepted for that much longer than they say.
	Skew time.Duration

	// MaxBody is how many bytes a message may have. If zero, it is 4 MiB.
	MaxBody int64

	// Authorize judges a request whose token is good. If nil, everything is allowed to everyone whom the issuers give a
	// token for Resource. It is called concurrently.
	Authorize func(context.Context, *Request) Decision

	// Audit writes an event down before anything is forwarded or refused. If it fails, the request is refused with 503. If
	// nil, nothing is written. It is called concurrently.
	Audit func(context.Context, Event) error

	// AuditArguments puts the arguments of calls into events. They are what people work on, secrets included, so nobody gets
	// them who did not ask.
	AuditArguments bool

	// Admit takes a place for a request that is allowed, before it is written down and forwarded, or refuses it by another
	// outcome than Allow. leave gives the place back and is called once, at the end of an admitted request. If nil, there are
	// places for all. It is called concurrently.
	Admit func(*Identity) (leave func(), d Decision)

	// Observe receives every event after Audit did, for metrics. It must not block. If nil, nobody looks.
	Observe func(context.Context, Event)

	// Transport makes the requests to issuers. If nil, http.DefaultTransport does.
	Transport http.RoundTripper

	// Log receives diagnostics, never a token. If nil, they are discarded.
	Log *slog.Logger

	// Now is the clock. If nil, it is time.Now.
	Now func() time.Time
}

// withDefaults returns the configuration with what was left out filled in, or says what cannot be used.
func (c Config) withDefaults() (Config, error) {
	if c.Skew == 0 {
		c.Skew = defaultSkew
	}
	if c.MaxBody == 0 {
		c.MaxBody = defaultMaxBody
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, c.check()
}

func (c Config) check() error {
	if c.Skew < 0 || c.Skew > maxSkew {
		return fmt.Errorf("clock skew %s: want 0s to %s", c.Skew, maxSkew)
	}
	if c.MaxBody < 0 {
		return fmt.Errorf("largest message %d: want a number of bytes", c.MaxBody)
	}
	if len(c.Issuers) == 0 {
		return errors.New("no issuer: name the authorization server whose tokens are accepted")
	}
	for _, scope := range c.Scopes {
		if err := checkScope(scope); err != nil {
			return err
		}
	}
	if c.Documentation != "" {
		if _, err := secureURL("documentation", c.Documentation); err != nil {
			return err
		}
	}
	return nil
}

// checkScope wants a scope-token of RFC 6749 section 3.3, because it is put between quotes of a challenge.
func checkScope(scope string) error {
	foreign := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }
	switch {
	case scope == "" || strings.ContainsFunc(scope, foreign):
		return fmt.Errorf("scope %s: want printable characters without space, quote and backslash", quoted(scope))
	case scope == "offline_access": // MCP 2026-07-28, authorization: servers SHOULD NOT ask for it
		return errors.New("scope offline_access: it is between the client and its identity provider, leave it out")
	}
	return nil
}

// checkResource returns the resource in the form that tokens and metadata carry.
func checkResource(raw string) (*url.URL, error) {
	u, err := secureURL("resource", raw)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, fmt.Errorf("resource %s: want no query", quoted(raw))
	}
	if u.Host != strings.ToLower(u.Host) {
		return nil, fmt.Errorf("resource %s: want the host in lower case", quoted(raw))
	}
	return u, nil
}

// spellings returns what an audience may call the resource. A URL without a path is the same with a slash (RFC 3986
// section 6.2.3), and libraries that handle URLs add one.
func spellings(u *url.URL, resource string) []string {
	if trimmedPath(u) != "" {
		return []string{resource}
	}
	origin := strings.TrimSuffix(resource, "/")
	return []string{origin, origin + "/"}
}

// secureURL wants https, or plain http on loopback.
func secureURL(what, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return nil, fmt.Errorf("%s %s: not a URL that can be used", what, quoted(raw))
	case u.User != nil || u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return nil, fmt.Errorf("%s %s: want no user and no fragment", what, quoted(raw))
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("%s %s: want https (plain http is for loopback)", what, quoted(raw))
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// quoteLimit is how many bytes of foreign text an error shows.
const quoteLimit = 200

// quoted shows foreign text: without control characters, cut, between quotes.
func quoted(s string) string {
	s = printable(s)
	if len(s) > quoteLimit {
		s = s[:quoteLimit] + "..."
	}
	return strconv.Quote(s)
}

// printable keeps the characters that are visible ASCII or a space: what is said may end in a header.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}

// union returns the words of all lists, each once, in order.
func union(lists ...[]string) (all []string) {
	seen := map[string]bool{}
	for _, word := range slices.Concat(lists...) {
		if !seen[word] {
			all, seen[word] = append(all, word), true
		}
	}
	return all
}
