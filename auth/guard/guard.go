package guard

import (
	"net/http"
	"net/url"
	"strings"
)

// Guard protects MCP servers as [Config] says. Make it with [New]; it is safe for concurrent use.
type Guard struct {
	cfg         Config
	rules       rules
	providers   map[string]*provider // by issuer
	static      staticTokens
	known       cache                       // good tokens
	inactive    cache                       // opaque tokens that their issuer does not know
	metadataURL string                      // of the challenge
	public      map[string]http.HandlerFunc // what is served to everybody, by path
	mirror      *mirrorPage                 // nil if there is none
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
	g := &Guard{
		cfg: cfg, rules: rules{spellings(resource, cfg.Resource), cfg.Skew, cfg.Now}, providers: map[string]*provider{},
		static: static, public: map[string]http.HandlerFunc{},
	}
	if err := g.connect(resource); err != nil {
		return nil, err
	}
	g.publish(resource)
	g.warn()
	return g, nil
}

// connect makes the providers.
func (g *Guard) connect(resource *url.URL) error {
	f := newFetcher(g.cfg.Transport)
	for _, i := range g.cfg.Issuers {
		p, err := newProvider(i, &g.cfg, f)
		if err != nil {
			return err
		}
		g.providers[i.URL] = p
		if i.Mirror != nil {
			g.mirror = &mirrorPage{
				Mirror: i.Mirror, by: p, issuer: g.cfg.Resource, now: g.cfg.Now,
				registration: resource.JoinPath(registrationPath).String(),
			}
		}
	}
	return nil
}

// registrationPath is where clients register below the resource, if there is a mirror.
const registrationPath = "oauth/register"

// publish fills in what is served to everybody.
func (g *Guard) publish(resource *url.URL) {
	document := g.document()
	paths := metadataPaths(resource)
	g.metadataURL = resource.Scheme + "://" + resource.Host + paths[0]
	for _, path := range paths {
		g.public[path] = func(w http.ResponseWriter, r *http.Request) { serveDocument(w, r, document) }
	}
	if g.mirror == nil {
		return
	}
	for _, address := range wellKnownIssuer(resource) {
		g.public[strings.TrimPrefix(address, resource.Scheme+"://"+resource.Host)] = g.mirror.serveMetadata
	}
	g.public[resource.JoinPath(registrationPath).EscapedPath()] = g.mirror.register
}

// Wrap returns a handler that lets through to next only what is allowed. It also answers at the well-known URLs of the
// resource, so it should receive them: mount it at the root, or there as well. What next receives has an [Identity] in
// its context and no Authorization header.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return g.Public(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := g.cfg.Now()
		id, refused := g.authenticate(r)
		if refused != nil {
			g.refuse(w, r, Event{Time: began}, refused)
			return
		}
		id.announce(w.Header(), began)
		g.authorize(w, withIdentity(r, id), Event{Time: began, Identity: id}, next)
	}))
}

// Public returns a handler that answers what is for everybody, the well-known URLs of the resource, and leaves the rest to
// next, unjudged.
func (g *Guard) Public(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if serve := g.public[r.URL.EscapedPath()]; serve != nil {
			serve(w, r)
			return
		}
		next.ServeHTTP(w, r)
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

// Record writes down what was decided about a request outside of the guard, such as in front of it. Verdict, Reason and
// Status are the caller's; the rest is filled in. An error means that the audit cannot be written, and that nothing may
// happen.
func (g *Guard) Record(r *http.Request, e Event) error {
	e.Time = g.cfg.Now()
	return g.record(r, e)
}

// record writes an event down. What cannot be written down must not happen.
func (g *Guard) record(r *http.Request, e Event) error {
	e.Took = g.cfg.Now().Sub(e.Time)
	if !g.cfg.AuditArguments {
		e.Call.Arguments = nil
	}
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
