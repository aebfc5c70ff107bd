package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"drawbridge/tokenstore"
)

// protectedResource is the part of RFC 9728 section 2 that a client acts on. A field of ours rather than a library's
// whole document, so that a wrong type in a field nobody needs does not stop a sign-in.
type protectedResource struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	ScopesSupported      []string `json:"scopes_supported"`
	ResourceName         string   `json:"resource_name"`
}

// discovery finds out who issues tokens for a server.
type discovery struct {
	server     *url.URL // canonical
	issuer     string   // pinned by the user; "" when not
	trusted    string   // issuer that metadata found elsewhere may state; "" when none
	assumePKCE bool     // the user vouches for what the metadata does not say
	fetch      *fetcher
	log        *slog.Logger
}

// attempts collects what was tried, so that the error can list every URL with its cause.
type attempts struct {
	lines   []string
	present bool // something that is not plainly absent: it may work another time
	away    bool // something that did not answer
}

func (a *attempts) add(u *url.URL, err error) {
	a.lines = append(a.lines, fmt.Sprintf("%s: %v", printable(u.String()), err))
	var un *unusable
	a.present = a.present || !errors.As(err, &un) || !un.absent
	a.away = a.away || un != nil && !un.absent
}

func (a *attempts) err() error {
	err := errors.New(strings.Join(a.lines, "; "))
	if a.away {
		return passing{err}
	}
	return err
}

// errNoMetadata means that the server works and publishes no protected resource metadata anywhere.
var errNoMetadata = errors.New("no protected resource metadata")

const wellKnownResource = "/.well-known/oauth-protected-resource"

// resourceMetadata reads the metadata from the URL of the challenge, else from the path-inserted well-known URL, else
// from the root (MCP 2025-11-25, "in the order listed"). The first document found decides: a worse place is never
// asked when a better one answered, and a document that does not fit is not passed over.
func (d *discovery) resourceMetadata(ctx context.Context, challenged string) (protectedResource, error) {
	places, err := d.resourcePlaces(challenged)
	if err != nil {
		return protectedResource{}, err
	}
	var tried attempts
	for _, u := range places {
		var doc protectedResource
		err := d.fetch.document(ctx, u, false, &doc)
		if err == nil {
			return doc, d.checkResource(doc.Resource)
		}
		if errors.Is(err, errPrivate) || ctx.Err() != nil {
			return protectedResource{}, fmt.Errorf("protected resource metadata at %s: %w", quoted(u.String()), err)
		}
		tried.add(u, err)
	}
	if tried.present {
		return protectedResource{}, fmt.Errorf("protected resource metadata: %w", tried.err())
	}
	return protectedResource{}, fmt.Errorf("%w (%w)", errNoMetadata, tried.err())
}

func (d *discovery) resourcePlaces(challenged string) ([]*url.URL, error) {
	var places []*url.URL
	if challenged != "" {
		u, err := d.resourceURL(challenged)
		if err != nil {
			return nil, err
		}
		places = append(places, u)
	}
	root := &url.URL{Scheme: d.server.Scheme, Host: d.server.Host, Path: wellKnownResource}
	if d.server.EscapedPath() != "" || d.server.RawQuery != "" {
		// RFC 9728 section 3.1: between the host and the path and query.
		inserted := *d.server
		inserted.Path, inserted.RawPath = wellKnownResource+d.server.Path, ""
		if d.server.RawPath != "" {
			inserted.RawPath = wellKnownResource + d.server.RawPath
		}
		places = append(places, &inserted)
	}
	return slices.CompactFunc(append(places, root), func(a, b *url.URL) bool { return a.String() == b.String() }), nil
}

// resourceURL checks the URL of a challenge. On the server's own origin it may be as plain as the server's.
func (d *discovery) resourceURL(raw string) (*url.URL, error) {
	if u, err := url.Parse(raw); err == nil && u.User == nil && sameOrigin(u, d.server) {
		return u, nil
	}
	return secureURL("resource_metadata", raw)
}

// checkResource compares the metadata's resource with the server we talk to (RFC 9728 section 3.3). Equal up to
// case of the host and a trailing slash is equal; a parent path on the same origin is accepted with a warning, because
// many servers publish their origin; anything else is somebody else's resource.
func (d *discovery) checkResource(resource string) error {
	switch resourceCovers(resource, d.server) {
	case resourceEqual:
		return nil
	case resourceParent:
		d.log.Warn("the server's metadata names a parent of its URL as the resource", "resource", printable(resource))
		return nil
	}
	return hint(
		fmt.Errorf("protected resource metadata: its resource is %s, not %s", quoted(resource), quoted(d.server.String())),
		"use the URL that the server names, if it is the one you mean")
}

// coverage says how a resource relates to a server.
type coverage int

const (
	resourceForeign coverage = iota
	resourceParent
	resourceEqual
)

func resourceCovers(resource string, server *url.URL) coverage {
	canonical, err := tokenstore.CanonicalURL(resource)
	if err != nil {
		return resourceForeign
	}
	u, err := url.Parse(canonical)
	switch {
	case err != nil:
		return resourceForeign
	case canonical == server.String():
		return resourceEqual
	case isParent(u, server):
		return resourceParent
	}
	return resourceForeign
}

// isParent reports whether child is below parent on the same origin.
func isParent(parent, child *url.URL) bool {
	above := strings.TrimRight(parent.EscapedPath(), "/") + "/"
	return sameOrigin(parent, child) && parent.RawQuery == "" && strings.HasPrefix(child.EscapedPath()+"/", above)
}
