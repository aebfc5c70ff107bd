package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"drawbridge/internal/secret"
)

// AdminScope is what the tool admin needs besides the server's own scopes.
const AdminScope = "mcp:admin"

// bodyLimit is the largest request body that is read, the same as the SDK's.
const bodyLimit = 4 << 20

// protect lets requests through that carry what this server asks for. Every request is looked at: a session is not a
// proof of who is speaking.
func (s *Server) protect(next http.Handler) http.Handler {
	switch {
	case s.cfg.Open, s.cfg.Guard != nil:
		return next
	case !s.cfg.APIKey.IsZero():
		return s.requireAPIKey(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, found := bearerToken(r)
		if !found {
			s.challenge(w, http.StatusUnauthorized, "", "", s.cfg.Scopes) // RFC 6750 §3.1: no error without a token
			return
		}
		who, err := s.verify(r.Context(), token)
		if err != nil {
			s.cfg.Log.Info("refused a token", "err", err)
			s.challenge(w, http.StatusUnauthorized, "invalid_token", err.Error(), s.cfg.Scopes)
			return
		}
		if needed := s.neededScopes(w, r); !who.HasScopes(needed) {
			s.challenge(w, http.StatusForbidden, "insufficient_scope", "the operation needs more scopes", needed)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithPrincipal(r.Context(), who)))
	})
}

// bearerToken reads the one place that RFC 6750 §2.1 tokens are accepted from. A query parameter is not looked at.
func bearerToken(r *http.Request) (string, bool) {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), found && strings.EqualFold(scheme, "Bearer")
}

// callerKey is the context key of the *Principal that protect admitted.
type callerKey struct{}

// Caller is who a request speaks for, in the words of a guard.
type Caller struct {
	Issuer, Subject, ClientID, Email, Name string
	Scopes, Groups                         []string
	Expires                                time.Time
}

// Admit marks a request as one that a guard let through ([ServerConfig.Guard]).
func Admit(r *http.Request, c Caller) *http.Request {
	who := &Principal{
		Issuer: c.Issuer, Subject: c.Subject, ClientID: c.ClientID, Email: c.Email, Name: c.Name, Groups: c.Groups,
		Scope: strings.Join(c.Scopes, " "), Expires: numericDate(c.Expires),
	}
	r = r.WithContext(WithPrincipal(r.Context(), who))
	r.Header.Set("Authorization", "Bearer admitted") // the SDK's middleware wants to see some token; the guard kept the real one
	return r
}

// WithPrincipal returns a context of a request that speaks for who.
func WithPrincipal(ctx context.Context, who *Principal) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

// PrincipalOf returns who a request that protect admitted speaks for; nil on a server that does not ask for tokens.
func PrincipalOf(ctx context.Context) *Principal {
	who, _ := ctx.Value(callerKey{}).(*Principal)
	return who
}

// challenge refuses a request and says what would be accepted (RFC 6750 §3, RFC 9728 §5.1).
func (s *Server) challenge(w http.ResponseWriter, status int, code, description string, scopes []string) {
	var parameters []string
	add := func(name, value string) {
		if value != "" {
			parameters = append(parameters, fmt.Sprintf("%s=%q", name, value))
		}
	}
	add("error", code)
	add("error_description", description)
	add("scope", strings.Join(scopes, " "))
	add("resource_metadata", s.challengeMetadata())
	s.update(func(st *serverState) { st.counts.Refused[status]++ })
	w.Header().Set("WWW-Authenticate", strings.TrimSpace("Bearer "+strings.Join(parameters, ", ")))
	if description == "" {
		description = "sign in first"
	}
	http.Error(w, description, status)
}

// neededScopes names all scopes of the operation in the body of r, so that one step-up is enough.
func (s *Server) neededScopes(w http.ResponseWriter, r *http.Request) []string {
	for _, m := range peek(w, r) {
		if m.Method == "tools/call" && m.Params.Name == "admin" {
			return append(slices.Clone(s.cfg.Scopes), AdminScope)
		}
	}
	return s.cfg.Scopes
}

// peeked is what authorization and counting need to know of a JSON-RPC message.
type peeked struct {
	Method string `json:"method"`
	Params struct {
		Name string `json:"name"`
	} `json:"params"`
}

// peek reads the messages in a POST and puts the body back. What is not JSON-RPC is left for the SDK to refuse.
func peek(w http.ResponseWriter, r *http.Request) []peeked {
	if r.Method != http.MethodPost {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
	var batch []peeked // revision 2025-03-26 has batches
	if json.Unmarshal(body, &batch) == nil {
		return batch
	}
	var one peeked
	if json.Unmarshal(body, &one) == nil {
		return []peeked{one}
	}
	return nil
}

// failing is the end of a body: the error that reading it met, or a plain end.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

func (s *Server) requireAPIKey(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.cfg.APIKey.Equal(secret.New(r.Header.Get(s.cfg.APIKeyHeader))) {
			s.update(func(st *serverState) { st.counts.Refused[http.StatusUnauthorized]++ })
			w.Header().Set("WWW-Authenticate", "ApiKey header="+s.cfg.APIKeyHeader)
			http.Error(w, "an API key is required", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// count notes what passed authorization.
func (s *Server) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		messages := peek(w, r)
		s.update(func(st *serverState) {
			for _, m := range messages {
				if m.Method == "" {
					m.Method = "response"
				}
				st.counts.Requests[m.Method]++
			}
			st.countHTTP(r)
		})
		next.ServeHTTP(w, r)
	})
}

func (st *serverState) countHTTP(r *http.Request) {
	if r.Method == http.MethodPost {
		return
	}
	st.counts.Requests[r.Method]++
	if id := r.Header.Get("Mcp-Session-Id"); r.Method == http.MethodDelete && st.sessions[id] {
		delete(st.sessions, id)
		st.counts.Deleted++
	}
}
