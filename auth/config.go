package auth

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// Config says which server a [Session] is for and what it may use. ServerURL and Store are required.
type Config struct {
	// ServerURL is the MCP server's URL as the user typed it. Credentials go to its origin and nowhere else.
	ServerURL string

	// Profile separates several accounts at one server. "" is the default profile.
	Profile string

	// Store keeps credentials and registrations.
	Store tokenstore.Store

	// HTTP supplies the Transport of every request. If nil, http.DefaultTransport is used. Redirect policy, cookies and
	// time-outs of the client are not taken over: the session has its own.
	HTTP *http.Client

	// ServerHTTP supplies the Transport of requests to the server's own origin, which alone may see a client certificate. If
	// nil, it is HTTP.
	ServerHTTP *http.Client

	// Client is the identity to sign in with. The zero value means dynamic registration.
	Client ClientIdentity

	// Issuer pins the authorization server (--issuer). If "", the protected resource metadata decides.
	Issuer string

	// TrustIssuer is another issuer that metadata and responses may name (--trust-issuer): that of the identity provider
	// behind a gateway that publishes its metadata. If "", metadata and responses must name the issuer that was asked.
	TrustIssuer string

	// AssumePKCE goes on where metadata does not say that PKCE is checked (--assume-pkce). It does not where the metadata
	// says that S256 is not.
	AssumePKCE bool

	// Resource names the server to the identity provider (--resource): a URI, or "none". If "", it is what the protected
	// resource metadata says.
	Resource string

	// AuthorizeParams are added to the authorization request (--authorize-param), over those of a profile. Parameters that
	// make the sign-in safe cannot be among them.
	AuthorizeParams map[string]string

	// Scopes narrows what is asked for. If empty, the server's challenge and metadata decide.
	Scopes []string

	// Callback is where the identity provider sends the browser back to. The zero value is the documented default.
	Callback CallbackConfig

	// AllowHTTP accepts a ServerURL with plain http on a host that is not loopback. The authorization server's
	// endpoints stay https whatever it says.
	AllowHTTP bool

	// LoginTimeout bounds a sign-in. If zero, it is DefaultLoginTimeout.
	LoginTimeout time.Duration

	// Open shows a URL in the human's browser. If nil, the URL is only given to Notice.
	Open func(url string) error

	// SSH is how to reach this machine by ssh ("ada@10.0.0.5"), when the human is at another one. It goes into the advice
	// on how to sign in from there. "" is none.
	SSH string

	// Notice receives lines for the human. If nil, they are discarded.
	Notice func(line string)

	// Forgotten is told that the sign-in that this session held has ended: the identity provider refused it, or somebody
	// logged out, here or in another process. Whatever else is kept of that person at that server is to go. It may be
	// called from any goroutine, and under locks: it must be quick and must not call the session. If nil, nobody is told.
	Forgotten func(serverURL, profile, subject string)

	// Log receives diagnostics, never a secret. If nil, they are discarded.
	Log *slog.Logger

	// Now is the clock. If nil, it is time.Now.
	Now func() time.Time
}

// ClientIdentity is the OAuth client to sign in as. At most one of ID and MetadataURL is set; with neither, the client
// registers itself (RFC 7591).
type ClientIdentity struct {
	// ID is the client_id of a pre-registered client.
	ID string

	// Secret belongs to ID; zero for a public client. It is only sent to the pinned or first used issuer.
	Secret secret.Text

	// MetadataURL is the https URL of a client id metadata document, which is the client_id too. It is used where the
	// authorization server advertises support for such documents.
	MetadataURL string
}

// Defaults of the redirect URI that an administrator registers: http://127.0.0.1:17623/callback. Dynamically registered
// clients use a free port instead, which the store remembers with the registration.
const (
	DefaultCallbackHost = "127.0.0.1"
	DefaultCallbackPort = 17623
	DefaultCallbackPath = "/callback"
)

// CallbackConfig is the redirect URI, in parts. Zero fields are defaults.
type CallbackConfig struct {
	Host string // 127.0.0.1, localhost or ::1
	Port int
	Path string
}

