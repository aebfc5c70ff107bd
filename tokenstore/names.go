package tokenstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Name names an item: its kind, a colon, and a hash of what it belongs to. Names carry no secret and, being hashes,
// nothing that a keychain's command line could misread.
type Name string

// Kinds of item.
const (
	KindCredential   = "credential"
	KindRegistration = "registration"
)

// Kind returns the part before the colon.
func (n Name) Kind() string {
	kind, _, _ := strings.Cut(string(n), ":")
	return kind
}

// CredentialName names the credential of one profile at one server. It needs no discovery.
func CredentialName(serverURL, profile string) (Name, error) {
	canonical, err := CanonicalURL(serverURL)
	if err != nil {
		return "", err
	}
	return NewName(KindCredential, canonical, profile), nil
}

// RegistrationName names the client registration made at an issuer. Registrations are never shared between issuers
// (MCP 2025-11-25, authorization: "MUST maintain separate registration state per authorization server").
func RegistrationName(issuer string) Name { return NewName(KindRegistration, issuer) }

// NewName names an item of the given kind (lower-case letters and hyphens, at most 24) that belongs to parts.
func NewName(kind string, parts ...string) Name {
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d:%s", len(p), p)
	}
	return Name(kind + ":" + hex.EncodeToString(sum.Sum(nil)[:16]))
}

var nameForm = regexp.MustCompile(`^[a-z][a-z-]{0,23}:[0-9a-f]{32}$`)

// check refuses names that would not be safe as file names or in a keychain's command line.
func (n Name) check() error {
	if !nameForm.MatchString(string(n)) {
		return fmt.Errorf("item name %q: want a kind, a colon and 32 hexadecimal digits", cut(string(n)))
	}
	return nil
}

// CanonicalURL brings a server URL into the form of RFC 8707 resource identifiers that MCP asks for: lower-case scheme
// and host, no default port, no fragment, no trailing slash. The path and query stay as they are.
func CanonicalURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("server URL %q: want http:// or https:// and a host", raw)
	}
	if u.User != nil {
		return "", fmt.Errorf("server URL of host %q: it must not carry a user or password", u.Host)
	}
	u.Host = canonicalHost(u)
	u.Fragment, u.RawFragment = "", ""
	if u.RawPath == "" {
		u.Path = strings.TrimRight(u.Path, "/")
	}
	return u.String(), nil
}

func canonicalHost(u *url.URL) string {
	host := strings.ToLower(u.Host)
	defaultPort := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	return strings.TrimSuffix(host, defaultPort)
}
