package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"drawbridge/internal/secret"
)

// ServerConfig configures an MCP server. A server that is neither Open nor has an APIKey needs an Issuer.
type ServerConfig struct {
	// Addr is the loopback address to listen on. If empty, "127.0.0.1:0".
	Addr string
	// Path is the path of the MCP endpoint. If empty, "/mcp".
	Path string
	// Issuer is the authorization server whose access tokens are accepted. It need not be an [IdP]: any that signs
	// RFC 9068 access tokens will do.
	Issuer string
	// JWKSURL is where the issuer publishes its keys. If empty, the issuer's metadata tells.
	JWKSURL string
	// Scopes are needed for every request. If nil, "mcp". An empty list needs none.
	Scopes []string
	// Revoked, if not nil, says whether the access token with this jti was revoked.
	Revoked func(jti string) bool
	// Metadata says where clients find out about Issuer.
	Metadata MetadataPlace
	// Open lets everybody in; there is no authorization at all.
	Open bool
	// APIKey, if not empty, is asked for instead of a token, in the header named APIKeyHeader.
	APIKey secret.Text
	// APIKeyHeader is the header that carries APIKey. If empty, "X-Api-Key".
	APIKeyHeader string
	// JSONResponses answers requests with application/json instead of an SSE stream.
	JSONResponses bool
	// HTTPSSE serves with the transport of MCP 2024-11-05 instead of Streamable HTTP.
	HTTPSSE bool
	// Stateless serves without sessions, which the 2026-07-28 revision needs.
	Stateless bool
	// EventStore keeps SSE events so that a broken stream can be resumed.
	EventStore bool
	// Guard, if not nil, stands in front of the server and decides in its place who gets in, and it publishes the metadata.
	// It is given the resource and the issuer. What it lets through to inside it marks with [Admit].
	Guard func(resource, issuer string, inside http.Handler) (http.Handler, error)
	// Engine makes what speaks MCP. If nil, it is a small one with the tool whoami, for which the settings above
	// mean nothing.
	Engine func(Host) Engine
	// Intercept, if not nil, sees every request first. It reports whether it answered the request.
	Intercept func(w http.ResponseWriter, r *http.Request) (handled bool)
	// Now is the clock. If nil, time.Now.
	Now func() time.Time
	// Log receives diagnostics, never a secret. If nil, they are discarded.
	Log *slog.Logger
}

// ServerCounts is what a server has done since it started.
type ServerCounts struct {
	// Requests counts JSON-RPC messages that passed authorization, by method. Answers to the server's own requests
	// are counted as "response"; HTTP requests to open a stream and to end a session as "GET" and "DELETE".
	Requests map[string]int
	// Executions counts runs of each tool.
	Executions map[string]int
	// Cancelled is the number of runs of the tool slow that ended early because the client cancelled them.
	Cancelled int
	// Refused counts requests by the status that authorization refused them with: 401 or 403.
	Refused map[int]int
	// Opened and Deleted count sessions: those initialized, and those ended by their client with DELETE.
	Opened, Deleted int
}

// Server is an MCP server that checks every request. All methods are safe for concurrent use.
type Server struct {
	url    string
	origin string
	cfg    ServerConfig
	keys   *keySource // nil without an Issuer
	engine Engine
	http   *loopback

	mu    sync.Mutex
	state serverState // guarded by mu; reached by update
}

// serverState is everything that changes while a server runs.
type serverState struct {
	counts    ServerCounts
	metadata  MetadataPlace
	intercept func(http.ResponseWriter, *http.Request) bool
	sessions  map[string]bool // ids of initialized sessions that were not deleted
}

