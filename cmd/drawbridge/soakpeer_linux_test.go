package main_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"time"
)

// soakPeer is an MCP server that wants tokens of the world's identity provider which have not expired, counts how often
// each call is executed, and every second cuts all its connections.
type soakPeer struct {
	*httptest.Server
	issuer string

	mu       sync.Mutex
	conns    map[net.Conn]bool
	executed map[string]int
	refused  int // for a token that was expired
	cuts     int
}

func startSoakPeer(issuer string) *soakPeer {
	s := &soakPeer{issuer: issuer, conns: map[net.Conn]bool{}, executed: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ConnState = s.track
	s.Start()
	return s
}

func (s *soakPeer) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.conns[c] = true
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, c)
	}
}

// cutEverySecond does so until ctx ends.
func (s *soakPeer) cutEverySecond(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			for c := range s.conns {
				_ = c.Close() // what is under way is lost
			}
			s.cuts++
			s.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

var soakID, soakMethod = regexp.MustCompile(`"id":(\d+)`), regexp.MustCompile(`"method":"([^"]+)"`)

// ServeHTTP implements [http.Handler].
func (s *soakPeer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return
	case strings.HasPrefix(r.URL.Path, "/.well-known/oauth-protected-resource"):
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"resource":%q,"authorization_servers":[%q],"scopes_supported":["mcp"]}`, s.URL+"/mcp", s.issuer)
	case r.URL.Path != "/mcp":
		http.NotFound(w, r)
	case !alive(r.Header.Get("Authorization")):
		s.mu.Lock()
		s.refused++
		s.mu.Unlock()
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+s.URL+`/.well-known/oauth-protected-resource/mcp"`)
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		s.answer(w, r, body)
	}
}

// alive reports whether a token has not expired. That the identity provider issued it is tested elsewhere.
func alive(authorization string) bool {
	parts := strings.Split(authorization, ".")
	if len(parts) != 3 {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Exp float64 }
	return err == nil && json.Unmarshal(text, &claims) == nil && float64(time.Now().UnixMilli())/1000 < claims.Exp
}

func (s *soakPeer) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	id, method := soakID.FindSubmatch(body), soakMethod.FindSubmatch(body)
	if id == nil || method == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	s.mu.Lock()
	if string(method[1]) == "tools/call" {
		s.executed[string(id[1])]++
	}
	s.mu.Unlock()
	text := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}`, id[1])
	w.Header().Set("Mcp-Session-Id", "one")
	if id[1][len(id[1])-1]%2 == 0 {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, `data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`+"\n\n")
	_ = http.NewResponseController(w).Flush()
	pause := time.NewTimer(5 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-r.Context().Done():
	}
	_, _ = io.WriteString(w, "data: "+text+"\n\n")
}
