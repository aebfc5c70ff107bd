// Package sdk is the go-sdk's MCP server behind the demo's authorization: with streams, sessions and something in every
// list. It is the tests' peer, written by others than the bridge.
package sdk

import (
	"context"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"drawbridge/internal/demo"
)

type engine struct {
	http.Handler
	host demo.Host
	mcp  *mcp.Server
}

// New makes an engine.
func New(host demo.Host) demo.Engine {
	e := &engine{host: host}
	e.mcp = e.newMCP()
	options := &mcp.StreamableHTTPOptions{
		Stateless:                    host.Stateless,
		JSONResponse:                 host.JSONResponses,
		PropagateRequestCancellation: true,
		Logger:                       host.Log,
	}
	if host.EventStore {
		options.EventStore = mcp.NewMemoryEventStore(nil)
	}
	mine := func(*http.Request) *mcp.Server { return e.mcp }
	e.Handler = mcp.NewStreamableHTTPHandler(mine, options)
	if host.HTTPSSE {
		e.Handler = mcp.NewSSEHandler(mine, nil)
	}
	if !host.Open && host.APIKey.IsZero() {
		e.Handler = carryCaller(e.Handler)
	}
	return e
}

// newMCP makes the server behind the HTTP handler, with something in every list.
func (e *engine) newMCP() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "drawbridge-demo", Title: "Drawbridge demonstration", Version: "1"},
		&mcp.ServerOptions{
			Instructions:       "A demonstration server. The tool whoami tells who is signed in.",
			CompletionHandler:  complete,
			SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
			UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
			// Who may see a list depends on the caller, so nobody may share it.
			SetCacheable: func(_ context.Context, _ mcp.Request, c *mcp.Cacheable) { c.CacheScope = "private" },
		})
	server.AddReceivingMiddleware(e.count)
	e.addTools(server)
	addReading(server)
	return server
}

// count reports sessions and tool runs. A call that comes back with the answers it asked for is the same run.
func (e *engine) count(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if p, ok := req.GetParams().(*mcp.CallToolParamsRaw); ok && p.InputResponses == nil {
			e.host.Executed(p.Name)
		}
		result, err := next(ctx, method, req)
		if id := req.GetSession().ID(); method == "initialize" && err == nil && id != "" {
			e.host.Opened(id)
		}
		return result, err
	}
}

// carryCaller hands the caller to the SDK, which binds sessions to it. The SDK's own middleware is the only way in;
// its challenges are not used because they lack error= and step-up depends on that.
func carryCaller(next http.Handler) http.Handler {
	verified := func(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
		who := demo.PrincipalOf(ctx)
		if who == nil {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{Scopes: who.Scopes(), UserID: who.Subject, Extra: map[string]any{"caller": who}}, nil
	}
	return auth.RequireBearerToken(verified, &auth.RequireBearerTokenOptions{AllowMissingExpiration: true})(next)
}

// callerContext returns a context with whom a call speaks for; the SDK's own contexts do not carry it.
func callerContext(req *mcp.CallToolRequest) context.Context {
	if req.Extra == nil || req.Extra.TokenInfo == nil {
		return context.Background()
	}
	who, _ := req.Extra.TokenInfo.Extra["caller"].(*demo.Principal)
	return demo.WithPrincipal(context.Background(), who)
}

// DropSessions implements [demo.Engine].
func (e *engine) DropSessions() {
	for one := range e.mcp.Sessions() {
		_ = one.Close() // best effort: a session that is ending already is gone all the same
	}
}

// SendLog implements [demo.Engine].
func (e *engine) SendLog(ctx context.Context, text string) {
	for one := range e.mcp.Sessions() {
		if err := one.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Logger: "demo", Data: text}); err != nil {
			e.host.Log.Debug("log notification not sent", "err", err)
		}
	}
}

// SetExtraTool implements [demo.Engine].
func (e *engine) SetExtraTool(present bool) {
	if !present {
		e.mcp.RemoveTools("extra")
		return
	}
	mcp.AddTool(e.mcp, &mcp.Tool{Name: "extra", Description: "Was not always here."}, echo)
}
