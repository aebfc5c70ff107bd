package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"drawbridge/auth/guard"
	"drawbridge/auth/guard/proxy"
	"drawbridge/cmd/drawbridge-guard/internal/policy"
	"drawbridge/internal/secret"
)

// service is everything that a configuration comes to, before anything listens.
type service struct {
	handler  http.Handler // the public one
	guard    *guard.Guard
	policy   *policy.Policy
	signer   *proxy.Signer
	tls      *tls.Config
	warnings []string
}

// hooks are what is put into a service from outside.
type hooks struct {
	audit   func(context.Context, guard.Event) error
	observe func(context.Context, guard.Event)
	trace   func(http.Handler) http.Handler
	forward func(http.RoundTripper) http.RoundTripper
	log     *slog.Logger
}

// build makes the service, and says what is wrong with the configuration.
func build(c *config, h hooks) (*service, error) {
	s := &service{warnings: c.warnings()}
	limits, err := c.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	if s.policy, err = c.policy(); err != nil {
		return nil, err
	}
	if s.tls, err = c.TLS.load(); err != nil {
		return nil, err
	}
	if s.signer, err = c.signer(); err != nil {
		return nil, err
	}
	forward, err := c.proxy(s, h)
	if err != nil {
		return nil, err
	}
	quota := newQuota(limits)
	authorize := forward.Authorize(quota.authorize(s.policy.Authorize))
	g, err := c.guard(h, authorize, quota.admit, int64(limits.Body))
	if s.guard = g; err != nil {
		return nil, err
	}
	gate, err := proxy.NewGate(proxy.GateConfig{
		Resource: c.Resource, Hosts: c.Hosts, Origins: c.Origins, MaxConcurrent: limits.MaxConcurrent, Record: g.Record,
	})
	if err != nil {
		return nil, err
	}
	s.handler, err = routes(c.Resource, h.trace(gate.Wrap(g.Wrap(forward))), g.Public(http.NotFoundHandler()))
	return s, err
}

// restTime is how long a request may take to arrive that is not for the MCP server: no gate counts those.
const restTime = 10 * time.Second

// routes sends what is for the MCP server through the gate. Metadata is for everybody, and whatever else is not there.
func routes(resource string, mcp, rest http.Handler) (http.Handler, error) {
	u, err := url.Parse(resource)
	if err != nil {
		return nil, err
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() == path {
			mcp.ServeHTTP(w, r)
			return
		}
		// Fail open because not every connection has deadlines. The server takes it away before the next request.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restTime))
		rest.ServeHTTP(w, r)
	}), nil
}

func (c *config) guard(h hooks, authorize guard.Authorizer, admit admitter, maxBody int64) (*guard.Guard, error) {
	cfg := guard.Config{
		Resource: c.Resource, Name: c.Name, Documentation: c.Documentation, Scopes: c.Scopes, Skew: c.Skew, MaxBody: maxBody,
		Authorize: authorize, Admit: admit, AuditArguments: c.Audit.Arguments, Audit: h.audit, Observe: h.observe, Log: h.log,
	}
	for _, i := range c.Issuers {
		credential, err := readSecret("client_secret_file", i.ClientSecret)
		if err != nil {
			return nil, err
		}
		cfg.Issuers = append(cfg.Issuers, guard.Issuer{
			URL: i.URL, Audiences: i.Audiences, Groups: i.Groups, ClientID: i.ClientID, ClientSecret: credential,
			Opaque: i.Opaque, Freshness: i.Freshness, Mirror: (*guard.Mirror)(i.Mirror),
		})
	}
	for _, t := range c.StaticTokens {
		cfg.StaticTokens = append(cfg.StaticTokens, guard.StaticToken{Name: t.Name, SHA256: t.SHA256, Until: t.Until, Scopes: t.Scopes, Groups: t.Groups})
	}
	return guard.New(cfg)
}

func (c *config) proxy(s *service, h hooks) (*proxy.Proxy, error) {
	credential, err := readSecret("upstream_authorization_file", c.Authorization)
	if err != nil {
		return nil, err
	}
	sessions, err := c.sessions()
	if err != nil {
		return nil, err
	}
	cfg := proxy.Config{
		Upstream: c.Upstream, Sessions: sessions, Signer: s.signer, Authorization: credential, Strip: c.StripHeaders, Log: h.log,
		Transport: h.forward(proxy.NewTransport()),
	}
	if c.restricts() {
		cfg.Visible = s.policy.Visible
	}
	return proxy.New(cfg)
}

// restricts reports whether lists have to be filtered: without rules everybody may see what everybody may use.
func (c *config) restricts() bool { return c.Policy.Cedar != "" || len(c.Policy.Allow) > 0 }

func (c *config) policy() (*policy.Policy, error) {
	if c.Policy.Cedar == "" {
		p, err := policy.New(c.Policy.Rules, nil)
		if err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		return p, nil
	}
	text, err := os.ReadFile(c.Policy.Cedar)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return policy.NewCedar(c.Policy.Cedar, text, c.Policy.ScopeIncludes, nil)
}

// sessions reads the keys; without any it makes one, which ends every session with the process.
func (c *config) sessions() (*proxy.Sessions, error) {
	if len(c.SessionKeys) == 0 {
		return proxy.NewSessions(secret.New(rand.Text() + rand.Text()))
	}
	var keys []secret.Text
	for _, name := range c.SessionKeys {
		key, err := readSecret("session_key_files", name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return proxy.NewSessions(keys...)
}

func (c *config) signer() (*proxy.Signer, error) {
	if c.Identity.Key == "" {
		return nil, nil
	}
	key, err := readSecret("identity", c.Identity.Key)
	if err != nil {
		return nil, err
	}
	audience := c.Identity.Audience
	if audience == "" {
		audience = c.Upstream
	}
	return proxy.NewSigner(key, c.Resource, audience, nil)
}

// readSecret reads a file that holds one secret. No file is no secret.
func readSecret(what, name string) (secret.Text, error) {
	if name == "" {
		return secret.Text{}, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return secret.Text{}, fmt.Errorf("%s: %w", what, err)
	}
	value := strings.TrimSpace(string(text))
	if value == "" {
		return secret.Text{}, fmt.Errorf("%s: %q is empty", what, name)
	}
	return secret.New(value), nil
}

func (f tlsFiles) load() (*tls.Config, error) {
	if f.Certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// warnings says what is allowed and may not be meant. The guard says by itself what it accepts.
func (c *config) warnings() (out []string) {
	if len(c.SessionKeys) == 0 {
		out = append(out, "no session_key_files: sessions end with this process, and several instances cannot share them")
	}
	if c.Audit.Path == "" {
		out = append(out, "no audit path: decisions are not written down")
	}
	if c.TLS.Certificate == "" && !loopback(c.Listen) {
		out = append(out, "serving without TLS on "+c.Listen+": tokens are readable on the way unless something in front adds TLS")
	}
	return out
}
