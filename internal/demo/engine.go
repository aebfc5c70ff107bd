package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// Engine speaks MCP behind the server's authorization.
type Engine interface {
	http.Handler
	// DropSessions forgets every session: their next request is answered 404.
	DropSessions()
	// SendLog sends a logging notification to every session that wants it.
	SendLog(ctx context.Context, text string)
	// SetExtraTool adds or removes a tool named extra.
	SetExtraTool(present bool)
}

// Host is what an engine may use of its server.
type Host struct {
	ServerConfig
	Executed  func(tool string)    // is called before a tool runs
	Opened    func(session string) // when a session was initialized
	Cancelled func()               // when a run ended early because the client cancelled it
}

// MayAdminister reports whether the caller of a request, whose context is given, may do what only administrators may.
func (h Host) MayAdminister(ctx context.Context) bool {
	who := PrincipalOf(ctx)
	return h.Issuer == "" || who != nil && who.HasScopes([]string{AdminScope})
}

// Whoami is the structured answer of the tool whoami.
type Whoami struct {
	Subject          string   `json:"subject"`
	Name             string   `json:"name"`
	Email            string   `json:"email"`
	Groups           []string `json:"groups"`
	ClientID         string   `json:"client_id"`
	Scopes           []string `json:"scopes"`
	ExpiresInSeconds float64  `json:"expires_in_seconds"`
}

// Whoami tells whom a request speaks for, in words and in a structure.
func (h Host) Whoami(ctx context.Context) (string, Whoami) {
	who := PrincipalOf(ctx)
	if who == nil {
		return "Nobody in particular: this server does not ask.", Whoami{Groups: []string{}, Scopes: []string{}}
	}
	left := who.Expires - numericDate(h.Now())
	words := fmt.Sprintf("%s <%s>, groups %s, through client %s; the access token lives for %.0f more seconds.",
		who.Name, who.Email, strings.Join(who.Groups, ", "), who.ClientID, left)
	return words, Whoami{Subject: who.Subject, Name: who.Name, Email: who.Email,
		Groups: append([]string{}, who.Groups...), ClientID: who.ClientID, Scopes: who.Scopes(), ExpiresInSeconds: left}
}

// small is an engine with one tool, whoami: enough to show a sign-in. It knows MCP 2025-06-18 and answers with JSON.
// What is more, such as streams, other tools and other revisions, is the SDK's engine (package sdk), which the program
// does not link because that would cost it a megabyte.
type small struct {
	host Host

	mu       sync.Mutex      // guards sessions
	sessions map[string]bool // by id
}

func newSmall(host Host) Engine { return &small{host: host, sessions: map[string]bool{}} }

// DropSessions implements [Engine].
func (e *small) DropSessions() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.sessions)
}

// SendLog implements [Engine]: there is no stream to send it on.
func (e *small) SendLog(context.Context, string) {}

// SetExtraTool implements [Engine]: its list of tools does not change.
func (e *small) SetExtraTool(bool) {}

func (e *small) drop(session string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, session)
}

func (e *small) knows(session string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions[session]
}

func (e *small) open() string {
	id := rand.Text()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions[id] = true
	return id
}

// message is a JSON-RPC message of a client.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name string `json:"name"`
	} `json:"params"`
}

// ServeHTTP implements [http.Handler].
func (e *small) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m message
	switch {
	case r.Method == http.MethodDelete:
		e.drop(r.Header.Get("Mcp-Session-Id"))
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST, DELETE")
		w.WriteHeader(http.StatusMethodNotAllowed)
	case json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyLimit)).Decode(&m) != nil:
		http.Error(w, "the body is no JSON-RPC message", http.StatusBadRequest)
	case m.Method == "initialize":
		id := e.open()
		e.host.Opened(id)
		w.Header().Set("Mcp-Session-Id", id)
		answer(w, m, e.initialized())
	case !e.knows(r.Header.Get("Mcp-Session-Id")):
		http.Error(w, "there is no such session", http.StatusNotFound)
	case m.ID == nil || m.Method == "":
		w.WriteHeader(http.StatusAccepted)
	default:
		e.serve(w, r, m)
	}
}

func (e *small) initialized() any {
	return map[string]any{
		"protocolVersion": "2025-06-18", "capabilities": map[string]any{"tools": struct{}{}},
		"serverInfo": map[string]string{"name": "drawbridge-demo", "title": "Drawbridge demonstration", "version": "1"},
	}
}

func (e *small) serve(w http.ResponseWriter, r *http.Request, m message) {
	switch {
	case m.Method == "ping":
		answer(w, m, struct{}{})
	case m.Method == "tools/list":
		answer(w, m, map[string]any{"tools": []any{map[string]any{"name": "whoami", "description": "Who the access token of this request speaks for.",
			"annotations": map[string]bool{"readOnlyHint": true}, "inputSchema": map[string]string{"type": "object"}}}})
	case m.Method == "tools/call" && m.Params.Name == "whoami":
		e.host.Executed("whoami")
		words, structure := e.host.Whoami(r.Context())
		answer(w, m, map[string]any{"content": []any{map[string]string{"type": "text", "text": words}}, "structuredContent": structure})
	default:
		writeJSON(w, http.StatusOK, map[string]any{"jsonrpc": "2.0", "id": m.ID, "error": map[string]any{"code": -32601, "message": "not found: " + m.Method}})
	}
}

func answer(w http.ResponseWriter, m message, result any) {
	writeJSON(w, http.StatusOK, map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": result})
}
