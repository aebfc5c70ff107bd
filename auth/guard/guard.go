package guard

import (
	"net/http"
	"slices"
)

// Guard protects MCP servers as [Config] says. Make it with [New]; it is safe for concurrent use.
type Guard struct {
	cfg           Config
	rules         rules
	providers     map[string]*provider // by issuer
	static        staticTokens
	known         cache // good tokens
	inactive      cache // opaque tokens that their issuer does not know
	metadata      resourceMetadata
	metadataURL   string   // of the challenge
	metadataPaths []string // where the metadata is served
}

// New makes a guard. It reaches out to no issuer.
func New(cfg Config) (*Guard, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	resource, err := checkResource(cfg.Resource)
	if err != nil {
		return nil, err
	}
	if err := checkIssuers(cfg.Issuers); err != nil {
		return nil, err
	}
	static, err := readStaticTokens(cfg.StaticTokens)
	if err != nil {
		return nil, err
	}
	paths := metadataPaths(resource)
	g := &Guard{
		cfg: cfg, rules: rules{spellings(resource, cfg.Resource), cfg.Skew, cfg.Now}, providers: map[string]*provider{},
		static: static, metadata: cfg.document(), metadataPaths: paths,
		metadataURL: resource.Scheme + "://" + resource.Host + paths[0],
	}
	return g, g.connect()
}

// connect makes the providers.
func (g *Guard) connect() error {
	f := newFetcher(g.cfg.Transport)
	for _, i := range g.cfg.Issuers {
		p, err := newProvider(i, &g.cfg, f)
		if err != nil {
			return err
		}
		g.providers[i.URL] = p
	}
	return nil
}

// Wrap returns a handler that lets through to next only what is allowed. It also answers at the well-known URLs of the
// resource, so it should receive them: mount it at the root, or there as well. What next receives has an [Identity] in
// its context and no Authorization header.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(g.metadataPaths, r.URL.EscapedPath()) {
			serveDocument(w, r, g.metadata)
			return
		}
		began := g.cfg.Now()
		id, refused := g.authenticate(r)
		if refused != nil {
			g.refuse(w, r, Event{Time: began}, refused)
			return
		}
		id.announce(w.Header(), began)
		g.authorize(w, withIdentity(r, id), Event{Time: began, Identity: id}, next)
	})
}

// authenticate finds out whom a request speaks for.
func (g *Guard) authenticate(r *http.Request) (*Identity, *refusal) {
	token, refused := bearer(r)
	if refused != nil {
		return nil, refused
	}
	return g.validate(r.Context(), token)
}

// refuse writes a refusal down and sends it.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, e Event, refused *refusal) {
	e.Verdict, e.Reason, e.Rule, e.Status = refused.verdict, refused.reason(), refused.rule, refused.status
	if err := g.record(r, e); err != nil {
		refused = unavailable("the audit cannot be written", nil)
	}
	g.write(w, refused)
}

// record writes an event down. What cannot be written down must not happen.
func (g *Guard) record(r *http.Request, e Event) error {
	e.Took = g.cfg.Now().Sub(e.Time)
	e.HTTPMethod, e.RemoteAddr = r.Method, r.RemoteAddr
	e.SessionID, e.Traceparent = r.Header.Get("Mcp-Session-Id"), r.Header.Get("Traceparent")
	if g.cfg.Audit != nil {
		if err := g.cfg.Audit(r.Context(), e); err != nil {
			g.cfg.Log.Error("the audit cannot be written", "err", err)
			return err
		}
	}
	if g.cfg.Observe != nil {
		g.cfg.Observe(r.Context(), e)
	}
	return nil
}
