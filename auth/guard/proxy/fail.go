package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"drawbridge/auth/guard"
)

// sessionCheck is a policy that looks at session ids before another does.
type sessionCheck struct {
	proxy *Proxy
	next  guard.Authorizer
}

func (c sessionCheck) authorize(ctx context.Context, q *guard.Request) guard.Decision {
	if bound := q.HTTP.Header.Values(sessionHeader); len(bound) > 0 {
		_, ok := c.proxy.cfg.Sessions.Open(bound[0], q.Identity)
		if !ok || len(bound) > 1 {
			return guard.Decision{Outcome: guard.NoSession, Reason: "there is no such session: begin a new one"}
		}
	}
	if c.next == nil {
		return guard.Decision{Outcome: guard.Allow}
	}
	return c.next(ctx, q)
}

// codeUpstream is JSON-RPC's internal error.
const codeUpstream = -32603

// fail answers a request that the server behind did not answer. The message may have been carried out.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		w.WriteHeader(http.StatusBadGateway) // the client has gone: nobody reads it
		return
	}
	text := "the MCP server behind this guard cannot be reached"
	if wrong := errUpstream(""); errors.As(err, &wrong) {
		text = string(wrong)
	}
	p.cfg.Log.Warn("no answer from the server behind", "err", err)
	id := json.RawMessage("null")
	if calls := guard.CallsFromContext(r.Context()); len(calls) == 1 && calls[0].ID != "" {
		id = json.RawMessage(calls[0].ID)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadGateway)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client has gone
		"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": codeUpstream, "message": "drawbridge-guard: " + text},
	})
}
