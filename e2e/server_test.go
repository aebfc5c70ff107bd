//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// scope is what the MCP server asks for.
const scope = "mcp:tools"

// server is a protected MCP server. It trusts one issuer and verifies its tokens by the keys published there.
type server struct {
	url    string
	issuer string
	keys   jose.JSONWebKeySet

	mu      sync.Mutex
	seen    map[string]bool // guarded by mu; ids of accepted tokens
	refused map[string]bool // guarded by mu
}

// claims are those of an access token (RFC 9068) that the server looks at.
type claims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// startServer starts a server that trusts p. It ends with the test.
func startServer(t *testing.T, p *idp) *server {
	t.Helper()
	s := &server{issuer: p.Issuer, seen: map[string]bool{}, refused: map[string]bool{}}
	fetch(t, p.Issuer+"/jwks", &s.keys)
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	s.url = web.URL + "/mcp"
	metadata := "/.well-known/oauth-protected-resource/mcp"
	mux.Handle(metadata, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: s.url, AuthorizationServers: []string{s.issuer}, ScopesSupported: []string{scope},
	}))
	require := auth.RequireBearerToken(s.verify, &auth.RequireBearerTokenOptions{
		ResourceMetadataURL: web.URL + metadata, Scopes: []string{scope},
	})
	tools := tools()
	mux.Handle("/mcp", require(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, nil)))
	return s
}

func fetch(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatalf("fetch %s: %v", url, err)
	}
}

// verify implements [auth.TokenVerifier].
func (s *server) verify(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, fmt.Errorf("%w: not a JWT", auth.ErrInvalidToken)
	}
	var c claims
	if err := parsed.Claims(s.keys, &c); err != nil {
		return nil, fmt.Errorf("%w: signature", auth.ErrInvalidToken)
	}
	want := jwt.Expected{Issuer: s.issuer, AnyAudience: jwt.Audience{s.url}}
	if err := c.ValidateWithLeeway(want, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
	}
	if !s.accept(c.ID) {
		return nil, fmt.Errorf("%w: withdrawn", auth.ErrInvalidToken)
	}
	return &auth.TokenInfo{
		Scopes: strings.Fields(c.Scope), Expiration: c.Expiry.Time(), UserID: c.Subject, Extra: map[string]any{"jti": c.ID},
	}, nil
}

func (s *server) accept(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[id] = true
	return !s.refused[id]
}

// withdraw makes the server refuse every access token it has seen, so that a test need not wait for their expiry.
func (s *server) withdraw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.seen {
		s.refused[id] = true
	}
}

// caller is the answer of the tool whoami.
type caller struct {
	User  string `json:"user"`
	Token string `json:"token"` // its jti, which is not a secret
}

func tools() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "ledger", Version: "1.0.0"}, &mcp.ServerOptions{KeepAlive: time.Minute})
	mcp.AddTool(s, &mcp.Tool{Name: "whoami", Description: "Says who is calling."},
		func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, caller, error) {
			info := req.Extra.TokenInfo
			return nil, caller{User: info.UserID, Token: info.Extra["jti"].(string)}, nil
		})
	return s
}
