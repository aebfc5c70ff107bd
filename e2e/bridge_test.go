//go:build e2e

package e2e

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// bridge is a running `drawbridge URL` and the client on its standard streams.
type bridge struct {
	*mcp.ClientSession
	log *buffer // its standard error
}

// bridge starts the binary the way a client's configuration does, with all logging on, and performs the handshake.
func (l *laptop) bridge(t *testing.T, serverURL string, flags ...string) *bridge {
	t.Helper()
	b := &bridge{log: &buffer{}}
	// The bridge outlives the wait for its handshake; it ends with the test at the latest.
	cmd := l.command(t.Context(), append(flags, serverURL, "--debug", "--log-file", filepath.Join(l.home, "drawbridge.log"))...)
	cmd.Stderr = b.log
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1.0.0"}, nil)
	session, err := client.Connect(within(t), &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		t.Fatalf("handshake: %v\n%s", err, b.log)
	}
	b.ClientSession = session
	t.Cleanup(func() {
		_ = session.Close() // a second Close; the first one's error counts
		if t.Failed() {
			t.Logf("standard error of the bridge:\n%s", b.log)
		}
	})
	return b
}

// stop closes the standard input of the bridge, which is to end with exit code 0.
func (b *bridge) stop(t *testing.T) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Errorf("stop the bridge: %v", err)
	}
}

// whoami calls the tool and fails the test unless the server answers.
func whoami(t *testing.T, session *mcp.ClientSession) caller {
	t.Helper()
	result, err := session.CallTool(within(t), &mcp.CallToolParams{Name: "whoami"})
	if err != nil {
		t.Fatalf("call whoami: %v", err)
	}
	var who caller
	raw, err := json.Marshal(result.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &who); err != nil || result.IsError {
		text, _ := json.Marshal(result.Content) // only for the message
		t.Fatalf("call whoami: error %v, answer %s", err, text)
	}
	return who
}
