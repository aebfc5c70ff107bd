package main_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// connect starts a bridge the way a client's configuration does and performs the handshake. At the end of the test the
// bridge must end with exit code 0 when its standard input closes.
func (p *place) connect(opts *mcp.ClientOptions, args ...string) *mcp.ClientSession {
	p.t.Helper()
	if len(args) == 0 {
		args = []string{p.world.URL()}
	}
	transport := &mcp.LoggingTransport{
		Transport: &mcp.CommandTransport{Command: p.command(args...), TerminateDuration: patience / 2},
		Writer:    p.hear("messages of drawbridge " + strings.Join(args, " ")),
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, opts)
	client.AddRoots(&mcp.Root{URI: "file:///project"})
	session, err := client.Connect(within(p.t), transport, nil)
	if err != nil {
		p.t.Fatalf("connect: %v", err)
	}
	p.t.Cleanup(func() {
		if err := session.Close(); err != nil {
			p.t.Errorf("stop the bridge: %v", err)
		}
	})
	return session
}

// call calls a tool and returns the text of its answer; an error, whoever made it, comes back as failure.
func call(t testing.TB, session *mcp.ClientSession, tool string, arguments any) (text, failure string) {
	t.Helper()
	result, err := session.CallTool(within(t), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return "", err.Error()
	}
	if result.IsError {
		return "", textOf(result.Content)
	}
	return textOf(result.Content), ""
}

func textOf(contents []mcp.Content) string {
	var lines []string
	for _, c := range contents {
		if part, ok := c.(*mcp.TextContent); ok {
			lines = append(lines, part.Text)
		}
	}
	return strings.Join(lines, "\n")
}

// wantEcho fails the test unless the server answers a call.
func wantEcho(t testing.TB, session *mcp.ClientSession, text string) {
	t.Helper()
	got, failure := call(t, session, "echo", map[string]string{"text": text})
	if got != text || failure != "" {
		t.Fatalf("call echo: %q, failure %q; want %q", got, failure, text)
	}
}

// wire is a bridge whose lines a test reads and writes itself.
type wire struct {
	p      *place
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
	lines  chan string   // of standard output; closed at its end
	ended  chan struct{} // closed when the process ended
}

// start starts a bridge without saying anything to it.
func (p *place) start(args ...string) *wire {
	p.t.Helper()
	if len(args) == 0 {
		args = []string{p.world.URL()}
	}
	return p.startAs(p.command(args...), args...)
}

// startAs starts a bridge in a way of the test's own.
func (p *place) startAs(cmd *exec.Cmd, args ...string) *wire {
	p.t.Helper()
	w := &wire{p: p, cmd: cmd, lines: make(chan string, 1000), ended: make(chan struct{})}
	said := p.hear("standard output of drawbridge " + strings.Join(args, " "))
	var err1, err2 error
	w.stdin, err1 = w.cmd.StdinPipe()
	w.stdout, err2 = w.cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		p.t.Fatal(err1, err2)
	}
	if err := w.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go w.read(said)
	p.t.Cleanup(func() {
		_ = w.cmd.Process.Kill() // it has ended, but in tests that failed
		<-w.ended
	})
	return w
}

func (w *wire) read(said *buffer) {
	r := bufio.NewReader(io.TeeReader(w.stdout, said))
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			w.lines <- line
		}
		if err != nil {
			break
		}
	}
	close(w.lines)
	_ = w.cmd.Wait() // the exit code is looked at by wantExit
	close(w.ended)
}

func (w *wire) send(lines ...string) {
	w.p.t.Helper()
	if _, err := io.WriteString(w.stdin, strings.Join(lines, "\n")+"\n"); err != nil {
		w.p.t.Fatalf("write to standard input: %v", err)
	}
}

// message is any JSON-RPC message.
type message struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    struct {
			Kind  string `json:"kind"`
			Cause string `json:"cause"`
			Hint  string `json:"hint"`
			URL   string `json:"url"`
		} `json:"data"`
	} `json:"error"`
}

// parse returns the message on a line of standard output; false if it is none.
func parse(line string) (m message, ok bool) {
	err := json.Unmarshal([]byte(line), &m)
	return m, err == nil && m.JSONRPC == "2.0" && strings.HasSuffix(line, "\n") && (m.Method != "" || m.Result != nil || m.Error != nil)
}

// until returns the first message that is wanted. Others are passed over, but each must be one.
func (w *wire) until(what string, wanted func(message) bool) message {
	w.p.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case line, ok := <-w.lines:
			m, valid := parse(line)
			switch {
			case !ok:
				w.p.t.Fatalf("standard output ended before %s", what)
			case !valid:
				w.p.t.Fatalf("standard output carries %q", line)
			case wanted(m):
				return m
			}
		case <-limit:
			w.p.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// answer returns the answer to the request with this id.
func (w *wire) answer(id string) message {
	w.p.t.Helper()
	return w.until("the answer to "+id, func(m message) bool { return m.Method == "" && string(m.ID) == id })
}

func (w *wire) notification(method string) message {
	w.p.t.Helper()
	return w.until(method, func(m message) bool { return m.Method == method })
}

// wantExit waits for the process and returns how long that took.
func (w *wire) wantExit(code int) time.Duration {
	w.p.t.Helper()
	since := time.Now()
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.p.t.Fatalf("the process still runs after %v", patience)
	}
	if got := w.cmd.ProcessState.ExitCode(); got != code {
		w.p.t.Errorf("exit code %d (%v), want %d", got, w.cmd.ProcessState, code)
	}
	return time.Since(since)
}

// hangUp closes standard input.
func (w *wire) hangUp() {
	if err := w.stdin.Close(); err != nil {
		w.p.t.Errorf("close standard input: %v", err)
	}
}

const (
	initialize  = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`
	initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	ping        = `{"jsonrpc":"2.0","id":"ping","method":"ping"}`
	discover    = `{"jsonrpc":"2.0","id":"discover","method":"server/discover"}`
	listTools   = `{"jsonrpc":"2.0","id":"list","method":"tools/list"}`
	callWhoami  = `{"jsonrpc":"2.0","id":"whoami","method":"tools/call","params":{"name":"whoami","arguments":{}}}`
	callSignIn  = `{"jsonrpc":"2.0","id":"sign_in","method":"tools/call","params":{"name":"sign_in","arguments":{}}}`
)
