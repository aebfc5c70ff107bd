package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// newMCP makes the server behind the HTTP handler, with something in every list.
func (s *Server) newMCP() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "drawbridge-demo", Title: "Drawbridge demonstration", Version: "1"},
		&mcp.ServerOptions{
			Instructions:       "A demonstration server. The tool whoami tells who is signed in.",
			CompletionHandler:  complete,
			SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
			UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
			// Who may see a list depends on the caller, so nobody may share it.
			SetCacheable: func(_ context.Context, _ mcp.Request, c *mcp.Cacheable) { c.CacheScope = "private" },
		})
	server.AddReceivingMiddleware(s.countCalls)
	s.addTools(server)
	addReading(server)
	return server
}

// countCalls counts sessions and tool runs. A call that comes back with the answers it asked for is the same run.
func (s *Server) countCalls(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if p, ok := req.GetParams().(*mcp.CallToolParamsRaw); ok && p.InputResponses == nil {
			s.update(func(st *serverState) { st.counts.Executions[p.Name]++ })
		}
		result, err := next(ctx, method, req)
		if id := req.GetSession().ID(); method == "initialize" && err == nil && id != "" {
			s.update(func(st *serverState) {
				st.sessions[id] = true
				st.counts.Opened++
			})
		}
		return result, err
	}
}

func (s *Server) addTools(server *mcp.Server) {
	readOnly := &mcp.ToolAnnotations{ReadOnlyHint: true}
	mcp.AddTool(server, &mcp.Tool{Name: "whoami", Annotations: readOnly,
		Description: "Who the access token of this request speaks for."}, s.whoami)
	mcp.AddTool(server, &mcp.Tool{Name: "echo", Annotations: readOnly, Description: "Returns its text."}, echo)
	mcp.AddTool(server, &mcp.Tool{Name: "big", Annotations: readOnly,
		Description: "Returns a text of so many bytes."}, big)
	mcp.AddTool(server, &mcp.Tool{Name: "slow", Annotations: readOnly,
		Description: "Takes so many milliseconds, and reports progress where it is asked for."}, s.slow)
	mcp.AddTool(server, &mcp.Tool{Name: "log", Annotations: readOnly,
		Description: "Sends a logging notification before it answers."}, logOnce)
	mcp.AddTool(server, &mcp.Tool{Name: "confirm", Description: "Asks the user a yes-or-no question."}, confirm)
	mcp.AddTool(server, &mcp.Tool{Name: "ask_model", Description: "Asks the client's model."}, askModel)
	mcp.AddTool(server, &mcp.Tool{Name: "roots", Description: "Asks the client for its roots."}, roots)
	mcp.AddTool(server, &mcp.Tool{Name: "admin",
		Description: "Does what only an administrator may; needs the scope " + adminScope + "."}, s.admin)
}

// whoamiResult is the structured answer of the tool whoami.
type whoamiResult struct {
	Subject          string   `json:"subject"`
	Name             string   `json:"name"`
	Email            string   `json:"email"`
	Groups           []string `json:"groups"`
	ClientID         string   `json:"client_id"`
	Scopes           []string `json:"scopes"`
	ExpiresInSeconds float64  `json:"expires_in_seconds"`
}

func (s *Server) whoami(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, *whoamiResult, error) {
	who := callerOf(req)
	if who == nil {
		return text("Nobody in particular: this server does not ask."), &whoamiResult{Groups: []string{}, Scopes: []string{}}, nil
	}
	left := who.Expires - numericDate(s.cfg.Now())
	words := fmt.Sprintf("%s <%s>, groups %s, through client %s; the access token lives for %.0f more seconds.",
		who.Name, who.Email, strings.Join(who.Groups, ", "), who.ClientID, left)
	return text(words), &whoamiResult{Subject: who.Subject, Name: who.Name, Email: who.Email,
		Groups: append([]string{}, who.Groups...), ClientID: who.ClientID, Scopes: who.scopes(), ExpiresInSeconds: left}, nil
}

