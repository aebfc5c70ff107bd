package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"drawbridge/internal/demo"
)

func (e *engine) addTools(server *mcp.Server) {
	readOnly := &mcp.ToolAnnotations{ReadOnlyHint: true}
	mcp.AddTool(server, &mcp.Tool{Name: "whoami", Annotations: readOnly,
		Description: "Who the access token of this request speaks for."}, e.whoami)
	mcp.AddTool(server, &mcp.Tool{Name: "echo", Annotations: readOnly, Description: "Returns its text."}, echo)
	mcp.AddTool(server, &mcp.Tool{Name: "big", Annotations: readOnly,
		Description: "Returns a text of so many bytes."}, big)
	mcp.AddTool(server, &mcp.Tool{Name: "slow", Annotations: readOnly,
		Description: "Takes so many milliseconds, and reports progress where it is asked for."}, e.slow)
	mcp.AddTool(server, &mcp.Tool{Name: "log", Annotations: readOnly,
		Description: "Sends a logging notification before it answers."}, logOnce)
	mcp.AddTool(server, &mcp.Tool{Name: "confirm", Description: "Asks the user a yes-or-no question."}, confirm)
	mcp.AddTool(server, &mcp.Tool{Name: "ask_model", Description: "Asks the client's model."}, askModel)
	mcp.AddTool(server, &mcp.Tool{Name: "roots", Description: "Asks the client for its roots."}, roots)
	mcp.AddTool(server, &mcp.Tool{Name: "admin",
		Description: "Does what only an administrator may; needs the scope " + demo.AdminScope + "."}, e.admin)
}

func (e *engine) whoami(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, *demo.Whoami, error) {
	words, structure := e.host.Whoami(callerContext(req))
	return text(words), &structure, nil
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

func (e *engine) slow(ctx context.Context, req *mcp.CallToolRequest, in struct {
	Milliseconds int `json:"ms"`
}) (*mcp.CallToolResult, any, error) {
	for step := range slowSteps + 1 {
		if step > 0 && !wait(ctx, time.Duration(in.Milliseconds)*time.Millisecond/slowSteps) {
			e.host.Cancelled()
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
func (e *engine) admin(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	if !e.host.MayAdminister(callerContext(req)) {
		return nil, nil, errors.New("the scope " + demo.AdminScope + " is missing")
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

// wait reports whether d went by before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