// StartServer runs an MCP server until [Server.Close] is called or ctx ends.
func StartServer(ctx context.Context, cfg ServerConfig) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := checkPath(cfg.Path); err != nil {
		return nil, fmt.Errorf("server path: %w", err)
	}
	if cfg.Issuer == "" && !cfg.Open && cfg.APIKey.IsZero() {
		return nil, errors.New("a server needs an issuer, an API key, or to be open")
	}
	l, host, err := listenLoopback(cfg.Addr)
	if err != nil {
		return nil, err
	}
	s := &Server{origin: "http://" + host, url: "http://" + host + cfg.Path, cfg: cfg}
	s.state = serverState{metadata: cfg.Metadata, intercept: cfg.Intercept, sessions: map[string]bool{},
		counts: ServerCounts{Requests: map[string]int{}, Executions: map[string]int{}, Refused: map[int]int{}}}
	if cfg.Issuer != "" {
		s.keys = newKeySource(cfg.Issuer, cfg.JWKSURL)
	}
	s.engine = cfg.Engine(s.host())
	handler := s.handler()
	if cfg.Guard != nil {
		if handler, err = cfg.Guard(s.url, cfg.Issuer, handler); err != nil {
			return nil, errors.Join(fmt.Errorf("guard of the server: %w", err), l.Close())
		}
	}
	s.http = serveLoopback(ctx, l, handler, cfg.Log)
	return s, nil
}

func (c ServerConfig) withDefaults() ServerConfig {
	if c.Path == "" {
		c.Path = "/mcp"
	}
	if c.Scopes == nil {
		c.Scopes = []string{"mcp"}
	}
	if c.APIKeyHeader == "" {
		c.APIKeyHeader = "X-Api-Key"
	}
	if c.Engine == nil {
		c.Engine = newSmall
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (s *Server) host() Host {
	return Host{
		ServerConfig: s.cfg,
		Executed:     func(tool string) { s.update(func(st *serverState) { st.counts.Executions[tool]++ }) },
		Cancelled:    func() { s.update(func(st *serverState) { st.counts.Cancelled++ }) },
		Opened: func(id string) {
			s.update(func(st *serverState) {
				st.sessions[id] = true
				st.counts.Opened++
			})
		},
	}
}

// handler routes the MCP endpoint, the protected resource metadata and the broken endpoints.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/broken/", http.StripPrefix("/broken", Broken()))
	mux.HandleFunc("GET "+wellKnownResource, s.resourceMetadata)
	mux.HandleFunc("GET "+wellKnownResource+"/", s.resourceMetadata)
	mux.HandleFunc("GET "+privateMetadataPath, s.resourceMetadata)
	mux.Handle(s.cfg.Path, s.protect(s.count(s.engine)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var intercept func(http.ResponseWriter, *http.Request) bool
		s.update(func(st *serverState) { intercept = st.intercept })
		if intercept == nil || !intercept(w, r) {
			mux.ServeHTTP(w, r)
		}
	})
}

// update runs f with the state to itself. f does no I/O.
func (s *Server) update(f func(*serverState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.state)
}

// URL is the MCP endpoint and the resource identifier that tokens must have as their audience.
func (s *Server) URL() string { return s.url }

// Origin is the scheme, host and port of the server.
func (s *Server) Origin() string { return s.origin }

// BrokenURL is an endpoint of [Broken] on this server's origin: BrokenURL("html") answers HTML.
func (s *Server) BrokenURL(kind string) string { return s.origin + "/broken/" + kind }

// Close stops the server and cuts its connections. It may be called more than once.
func (s *Server) Close() error {
	err := s.http.close()
	s.DropSessions() // their goroutines outlive the connections otherwise
	return err
}

// DropSessions forgets every session, as a restart does: their next request is answered 404.
func (s *Server) DropSessions() {
	s.engine.DropSessions()
	s.update(func(st *serverState) { clear(st.sessions) })
}

// SetMetadata moves the protected resource metadata.
func (s *Server) SetMetadata(place MetadataPlace) {
	s.update(func(st *serverState) { st.metadata = place })
}

// SetIntercept replaces ServerConfig.Intercept; nil removes it.
func (s *Server) SetIntercept(f func(w http.ResponseWriter, r *http.Request) (handled bool)) {
	s.update(func(st *serverState) { st.intercept = f })
}

// SendLog sends a logging notification of level info to every session whose client asked for that level.
func (s *Server) SendLog(ctx context.Context, text string) {
	s.engine.SendLog(ctx, text)
}

// SetExtraTool adds or removes a tool named extra; either way sessions are told that the list of tools has changed.
func (s *Server) SetExtraTool(present bool) { s.engine.SetExtraTool(present) }

// Counts returns what the server has done so far.
func (s *Server) Counts() (c ServerCounts) {
	s.update(func(st *serverState) {
		c = st.counts
		c.Requests, c.Executions, c.Refused = maps.Clone(c.Requests), maps.Clone(c.Executions), maps.Clone(c.Refused)
	})
	return c
}
