package demo_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"drawbridge/internal/demo"
)

func callText(t *testing.T, session *mcp.ClientSession, name string, arguments any) string {
	t.Helper()
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		t.Fatal(err)
	}
	if result.IsError || len(result.Content) != 1 {
		t.Fatalf("%s: %d contents, error %t: %v", name, len(result.Content), result.IsError, result.Content)
	}
	words, ok := result.Content[0].(*mcp.TextContent)
	if !ok {
		t.Fatalf("%s answered with %T", name, result.Content[0])
	}
	return words.Text
}

// answering is a client that can be asked everything.
func answering() *mcp.ClientOptions {
	return &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"yes": req.Params.Message == "Really?"}}, nil
		},
		CreateMessageHandler: func(_ context.Context, req *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			asked := req.Params.Messages[0].Content.(*mcp.TextContent).Text
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "model heard " + asked}}, nil
		},
	}
}

// TestTools runs every tool in both eras of the protocol and with both kinds of answers.
func TestTools(t *testing.T) {
	for name, cfg := range map[string]demo.ServerConfig{
		"sessions, SSE":          {Open: true},
		"sessions, SSE, resumed": {Open: true, EventStore: true},
		"2026-07-28":             {Open: true, Stateless: true},
		"2026-07-28, JSON":       {Open: true, Stateless: true, JSONResponses: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, demo.Config{Server: cfg})
			client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, answering())
			client.AddRoots(&mcp.Root{URI: "file:///home/ada"})
			session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: w.URL()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			got := map[string]string{
				"echo":      callText(t, session, "echo", map[string]any{"text": "hello"}),
				"big":       callText(t, session, "big", map[string]any{"bytes": 3}),
				"slow":      callText(t, session, "slow", map[string]any{"ms": 5}),
				"log":       callText(t, session, "log", map[string]any{"text": "hello"}),
				"confirm":   callText(t, session, "confirm", map[string]any{"question": "Really?"}),
				"ask_model": callText(t, session, "ask_model", map[string]any{"prompt": "hello"}),
				"roots":     callText(t, session, "roots", nil),
			}
			want := map[string]string{"echo": "hello", "big": "xxx", "slow": "done", "log": "logged", "confirm": "accept yes=true",
				"ask_model": "model heard hello", "roots": "file:///home/ada"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			once := map[string]int{"echo": 1, "big": 1, "slow": 1, "log": 1, "confirm": 1, "ask_model": 1, "roots": 1}
			if diff := cmp.Diff(once, w.Server.Counts().Executions); diff != "" {
				t.Errorf("executions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSilentClient: a client that can be asked nothing gets an error from the tools that ask.
func TestSilentClient(t *testing.T) {
	w := start(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	session := connect(t, w.URL(), "", nil)
	for name, arguments := range map[string]any{"confirm": map[string]any{"question": "?"}, "ask_model": map[string]any{"prompt": "?"}} {
		if result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments}); err == nil && !result.IsError {
			t.Errorf("%s answered %v", name, result.Content)
		}
	}
	if result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "big", Arguments: map[string]any{"bytes": -1}}); err == nil && !result.IsError {
		t.Error("big made less than nothing")
	}
}

// TestLists: there is something in every list, and everything in it can be had.
func TestLists(t *testing.T) {
	w := start(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	session := connect(t, w.URL(), "", nil)
	var got struct{ Tools, Resources, Templates, Prompts, Completions []string }
	for tool, err := range session.Tools(t.Context(), nil) {
		got.Tools = append(got.Tools, nameOr(tool, err))
	}
	for resource, err := range session.Resources(t.Context(), nil) {
		got.Resources = append(got.Resources, must(t, resource, err).URI)
	}
	for template, err := range session.ResourceTemplates(t.Context(), nil) {
		got.Templates = append(got.Templates, must(t, template, err).URITemplate)
	}
	for prompt, err := range session.Prompts(t.Context(), nil) {
		got.Prompts = append(got.Prompts, must(t, prompt, err).Name)
	}
	completion, err := session.Complete(t.Context(), &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "greet"},
		Argument: mcp.CompleteParamsArgument{Name: "who", Value: "g"}})
	got.Completions = must(t, completion, err).Completion.Values
	want := struct{ Tools, Resources, Templates, Prompts, Completions []string }{
		[]string{"admin", "ask_model", "big", "confirm", "echo", "log", "roots", "slow", "whoami"},
		[]string{"demo://notice"}, []string{"demo://rooms/{room}"}, []string{"greet"}, []string{"grace"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lists (-want +got):\n%s", diff)
	}
	notice, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "demo://notice"})
	room, err2 := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "demo://rooms/attic"})
	prompt, err3 := session.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "greet", Arguments: map[string]string{"who": "ada"}})
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	words := []string{notice.Contents[0].Text, room.Contents[0].Text, prompt.Messages[0].Content.(*mcp.TextContent).Text}
	if diff := cmp.Diff([]string{"The drawbridge is lowered for people who sign in.", `Room "attic" is empty.`, "Greet ada."}, words); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
}

