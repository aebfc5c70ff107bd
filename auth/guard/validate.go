package guard

import (
	"context"
	"time"

	"drawbridge/internal/secret"
)

// validate finds out whom a token speaks for, on every request. What was found out before is used again as long as it
// holds: until the token expires, its issuer's keys change, or the issuer is to be asked anew.
func (g *Guard) validate(ctx context.Context, token secret.Text) (*Identity, *refusal) {
	key := keyOf(token.Reveal())
	if id, known, refused := g.static.identity(key, g.cfg.Now()); known {
		return id, refused
	}
	v := g.recall(key)
	if v == nil || !g.holds(ctx, v) {
		var refused *refusal
		if v, refused = g.inspect(ctx, token, key); refused != nil {
			return nil, refused
		}
		g.keep(key, v)
	}
	if v.wrong != nil {
		return nil, v.wrong
	}
	if refused := g.recheck(ctx, v, token, key); refused != nil {
		return nil, refused
	}
	return v.id, nil
}

// recall returns what is known of a token.
func (g *Guard) recall(key tokenKey) *verified {
	if v := g.known.get(key); v != nil {
		return v
	}
	return g.inactive.get(key)
}

// keep remembers a token. Invented ones, of which there may be many, do not drive out good ones.
func (g *Guard) keep(key tokenKey, v *verified) {
	if v.wrong != nil {
		g.inactive.put(key, v)
		return
	}
	g.known.put(key, v)
}

// holds reports whether what is known of a token needs no second look.
func (g *Guard) holds(ctx context.Context, v *verified) bool {
	if !g.cfg.Now().Before(v.until) {
		return false
	}
	if v.ring == nil {
		return true
	}
	ring, err := v.by.ring(ctx)
	return err == nil && ring == v.ring
}

// inspect looks at a token that is not known.
func (g *Guard) inspect(ctx context.Context, token secret.Text, key tokenKey) (*verified, *refusal) {
	if isJWT(token.Reveal()) {
		return g.inspectJWT(ctx, token, key)
	}
	for _, p := range g.providers {
		if p.Opaque {
			return g.inspectOpaque(ctx, p, token, key)
		}
	}
	return nil, badToken("the access token is not a signed JWT")
}

func (g *Guard) inspectJWT(ctx context.Context, token secret.Text, key tokenKey) (*verified, *refusal) {
	t, refused := parseJWT(token.Reveal())
	if refused != nil {
		return nil, refused
	}
	p := g.providers[t.claims.text("iss")] // letter for letter: RFC 9207 section 2.4 has the reasons
	if p == nil {
		return nil, badToken("the access token is of an issuer that is not accepted here")
	}
	ring, refused := t.verify(ctx, p)
	if refused != nil {
		return nil, refused
	}
	if !t.claims.has("exp") {
		return nil, badToken("the access token never expires")
	}
	if refused := p.judge(t.claims, t.typ, &g.rules); refused != nil {
		return nil, refused
	}
	return g.remember(ctx, p, t.claims, &verified{id: t.claims.identity(p, key, ViaJWT), by: p, ring: ring}), nil
}

func (g *Guard) inspectOpaque(ctx context.Context, p *provider, token secret.Text, key tokenKey) (*verified, *refusal) {
	answer, err := p.introspect(ctx, token, key)
	if err != nil {
		return nil, unavailable("the issuer of the access token cannot be asked about it", err)
	}
	v := &verified{by: p, until: answer.asked.Add(p.opaqueFor())}
	switch {
	case answer.claims == nil:
		v.wrong = badToken("the access token is not active")
	case !marked(answer.claims, ""): // a refresh token is active too
		v.wrong = badToken("nothing shows that the token is an access token")
	default:
		v.wrong = p.judge(answer.claims, "", &g.rules)
	}
	if v.wrong != nil {
		v.until = answer.asked.Add(refetchPause)
		return v, nil
	}
	v.id = answer.identity(p, key, ViaIntrospection)
	return g.remember(ctx, p, answer.claims, v), nil
}

// remember completes what is known of a good token: its groups, and until when it holds.
func (g *Guard) remember(ctx context.Context, p *provider, c claims, v *verified) *verified {
	p.groups(ctx, c, v.id)
	if end := v.id.Expiry.Add(g.cfg.Skew); !v.id.Expiry.IsZero() && (v.until.IsZero() || end.Before(v.until)) {
		v.until = end
	}
	if again := g.cfg.Now().Add(refetchPause); v.id.GroupsUnknown != "" && again.Before(v.until) {
		v.until = again
	}
	return v
}

// recheck asks the issuer about a JWT again where its Freshness wants that. While the issuer does not answer, nobody knows
// whether the token was withdrawn, and nothing passes.
func (g *Guard) recheck(ctx context.Context, v *verified, token secret.Text, key tokenKey) *refusal {
	if v.ring == nil || v.by.Freshness == 0 {
		return nil
	}
	refused, due := v.standing(g.cfg.Now())
	if due {
		answer, err := v.by.introspect(ctx, token, key)
		if err != nil {
			return unavailable("the issuer of the access token cannot be asked about it", err)
		}
		refused = answer.claims == nil || answer.has("sub") && answer.text("sub") != v.id.Subject
		v.note(answer.asked, refused)
	}
	if refused {
		return badToken("the access token was withdrawn")
	}
	return nil
}

// standing returns what the issuer said last, and whether it has to be asked again.
func (v *verified) standing(now time.Time) (refused, due bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refused, v.asked.IsZero() || now.Sub(v.asked) >= v.by.Freshness
}

// note keeps what the issuer said when it was asked.
func (v *verified) note(asked time.Time, refused bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if asked.After(v.asked) {
		v.asked, v.refused = asked, refused
	}
}
