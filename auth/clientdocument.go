package auth

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// ClientDocument is a client id metadata document for this program (MCP 2025-11-25 "Client ID Metadata Documents";
// draft-ietf-oauth-client-id-metadata-document). Whoever hosts it at ClientID vouches for the client: authorization servers
// fetch it there.
type ClientDocument struct {
	ClientID        string   `json:"client_id"` // the URL of the document, character by character
	ClientName      string   `json:"client_name"`
	ApplicationType string   `json:"application_type"`
	RedirectURIs    []string `json:"redirect_uris"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
}

// NewClientDocument returns the document to host at documentURL. name is shown on consent pages; if "", it is the
// program's. callback is the redirect URI that sign-ins will use.
func NewClientDocument(documentURL, name string, callback CallbackConfig) (ClientDocument, error) {
	if err := checkDocumentURL(documentURL); err != nil {
		return ClientDocument{}, fmt.Errorf("client id URL %s: %w", quoted(documentURL), err)
	}
	if err := callback.check(); err != nil {
		return ClientDocument{}, err
	}
	return ClientDocument{
		ClientID: documentURL, ClientName: cmp.Or(name, clientName), ApplicationType: "native",
		RedirectURIs: []string{callback.withDefaults().uri(0)},
		// MCP 2026-07-28: a client that wants refresh tokens says so here.
		GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"}, AuthMethod: authNone,
	}, nil
}

// checkDocumentURL is section 3 of the draft. A query is refused although the draft only advises against it: hosts answer
// the same document to any, and the id must be one.
func checkDocumentURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "":
		return errors.New("not a URL")
	case u.Scheme != "https":
		return errors.New("want https")
	case u.Hostname() == "" || u.User != nil:
		return errors.New("want a host and no user")
	case strings.ContainsAny(raw, "?#"):
		return errors.New("want neither a query nor a fragment")
	case strings.Trim(u.Path, "/") == "":
		return errors.New("want a path, such as /oauth/drawbridge.json")
	case slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }):
		return errors.New("want no . or .. in the path")
	case u.String() != raw:
		return fmt.Errorf("want it as others will write it: %s", quoted(u.String()))
	}
	return nil
}
