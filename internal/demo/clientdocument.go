package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// documentLimit is the largest client id metadata document that is read
// (draft-ietf-oauth-client-id-metadata-document-00 §6.6 advises 5 kB).
const documentLimit = 5 << 10

// isClientDocument reports whether a client id is the URL of a metadata document: https with a path
// (draft-ietf-oauth-client-id-metadata-document-00 §3), and here also http on loopback.
func isClientDocument(id string) bool {
	u, err := url.Parse(id)
	if err != nil || u.Path == "" || u.Path == "/" || u.Fragment != "" || u.User != nil {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

// documentClient fetches what strangers name: no redirects, little time, and no address of a private network.
func documentClient() *http.Client {
	dialer := &net.Dialer{Timeout: 3 * time.Second, Control: refusePrivate}
	return &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the document is behind a redirect")
		},
	}
}

// refusePrivate looks at the address after name resolution, so that no DNS answer gets around it. Loopback is let
// through because the whole demonstration lives there.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := to.Addr().Unmap()
	if ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() {
		return fmt.Errorf("%s is a private address", ip)
	}
	return nil
}

// fetchClient reads the document behind a client id and remembers the client for the token endpoint.
func (p *IdP) fetchClient(ctx context.Context, id string) (Client, error) {
	m, err := p.fetchDocument(ctx, id)
	if err != nil {
		return Client{}, err
	}
	fillRegistration(&m.ClientRegistrationMetadata)
	switch {
	case m.ClientID != id:
		return Client{}, errors.New("the document is about another client_id")
	case len(m.RedirectURIs) == 0:
		return Client{}, errors.New("the document has no redirect_uris")
	case m.TokenEndpointAuthMethod != "none":
		return Client{}, errors.New("the document is not of a public client")
	case slices.ContainsFunc(m.RedirectURIs, func(uri string) bool { return redirectProblem(uri, true) != "" }):
		return Client{}, errors.New("the document has a redirect URI that is not allowed")
	}
	c := Client{ID: id, AuthMethod: "none", Name: m.ClientName, RedirectURIs: m.RedirectURIs, GrantTypes: m.GrantTypes}
	p.AddClient(c)
	return c, nil
}

type clientDocument struct {
	oauthex.ClientRegistrationMetadata
	ClientID string `json:"client_id"`
}

func (p *IdP) fetchDocument(ctx context.Context, id string) (m clientDocument, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, id, nil)
	if err != nil {
		return m, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := p.documents.Do(req)
	if err != nil {
		return m, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return m, fmt.Errorf("answered %d", resp.StatusCode)
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, documentLimit)).Decode(&m)
	return m, err
}
