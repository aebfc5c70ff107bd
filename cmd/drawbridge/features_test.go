package main_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"drawbridge/internal/demo"
)

// user is an MCP client with every feature, and what it was told.
type user struct {
	place    *place
	session  *mcp.ClientSession
	progress chan float64
	logged   chan any
	changed  chan string
}

func (p *place) newUser() *user {
	u := &user{place: p, progress: make(chan float64, 100), logged: make(chan any, 100), changed: make(chan string, 100)}
	client := &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { u.progress <- r.Params.Progress },
		LoggingMessageHandler:       func(_ context.Context, r *mcp.LoggingMessageRequest) { u.logged <- r.Params.Data },
		ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { u.changed <- "tools" },
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"yes": r.Params.Message == "really?"}}, nil
		},
		CreateMessageHandler: func(_ context.Context, r *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Role: "assistant", Model: "test", Content: &mcp.TextContent{Text: "42"}}, nil
		},
	}
	u.session = p.connect(client)
	return u
}

// features are what passes through the bridge to a server of any kind.
var features = map[string]func(*testing.T, *user){
	"initialize": initializes, "lists": lists, "reads": reads, "calls": calls, "progress": progresses,
}

// conversation is what needs a server that can ask and tell of its own accord.
var conversation = map[string]func(*testing.T, *user){
	"elicitation": elicits, "sampling": samples, "roots": rootsListed, "logging": logs, "cancellation": cancels, "list changed": relists,
}

// TestFeatures goes through the features of MCP with servers of every kind, signed in beforehand.
func TestFeatures(t *testing.T) {
	for name, test := range map[string]struct {
		server     demo.ServerConfig
		conversing bool
	}{
		"event streams":  {demo.ServerConfig{}, true},
		"event store":    {demo.ServerConfig{EventStore: true}, true},
		"JSON responses": {demo.ServerConfig{JSONResponses: true}, false},
		"stateless":      {demo.ServerConfig{Stateless: true}, false},
		"stateless JSON": {demo.ServerConfig{Stateless: true, JSONResponses: true}, false},
		"open":           {demo.ServerConfig{Open: true}, true},
		"HTTP+SSE":       {demo.ServerConfig{HTTPSSE: true}, true},
		"HTTP+SSE, open": {demo.ServerConfig{HTTPSSE: true, Open: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, demo.Config{Server: test.server})
			if !test.server.Open {
				p.do("login", p.world.URL())
			}
			u := p.newUser()
			for name, feature := range features {
				t.Run(name, func(t *testing.T) {
					if name != "progress" || !test.server.JSONResponses { // a single JSON answer has no room for it
						feature(t, u)
					}
				})
			}
			for name, feature := range conversation {
				if test.conversing {
					t.Run(name, func(t *testing.T) { feature(t, u) })
				}
			}
		})
	}
}

func initializes(t *testing.T, u *user) {
	got := u.session.InitializeResult()
	if got.ServerInfo.Name != "drawbridge-demo" || got.Capabilities.Tools == nil || got.Capabilities.Prompts == nil || got.Capabilities.Resources == nil {
		t.Errorf("the answer to initialize is not the server's: %+v", got)
	}
	if err := u.session.Ping(within(t), nil); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func lists(t *testing.T, u *user) {
	tools, err1 := u.session.ListTools(within(t), nil)
	prompts, err2 := u.session.ListPrompts(within(t), nil)
	resources, err3 := u.session.ListResources(within(t), nil)
	templates, err4 := u.session.ListResourceTemplates(within(t), nil)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		t.Fatal(err1, err2, err3, err4)
	}
	got := [][]string{toolNames(tools), {prompts.Prompts[0].Name}, {resources.Resources[0].URI}, {templates.ResourceTemplates[0].URITemplate}}
	want := [][]string{
		{"admin", "ask_model", "big", "confirm", "echo", "log", "roots", "slow", "whoami"},
		{"greet"}, {"demo://notice"}, {"demo://rooms/{room}"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lists (-want +got):\n%s", diff)
	}
}

// toolNames leaves out the tool that comes and goes.
func toolNames(r *mcp.ListToolsResult) (names []string) {
	for _, tool := range r.Tools {
		if tool.Name != "extra" {
			names = append(names, tool.Name)
		}
	}
	slices.Sort(names)
	return names
}

func reads(t *testing.T, u *user) {
	resource, err1 := u.session.ReadResource(within(t), &mcp.ReadResourceParams{URI: "demo://rooms/42"})
	prompt, err2 := u.session.GetPrompt(within(t), &mcp.GetPromptParams{Name: "greet", Arguments: map[string]string{"who": "Ada"}})
	names, err3 := u.session.Complete(within(t), &mcp.CompleteParams{
		Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "greet"}, Argument: mcp.CompleteParamsArgument{Name: "who", Value: "a"},
	})
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	got := []any{resource.Contents[0].Text, textOf([]mcp.Content{prompt.Messages[0].Content}), names.Completion.Values}
	if diff := cmp.Diff([]any{`Room "42" is empty.`, "Greet Ada.", []string{"ada"}}, got); diff != "" {
		t.Errorf("resource, prompt, completion (-want +got):\n%s", diff)
	}
}

