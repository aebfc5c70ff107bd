package demo

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"drawbridge/internal/secret"
)

// MetadataPlace says where a server's protected resource metadata is found (RFC 9728).
type MetadataPlace int

// Places of protected resource metadata.
const (
	// MetadataEverywhere: named by the challenge, at the path-inserted well-known URL.
	MetadataEverywhere MetadataPlace = iota
	// MetadataAtPath: at the path-inserted well-known URL; the challenge does not name it.
	MetadataAtPath
	// MetadataAtRoot: at the root well-known URL, for the whole origin; the challenge does not name it.
	MetadataAtRoot
	// MetadataInHeader: at a URL that only the challenge names.
	MetadataInHeader
	// MetadataNowhere: there is none.
	MetadataNowhere
)

// ServerConfig configures an MCP server. A server that is neither Open nor has an APIKey needs an Issuer.
type ServerConfig struct {
	// Addr is the loopback address to listen on. If empty, "127.0.0.1:0".
	Addr string
	// Path is the path of the MCP endpoint. If empty, "/mcp".
	Path string
	// Issuer is the authorization server whose access tokens are accepted.
	Issuer string
	// JWKSURL is where the issuer publishes its keys. If empty, the issuer's metadata tells.
	JWKSURL string
	// Scopes are needed for every request. If nil, "mcp". An empty list needs none.
	Scopes []string
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
	// Stateless serves without sessions, which the 2026-07-28 revision needs.
	Stateless bool
	// EventStore keeps SSE events so that a broken stream can be resumed.
	EventStore bool
	// Intercept, if not nil, sees every request first. It reports whether it answered the request.
	Intercept func(w http.ResponseWriter, r *http.Request) (handled bool)
	// Now is the clock. If nil, time.Now.
	Now func() time.Time
	// Log receives diagnostics, never a secret. If nil, they are discarded.
	Log *slog.Logger
}

// ServerCounts is what a server has done since it started.
type ServerCounts struct {
	// Requests counts JSON-RPC messages that passed authorization, by method; "GET" and "DELETE" count those.
	Requests map[string]int
	// Executions counts runs of each tool.
	Executions map[string]int
	// Refused counts requests by the status they were refused with: 401 or 403.
	Refused map[int]int
	// Opened and Deleted count sessions.
	Opened, Deleted int
}

// Server is an MCP server that checks every request. All methods are safe for concurrent use.
type Server struct {
	url string
}

// StartServer runs an MCP server until [Server.Close] is called or ctx ends.
func StartServer(ctx context.Context, cfg ServerConfig) (*Server, error) { return &Server{}, nil }

// URL is the MCP endpoint and the resource identifier that tokens must have as their audience.
func (s *Server) URL() string { return s.url }

// BrokenURL is an endpoint of [Broken] on this server's origin: BrokenURL("html") answers HTML.
func (s *Server) BrokenURL(kind string) string { return "" }

// Close stops the server and cuts its connections. It may be called more than once.
func (s *Server) Close() error { return nil }

// DropSessions forgets every session, as a restart does: their next request is answered 404.
func (s *Server) DropSessions() {}

// SetMetadata moves the protected resource metadata.
func (s *Server) SetMetadata(place MetadataPlace) {}

// SetIntercept replaces ServerConfig.Intercept; nil removes it.
func (s *Server) SetIntercept(f func(w http.ResponseWriter, r *http.Request) (handled bool)) {}

// SendLog sends a logging notification to every session whose client asked for that level.
func (s *Server) SendLog(text string) {}

// Counts returns what the server has done so far.
func (s *Server) Counts() ServerCounts { return ServerCounts{} }