// DefaultLoginTimeout bounds a sign-in when the configuration does not.
const DefaultLoginTimeout = 5 * time.Minute

// check refuses a configuration that cannot work and returns the canonical server URL.
func (c *Config) check() (*url.URL, error) {
	if c.Store == nil {
		return nil, errors.New("no token store is configured")
	}
	server, err := c.serverURL()
	if err != nil {
		return nil, err
	}
	if err := c.Client.check(); err != nil {
		return nil, err
	}
	if c.Issuer != "" {
		if _, err := secureURL("issuer", c.Issuer); err != nil {
			return nil, err
		}
	}
	if err := c.checkOverrides(); err != nil {
		return nil, err
	}
	return server, c.Callback.check()
}

// checkOverrides refuses flags that cannot mean what they say.
func (c *Config) checkOverrides() error {
	if c.TrustIssuer != "" {
		if _, err := secureURL("trusted issuer", c.TrustIssuer); err != nil {
			return err
		}
	}
	if u, err := url.Parse(c.Resource); c.Resource != "" && c.Resource != noResource && (err != nil || !u.IsAbs() || u.Fragment != "") {
		return fmt.Errorf("resource %s: want an absolute URI without fragment (RFC 8707 section 2), or none", quoted(c.Resource))
	}
	for name := range c.AuthorizeParams {
		if err := checkAuthorizeParam(name); err != nil {
			return err
		}
	}
	return nil
}

// checkAuthorizeParam refuses parameters that the sign-in depends on, and those that would bring others in their place
// (RFC 9101) or send the response elsewhere.
func checkAuthorizeParam(name string) error {
	switch name {
	case "":
		return errors.New("authorization parameter: it has no name")
	case "state", "code_challenge", "code_challenge_method", "redirect_uri", "client_id", "response_type",
		"response_mode", "request", "request_uri":
		return fmt.Errorf("authorization parameter %s: it belongs to the sign-in itself and cannot be set", quoted(name))
	case "scope", "resource":
		return hint(fmt.Errorf("authorization parameter %s: it has a flag of its own", quoted(name)), "use --%s", name)
	}
	return nil
}

func (c *Config) serverURL() (*url.URL, error) {
	canonical, err := tokenstore.CanonicalURL(c.ServerURL)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(canonical)
	if err != nil {
		return nil, fmt.Errorf("server URL %s: not a URL", quoted(c.ServerURL))
	}
	if u.Scheme == "http" && !c.AllowHTTP && !isLoopbackName(u.Hostname()) {
		return nil, hint(fmt.Errorf("server URL %s: plain http would show the token to the network", quoted(canonical)),
			"use https, or accept the risk with --allow-http")
	}
	return u, nil
}

func (c ClientIdentity) check() error {
	switch {
	case c.ID == "" && !c.Secret.IsZero():
		return errors.New("a client secret needs a client id")
	case c.ID != "" && c.MetadataURL != "":
		return errors.New("a client id and a client metadata URL exclude each other")
	case c.MetadataURL != "":
		// MCP 2025-11-25: an https URL with a path component.
		u, err := secureURL("client metadata URL", c.MetadataURL)
		if err != nil {
			return err
		}
		if strings.Trim(u.Path, "/") == "" {
			return fmt.Errorf("client metadata URL %s: it needs a path", quoted(c.MetadataURL))
		}
	}
	return nil
}

// fill puts defaults in the place of zero fields.
func (c *Config) fill(server *url.URL) {
	c.ServerURL = server.String()
	c.HTTP = cmp.Or(c.HTTP, http.DefaultClient)
	c.ServerHTTP = cmp.Or(c.ServerHTTP, c.HTTP)
	c.LoginTimeout = cmp.Or(c.LoginTimeout, DefaultLoginTimeout)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	if c.Notice == nil {
		c.Notice = func(string) {}
	}
	if c.Forgotten == nil {
		c.Forgotten = func(string, string, string) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}