// callerOf returns who a call speaks for, or nil on a server that does not ask for tokens.
func callerOf(req *mcp.CallToolRequest) *caller {
	if req.Extra == nil || req.Extra.TokenInfo == nil {
		return nil
	}
	who, _ := req.Extra.TokenInfo.Extra["caller"].(*caller)
	return who
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

type textArgument struct {
	Text string `json:"text"`
}

func echo(_ context.Context, _ *mcp.CallToolRequest, in textArgument) (*mcp.CallToolResult, any, error) {
	return text(in.Text), nil, nil
}

// maxBig keeps one call from taking all memory.
const maxBig = 64 << 20

func big(_ context.Context, _ *mcp.CallToolRequest, in struct {
	Bytes int `json:"bytes"`
}) (*mcp.CallToolResult, any, error) {
	if in.Bytes < 0 || in.Bytes > maxBig {
		return nil, nil, fmt.Errorf("bytes must be between 0 and %d", maxBig)
	}
	return text(strings.Repeat("x", in.Bytes)), nil, nil
}

// slowSteps is how many steps a run of slow has. A progress notification follows each, and one precedes the first, so
// that a client knows that the tool is running.
const slowSteps = 5

func (s *Server) slow(ctx context.Context, req *mcp.CallToolRequest, in struct {
	Milliseconds int `json:"ms"`
}) (*mcp.CallToolResult, any, error) {
	for step := range slowSteps + 1 {
		if step > 0 && !wait(ctx, time.Duration(in.Milliseconds)*time.Millisecond/slowSteps) {
			s.update(func(st *serverState) { st.counts.Cancelled++ })
			return nil, nil, ctx.Err()
		}
		if err := reportStep(ctx, req, step); err != nil {
			return nil, nil, fmt.Errorf("report progress: %w", err)
		}
	}
	return text("done"), nil, nil
}

// reportStep sends a progress notification if the caller asked for them.
func reportStep(ctx context.Context, req *mcp.CallToolRequest, step int) error {
	token := req.Params.GetProgressToken()
	if token == nil {
		return nil
	}
	return req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token,
		Progress: float64(step), Total: slowSteps, Message: fmt.Sprintf("step %d", step)})
}

func logOnce(ctx context.Context, req *mcp.CallToolRequest, in textArgument) (*mcp.CallToolResult, any, error) {
	err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Logger: "demo", Data: in.Text})
	return text("logged"), nil, err
}

// admin checks the scope again: what protect read in the body is for the challenge, and a body can be written so that
// two JSON decoders read different names in it.
func (s *Server) admin(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	if who := callerOf(req); s.keys != nil && (who == nil || !who.hasScopes([]string{adminScope})) {
		return nil, nil, errors.New("the scope " + adminScope + " is missing")
	}
	return text("done as administrator"), nil, nil
}

// ask requests something from the client and returns its answer. In the 2026-07-28 revision the call ends with the
// request in its result and comes again with the answer; before that the SDK sends a request in the other direction
// and calls the handler again itself. Either way the first return is the result to end with now.
func ask(req *mcp.CallToolRequest, question mcp.InputRequest) (*mcp.CallToolResult, mcp.InputResponse) {
	if answer, ok := req.Params.InputResponses["question"]; ok {
		return nil, answer
	}
	return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"question": question}}, nil
}

func confirm(_ context.Context, req *mcp.CallToolRequest, in struct {
	Question string `json:"question"`
}) (*mcp.CallToolResult, any, error) {
	schema := json.RawMessage(`{"type":"object","properties":{"yes":{"type":"boolean","title":"Yes"}},"required":["yes"]}`)
	pending, answer := ask(req, &mcp.ElicitParams{Mode: "form", Message: in.Question, RequestedSchema: schema})
	if pending != nil {
		return pending, nil, nil
	}
	got, ok := answer.(*mcp.ElicitResult)
	if !ok {
		return nil, nil, errors.New("the answer is not one to a question")
	}
	return text(fmt.Sprintf("%s yes=%v", got.Action, got.Content["yes"])), nil, nil
}

func askModel(_ context.Context, req *mcp.CallToolRequest, in struct {
	Prompt string `json:"prompt"`
}) (*mcp.CallToolResult, any, error) {
	pending, answer := ask(req, &mcp.CreateMessageParams{MaxTokens: 100,
		Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: in.Prompt}}}})
	if pending != nil {
		return pending, nil, nil
	}
	got, ok := answer.(*mcp.CreateMessageWithToolsResult)
	if !ok {
		return nil, nil, errors.New("the answer is not one of a model")
	}
	return &mcp.CallToolResult{Content: got.Content}, nil, nil
}

func roots(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	pending, answer := ask(req, &mcp.ListRootsParams{})
	if pending != nil {
		return pending, nil, nil
	}
	got, ok := answer.(*mcp.ListRootsResult)
	if !ok {
		return nil, nil, errors.New("the answer is not a list of roots")
	}
	var lines []string
	for _, root := range got.Roots {
		lines = append(lines, root.URI)
	}
	return text(strings.Join(lines, "\n")), nil, nil
}

// SetExtraTool adds or removes a tool named extra; either way sessions are told that the list of tools has changed.
func (s *Server) SetExtraTool(present bool) {
	if !present {
		s.mcp.RemoveTools("extra")
		return
	}
	mcp.AddTool(s.mcp, &mcp.Tool{Name: "extra", Description: "Was not always here."}, echo)
}
