package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// mcpClient is as much of an MCP client as it takes to try a program that speaks MCP on its standard streams. Calls are
// made one after the other. It is written by hand because the SDK's would add a megabyte to the program.
type mcpClient struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
	id  int
}

// rpcMessage is a JSON-RPC message.
type rpcMessage struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// rpcError is a request's answer that is an error.
type rpcError struct{ method, message string }

// Error implements error.
func (e *rpcError) Error() string { return fmt.Sprintf("calling %q: %s", e.method, e.message) }

// startMCP starts cmd and shakes hands. An *rpcError is the program's refusal to. cmd's own context bounds all.
func startMCP(cmd *exec.Cmd, name string) (*mcpClient, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &mcpClient{cmd: cmd, in: in, out: json.NewDecoder(out)}
	_, err = c.call("initialize", map[string]any{
		"protocolVersion": "2025-06-18", "capabilities": struct{}{}, "clientInfo": map[string]string{"name": name, "version": version()},
	})
	if err == nil {
		err = c.send(map[string]string{"jsonrpc": "2.0", "method": "notifications/initialized"})
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *mcpClient) send(message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = c.in.Write(append(text, '\n'))
	return err
}

// call sends a request and returns its result.
func (c *mcpClient) call(method string, params any) (json.RawMessage, error) {
	c.id++
	id := fmt.Sprint(c.id)
	if err := c.send(map[string]any{"jsonrpc": "2.0", "id": c.id, "method": method, "params": params}); err != nil {
		return nil, fmt.Errorf("calling %q: %w", method, err)
	}
	for {
		var m rpcMessage
		if err := c.out.Decode(&m); err != nil {
			return nil, fmt.Errorf("calling %q: %w", method, err)
		}
		switch {
		case m.Method != "" && m.ID != nil:
			if err := c.send(map[string]any{"jsonrpc": "2.0", "id": m.ID, "error": map[string]any{"code": -32601, "message": "method not found"}}); err != nil {
				return nil, err
			}
		case m.Method != "" || string(m.ID) != id:
		case m.Error != nil:
			return nil, &rpcError{method, m.Error.Message}
		default:
			return m.Result, nil
		}
	}
}

// tools returns the names of the tools.
func (c *mcpClient) tools() (names []string, err error) {
	result, err := c.call("tools/list", struct{}{})
	if err != nil {
		return nil, err
	}
	var list struct{ Tools []struct{ Name string } }
	err = json.Unmarshal(result, &list)
	for _, t := range list.Tools {
		names = append(names, t.Name)
	}
	return names, err
}

// callTool calls a tool and returns its text; a tool error is an error.
func (c *mcpClient) callTool(name string) (string, error) {
	result, err := c.call("tools/call", map[string]any{"name": name, "arguments": struct{}{}})
	if err != nil {
		return "", err
	}
	var r struct {
		IsError bool
		Content []struct{ Text string }
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, part := range r.Content {
		text.WriteString(part.Text + "\n")
	}
	if r.IsError {
		return "", fmt.Errorf("%s", text.String())
	}
	return text.String(), nil
}

// endLimit is how long a program may take to end after its standard input did.
const endLimit = 5 * time.Second

// close ends the program, which ends with its standard input.
func (c *mcpClient) close() {
	_ = c.in.Close() // it may have ended
	kill := time.AfterFunc(endLimit, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	_ = c.cmd.Wait() // how it ended does not matter any more
}
