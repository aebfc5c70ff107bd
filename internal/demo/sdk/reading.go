package sdk

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"drawbridge/internal/demo"
)

const noticeURI = "demo://notice"

// addReading adds resources and a prompt.
func addReading(server *mcp.Server) {
	server.AddResource(&mcp.Resource{URI: noticeURI, Name: "notice", MIMEType: "text/plain",
		Description: "A notice on the wall."}, readNotice)
	server.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: "demo://rooms/{room}", Name: "room",
		MIMEType: "text/plain", Description: "What is in a room."}, readRoom)
	server.AddPrompt(&mcp.Prompt{Name: "greet", Description: "Greets somebody.",
		Arguments: []*mcp.PromptArgument{{Name: "who", Description: "Whom to greet.", Required: true}}}, greet)
}

func readNotice(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	return contents(req.Params.URI, "The drawbridge is lowered for people who sign in."), nil
}

func readRoom(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	room := strings.TrimPrefix(req.Params.URI, "demo://rooms/")
	return contents(req.Params.URI, fmt.Sprintf("Room %q is empty.", room)), nil
}

func contents(uri, words string) *mcp.ReadResourceResult {
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, MIMEType: "text/plain", Text: words}}}
}

func greet(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
	words := "Greet " + req.Params.Arguments["who"] + "."
	return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: words}}}}, nil
}

// complete offers the names of the default users for the argument of the prompt greet.
func complete(_ context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	values := []string{} // the schema wants an array, not null
	for _, name := range []string{demo.Ada().Name, demo.Grace().Name} {
		if strings.HasPrefix(name, req.Params.Argument.Value) {
			values = append(values, name)
		}
	}
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: values, Total: len(values)}}, nil
}
