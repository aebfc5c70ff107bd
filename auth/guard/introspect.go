package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"drawbridge/internal/secret"
)

// maxAsking is how many questions an issuer is asked at once; the others wait. Invented opaque tokens cannot be told from
// real ones without asking, and must not become a flood at the issuer.
const maxAsking = 32

// introspect asks the issuer about a token (RFC 7662 section 2). Requests with the same token share one question, which
// none of them can cancel; fetchTimeout ends it.
func (p *provider) introspect(ctx context.Context, token secret.Text, key tokenKey) (said, error) {
	done := p.flight.DoChan(string(key[:]), func() (any, error) {
		began := p.now()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		select {
		case p.asking <- struct{}{}:
		case <-ctx.Done():
			return said{}, errors.New("too many tokens are being asked about")
		}
		defer func() { <-p.asking }()
		c, err := p.ask(ctx, token)
		return said{c, began}, err
	})
	select {
	case r := <-done:
		return r.Val.(said), r.Err
	case <-ctx.Done():
		return said{}, ctx.Err()
	}
}

// said is what an issuer says of a token.
type said struct {
	claims           // nil if the token is not active
	asked  time.Time // when the question began: of what happened later it need not know
}

func (p *provider) ask(ctx context.Context, token secret.Text) (claims, error) {
	m, err := p.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	if m.IntrospectionEndpoint == "" {
		return nil, fmt.Errorf("metadata of issuer %s has no introspection_endpoint", quoted(p.URL))
	}
	req, err := p.question(ctx, m, token)
	if err != nil {
		return nil, err
	}
	var answer claims
	if err := p.fetch.do(req, &answer); err != nil {
		p.warn("the issuer did not say whether a token is active", "err", err)
		return nil, fmt.Errorf("introspection at issuer %s: %w", quoted(p.URL), err)
	}
	if answer["active"] != true {
		return nil, nil
	}
	if iss := answer.text("iss"); iss != "" && iss != p.URL {
		return nil, nil // it vouches for somebody else's token
	}
	return answer, nil
}

// endpoints returns the issuer's metadata.
func (p *provider) endpoints(ctx context.Context) (serverMetadata, error) {
	if _, err := p.ring(ctx); err != nil {
		return serverMetadata{}, err
	}
	return p.state.Load().metadata, nil
}

// question makes the request, with client_secret_basic unless the issuer takes only client_secret_post.
func (p *provider) question(ctx context.Context, m serverMetadata, token secret.Text) (*http.Request, error) {
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}}
	methods := m.IntrospectionAuthMethods
	post := slices.Contains(methods, "client_secret_post") && !slices.Contains(methods, "client_secret_basic")
	if post {
		form.Set("client_id", p.ClientID)
		form.Set("client_secret", p.ClientSecret.Reveal())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.IntrospectionEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if !post { // RFC 6749 section 2.3.1: both are encoded first
		req.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(p.ClientSecret.Reveal()))
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// opaqueFor is how long the answer about an opaque token is believed, where the issuer has no Freshness.
const opaqueFor = time.Minute

func (p *provider) opaqueFor() time.Duration {
	if p.Freshness > 0 {
		return p.Freshness
	}
	return opaqueFor
}
