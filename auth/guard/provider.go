package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/sync/singleflight"
)

// How long what an issuer publishes is used.
const (
	keysFresh    = 10 * time.Minute // then they are fetched again, while the old ones go on being used
	keysStale    = 24 * time.Hour   // an issuer that is away for longer cannot vouch for its keys
	metadataFor  = time.Hour        // then endpoints are looked up again
	refetchPause = 10 * time.Second // between attempts: tokens with invented key ids must not make us hammer the issuer
)

// provider is an [Issuer] at work: its metadata, its keys, and questions about its tokens.
type provider struct {
	Issuer
	url   *url.URL
	fetch *fetcher
	now   func() time.Time
	warn  func(msg string, args ...any)

	state   atomic.Pointer[published] // nil until something was fetched
	mu      sync.Mutex                // guards tried and failure
	tried   time.Time                 // the last attempt
	failure error                     // of the last attempt
	flight  singleflight.Group        // one fetch, and one question about a token, at a time
	asking  chan struct{}             // a place for each question under way
}

// published is what an issuer publishes. It is never changed, only replaced.
type published struct {
	metadata  serverMetadata
	looked    time.Time // when the metadata was fetched
	keys      *keyRing
	refreshed time.Time // when the keys were fetched
}

// serverMetadata is what of RFC 8414 section 2 concerns a resource server.
type serverMetadata struct {
	Issuer                   string   `json:"issuer"`
	PKCEMethods              []string `json:"code_challenge_methods_supported"`
	JWKSURI                  string   `json:"jwks_uri"`
	IntrospectionEndpoint    string   `json:"introspection_endpoint"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported"`
	IssParameter             bool     `json:"authorization_response_iss_parameter_supported"`
	document                 map[string]any
}

func newProvider(i Issuer, c *Config, f *fetcher) (*provider, error) {
	u, err := url.Parse(i.URL)
	if err != nil {
		return nil, err
	}
	return &provider{
		Issuer: i, url: u, fetch: f, now: c.Now, asking: make(chan struct{}, maxAsking),
		warn: c.Log.With("issuer", i.URL).Warn,
	}, nil
}

// ring returns the keys to verify with, fetching them when there are none or they are too old. Old ones are renewed
// beside the request that notices.
func (p *provider) ring(ctx context.Context) (*keyRing, error) {
	s := p.state.Load()
	if s != nil && p.now().Sub(s.refreshed) < keysFresh {
		return s.keys, nil
	}
	if s != nil && p.now().Sub(s.refreshed) < keysStale {
		if !p.paused() {
			go func() { _ = p.refresh(context.WithoutCancel(ctx)) }() // the next request sees whether it worked
		}
		return s.keys, nil
	}
	if err := p.refresh(ctx); err != nil {
		return nil, err
	}
	return p.state.Load().keys, nil
}

// lookup finds the keys that a token may be signed with. For an unknown key id the issuer is asked for new keys.
func (p *provider) lookup(ctx context.Context, kid, alg string) (keys []any, ring *keyRing, err error) {
	ring, err = p.ring(ctx)
	if err != nil {
		return nil, nil, err
	}
	if keys = ring.find(kid, alg); len(keys) > 0 {
		return keys, ring, nil
	}
	if err := p.refresh(ctx); err != nil {
		return nil, nil, err
	}
	ring = p.state.Load().keys
	return ring.find(kid, alg), ring, nil
}

// paused reports whether the last attempt was just now.
func (p *provider) paused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now().Sub(p.tried) < refetchPause
}

// refresh fetches the keys, unless that was tried just now: then it has the outcome of that attempt. Callers share one
// attempt, which none of them can cancel; fetchTimeout ends it.
func (p *provider) refresh(ctx context.Context) error {
	done := p.flight.DoChan("keys", func() (any, error) {
		if p.begin() {
			p.end(p.renew(context.WithoutCancel(ctx)))
		}
		return nil, p.lastFailure()
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin notes that an attempt begins; false if the last one was just now.
func (p *provider) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now().Sub(p.tried) < refetchPause {
		return false
	}
	p.tried = p.now()
	return true
}

func (p *provider) end(err error) {
	if err != nil {
		p.warn("keys of the issuer cannot be fetched", "err", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried, p.failure = p.now(), err
}

// renew replaces what is known of the issuer. All of it together may take fetchTimeout.
func (p *provider) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	s, err := p.read(ctx)
	if err == nil {
		p.state.Store(s)
	}
	return err
}

func (p *provider) lastFailure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// read fetches the keys, and the metadata where it is old or the last attempt failed.
func (p *provider) read(ctx context.Context) (*published, error) {
	next := published{refreshed: p.now()}
	old := p.state.Load()
	if old != nil && p.lastFailure() == nil && p.now().Sub(old.looked) < metadataFor {
		next.metadata, next.looked = old.metadata, old.looked
	} else {
		m, err := p.discover(ctx)
		if err != nil {
			return nil, err
		}
		next.metadata, next.looked = m, p.now()
	}
	ring, err := p.readKeys(ctx, next.metadata.JWKSURI)
	if err != nil {
		return nil, err
	}
	if old != nil && ring.equal(old.keys) {
		ring = old.keys // what was verified with them stays verified
	}
	next.keys = ring
	return &next, nil
}

// discover finds the issuer's metadata. If none can be used, the most telling reason is kept: that of a place where there
// is some.
func (p *provider) discover(ctx context.Context) (serverMetadata, error) {
	var telling, last error
	for _, address := range wellKnownIssuer(p.url) {
		m, err := p.readMetadata(ctx, address)
		if err == nil {
			return m, nil
		}
		if last = err; telling == nil && !errors.Is(err, statusError(http.StatusNotFound)) {
			telling = err
		}
	}
	return serverMetadata{}, fmt.Errorf("metadata of issuer %s: %w", quoted(p.URL), cmp.Or(telling, last))
}

func (p *provider) readMetadata(ctx context.Context, address string) (m serverMetadata, err error) {
	var raw json.RawMessage
	if err = p.fetch.get(ctx, address, &raw); err != nil {
		return m, err
	}
	if json.Unmarshal(raw, &m) != nil || json.Unmarshal(raw, &m.document) != nil {
		return m, errors.New("it is no JSON object of the expected form")
	}
	if m.Issuer != p.URL { // RFC 8414 section 3.3: identical, or the document must not be used
		return m, errMismatch(m.Issuer)
	}
	for what, endpoint := range map[string]string{"jwks_uri": m.JWKSURI, "introspection_endpoint": m.IntrospectionEndpoint} {
		if err := p.checkEndpoint(what, endpoint); err != nil {
			return m, err
		}
	}
	return m, nil
}

// checkEndpoint wants an endpoint that is as safe as the issuer: what comes from there decides who may pass.
func (p *provider) checkEndpoint(what, endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := secureURL(what, endpoint)
	if err == nil && p.url.Scheme == "https" && u.Scheme != "https" {
		err = fmt.Errorf("%s %s: want https, like the issuer", what, quoted(endpoint))
	}
	return err
}

// errMismatch explains metadata that belongs to another issuer.
func errMismatch(got string) error {
	hint := "configure the issuer as the metadata has it"
	if strings.Contains(got, "{") { // Entra ID: .../{tenantid}/v2.0
		hint = "name your own tenant in the issuer"
	}
	return fmt.Errorf("it calls itself %s: %s", quoted(got), hint)
}