func nameOr(tool *mcp.Tool, err error) string {
	if err != nil {
		return err.Error()
	}
	return tool.Name
}

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestNotifications: progress and logging inside of a call, logging and a changed list outside of any.
func TestNotifications(t *testing.T) {
	w := start(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	progress, logs, changed := make(chan float64, 10), make(chan any, 10), make(chan struct{}, 10)
	options := &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) { progress <- req.Params.Progress },
		LoggingMessageHandler:       func(_ context.Context, req *mcp.LoggingMessageRequest) { logs <- req.Params.Data },
		ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
	}
	// The 2025-11-25 revision has a level for the session; later ones have one for each request.
	session := connect(t, w.URL(), "", options)
	if err := session.SetLoggingLevel(t.Context(), &mcp.SetLoggingLevelParams{Level: "info"}); err != nil {
		t.Fatal(err)
	}
	params := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"ms": 5}}
	params.SetProgressToken("p")
	if _, err := session.CallTool(t.Context(), params); err != nil {
		t.Fatal(err)
	}
	for want := 0.0; want <= 5; want++ {
		if got := <-progress; got != want {
			t.Errorf("progress %v, want %v", got, want)
		}
	}
	callText(t, session, "log", map[string]any{"text": "within"})
	if got := <-logs; got != "within" {
		t.Errorf("logged %v", got)
	}
	w.Server.SendLog(t.Context(), "without")
	if got := <-logs; got != "without" {
		t.Errorf("logged %v", got)
	}
	w.Server.SetExtraTool(true)
	<-changed
	if got := callText(t, session, "extra", map[string]any{"text": "hello"}); got != "hello" {
		t.Errorf("the extra tool said %q", got)
	}
	w.Server.SetExtraTool(false)
	<-changed
}

// TestCancel: the server notices, and says so in its counts.
func TestCancel(t *testing.T) {
	for name, cfg := range map[string]demo.ServerConfig{"sessions": {Open: true}, "2026-07-28": {Open: true, Stateless: true}} {
		t.Run(name, func(t *testing.T) {
			w := start(t, demo.Config{Server: cfg})
			running := make(chan struct{}, 10)
			session := connect(t, w.URL(), "", &mcp.ClientOptions{
				ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { running <- struct{}{} },
			})
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				params := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"ms": 3_600_000}}
				params.SetProgressToken("p")
				_, err := session.CallTool(ctx, params)
				failed <- err
			}()
			<-running
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("the call ended with %v", err)
			}
			until(t, func() bool { return w.Server.Counts().Cancelled == 1 })
		})
	}
}

// until waits, up to ten seconds, for something that nothing announces.
func until(t *testing.T, done func() bool) {
	t.Helper()
	deadline, look := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatal("it never happened")
		}
	}
}

// TestCounts: messages by method, whatever they come wrapped in.
func TestCounts(t *testing.T) {
	w := start(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	session := connect(t, w.URL(), "", answering())
	callText(t, session, "confirm", map[string]any{"question": "Really?"})
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	got := w.Server.Counts()
	delete(got.Requests, "server/discover") // the SDK's client asks for the other era first
	delete(got.Requests, "GET")             // its stream may not have been asked for before the end
	want := demo.ServerCounts{Opened: 1, Deleted: 1, Executions: map[string]int{"confirm": 1}, Refused: map[int]int{},
		Requests: map[string]int{"initialize": 1, "notifications/initialized": 1, "tools/call": 1, "response": 1, "DELETE": 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// TestBatch: 2025-03-26 lets messages come in arrays, and each counts.
func TestBatch(t *testing.T) {
	w := start(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	post(t, w.URL(), "", `[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","id":1,"result":{}}]`)
	post(t, w.URL(), "", strings.Repeat("x", 100))
	if diff := cmp.Diff(map[string]int{"a": 1, "response": 1}, w.Server.Counts().Requests); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