func calls(t *testing.T, u *user) {
	wantEcho(t, u.session, "naïve \u2028 <&> \x7f")
	if got, failure := call(t, u.session, "big", map[string]any{"bytes": 3 << 20}); len(got) != 3<<20 {
		t.Errorf("3 MiB: got %d bytes, failure %q", len(got), failure)
	}
	if _, failure := call(t, u.session, "no_such_tool", nil); failure == "" {
		t.Error("a call of an unknown tool did not fail")
	}
}

func progresses(t *testing.T, u *user) {
	params := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"ms": 50}}
	params.SetProgressToken("bar")
	if _, err := u.session.CallTool(within(t), params); err != nil {
		t.Fatal(err)
	}
	var got []float64
	for range 6 {
		got = append(got, take(t, "progress", u.progress))
	}
	if diff := cmp.Diff([]float64{0, 1, 2, 3, 4, 5}, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

// take waits for the next of what a client was told.
func take[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-within(t).Done():
		t.Fatalf("%s: nothing came", what)
	}
	return v
}

func elicits(t *testing.T, u *user) {
	if got, failure := call(t, u.session, "confirm", map[string]any{"question": "really?"}); got != "accept yes=true" {
		t.Errorf("confirm: %q, failure %q", got, failure)
	}
}

func samples(t *testing.T, u *user) {
	if got, failure := call(t, u.session, "ask_model", map[string]any{"prompt": "6 x 7"}); got != "42" {
		t.Errorf("ask_model: %q, failure %q", got, failure)
	}
}

func rootsListed(t *testing.T, u *user) {
	if got, failure := call(t, u.session, "roots", nil); got != "file:///project" {
		t.Errorf("roots: %q, failure %q", got, failure)
	}
}

func logs(t *testing.T, u *user) {
	if err := u.session.SetLoggingLevel(within(t), &mcp.SetLoggingLevelParams{Level: "info"}); err != nil {
		t.Fatal(err)
	}
	if _, failure := call(t, u.session, "log", map[string]any{"text": "noted"}); failure != "" {
		t.Fatal(failure)
	}
	if got := take(t, "log", u.logged); got != "noted" {
		t.Errorf("logged %v", got)
	}
}

func cancels(t *testing.T, u *user) {
	ctx, cancel := context.WithCancel(within(t))
	server := u.place.world.Server
	before := server.Counts()
	failed := make(chan error, 1)
	go func() {
		_, err := u.session.CallTool(ctx, &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"ms": patience.Milliseconds()}})
		failed <- err
	}()
	eventually(t, "the server runs the call", func() bool { return server.Counts().Executions["slow"] > before.Executions["slow"] })
	cancel()
	if err := take(t, "end of the call", failed); err == nil {
		t.Error("the cancelled call was answered")
	}
	eventually(t, "the server saw the cancellation", func() bool { return server.Counts().Cancelled == before.Cancelled+1 })
	wantEcho(t, u.session, "after a cancelled call")
}

func relists(t *testing.T, u *user) {
	eventually(t, "the stream for notifications is open", func() bool { return u.place.world.Server.Counts().Requests["GET"] > 0 })
	for len(u.changed) > 0 {
		<-u.changed
	}
	u.place.world.Server.SetExtraTool(true)
	take(t, "list changed", u.changed)
	tools, err := u.session.ListTools(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(tools.Tools, func(tool *mcp.Tool) bool { return tool.Name == "extra" }) {
		t.Errorf("the new tool is not listed: %v", toolNames(tools))
	}
}
