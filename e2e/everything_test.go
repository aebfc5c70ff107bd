//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// startEverything starts the reference server of npm with the transport of MCP 2024-11-05. The function that it returns ends it.
func startEverything(t *testing.T, port string) (stop func()) {
	t.Helper()
	cmd := exec.Command("node", "npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js", "sse")
	cmd.Env = append(os.Environ(), "PORT="+port)
	log := &buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill() // it has no other way
			_ = cmd.Wait()         // killed
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("server-everything:\n%s", log)
		}
	})
	eventually(t, "server-everything answers", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%s/", port))
		if err != nil {
			return false
		}
		_ = resp.Body.Close() // any answer will do
		return true
	})
	return stop
}

// TestEverythingOverSSE speaks HTTP+SSE with a server of the TypeScript SDK, across a restart of it.
func TestEverythingOverSSE(t *testing.T) {
	port := freePort(t)
	stop := startEverything(t, port)
	b := newLaptop(t).bridge(t, fmt.Sprintf("http://127.0.0.1:%s/sse", port))
	if got := b.InitializeResult().ServerInfo.Name; got != "mcp-servers/everything" {
		t.Errorf("the server is called %q", got)
	}
	tools, err := b.ListTools(within(t), nil)
	if err != nil || len(tools.Tools) < 5 {
		t.Fatalf("tools: %+v, error %v", tools, err)
	}
	echo(t, b, "before")
	stop()
	startEverything(t, port)
	eventually(t, "the bridge has found the server again", func() bool {
		_, err := b.ListTools(within(t), nil)
		return err == nil
	})
	echo(t, b, "after")
	b.stop(t)
}

func echo(t *testing.T, b *bridge, text string) {
	t.Helper()
	result, err := b.CallTool(within(t), &mcp.CallToolParams{Name: "echo", Arguments: map[string]string{"message": text}})
	if err != nil || len(result.Content) != 1 {
		t.Fatalf("call echo: %+v, error %v", result, err)
	}
	if got := result.Content[0].(*mcp.TextContent).Text; got != "Echo: "+text {
		t.Errorf("call echo: %q", got)
	}
}
