package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// ErrAway is an issuer that does not answer at the moment. It makes requests be refused with 503, not with 401.
var ErrAway = errors.New("the issuer does not answer")

// Prepare reaches out to every issuer, so that what is configured wrongly shows at the start and not with the first
// request. If the error is [ErrAway], nothing is known to be wrong: the guard may serve, and tries again with the
// requests that come.
func (g *Guard) Prepare(ctx context.Context) error {
	var wrong []error
	var away error
	for _, i := range g.cfg.Issuers {
		switch err := g.prepare(ctx, g.providers[i.URL]); {
		case errors.Is(err, ErrAway):
			away = err
		case err != nil:
			wrong = append(wrong, err)
		}
	}
	return cmp.Or(errors.Join(wrong...), away)
}

func (g *Guard) prepare(ctx context.Context, p *provider) error {
	m, err := p.endpoints(ctx)
	if err != nil {
		return err
	}
	if (p.Opaque || p.Freshness > 0) && m.IntrospectionEndpoint == "" {
		return fmt.Errorf("metadata of issuer %s has no introspection_endpoint: its tokens cannot be asked about", quoted(p.URL))
	}
	if g.mirror != nil && g.mirror.by == p {
		_, err = g.mirror.document(ctx)
	}
	return err
}

// Ready returns nil if the tokens of at least one issuer can be verified now. A load balancer may ask often: no issuer is.
func (g *Guard) Ready() error {
	for _, p := range g.providers {
		if s := p.state.Load(); s != nil && p.now().Sub(s.refreshed) < keysStale {
			return nil
		}
	}
	return errors.New("the keys of no issuer are known")
}

// warn tells at the start what makes the guard accept more than it should in the long run.
func (g *Guard) warn() {
	for _, i := range g.cfg.Issuers {
		if len(i.Audiences) > 0 {
			g.cfg.Log.Warn("tokens that are not for this resource are accepted, because of their audience",
				"issuer", i.URL, "audiences", i.Audiences)
		}
		if i.Mirror != nil {
			g.cfg.Log.Warn("everybody who registers is given one client", "issuer", i.URL, "client", i.Mirror.ClientID)
		}
	}
	for _, t := range g.cfg.StaticTokens {
		g.cfg.Log.Warn("a static token is accepted", "name", t.Name, "until", t.Until)
	}
}
