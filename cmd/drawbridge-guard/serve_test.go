package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const rules = `
policy:
  connect: {groups: [staff]}
  allow:
    - {name: reading, tools: [read]}
    - {name: writing, tools: [write], scopes: ["mcp:write"]}
    - {name: release, tools: [deploy], groups: [release]}
`

// setup returns a configuration for one upstream and issuer, and a file for the audit.
func setup(t testing.TB, p *idp, behind string) (yaml, auditFile string) {
	t.Helper()
	auditFile = filepath.Join(t.TempDir(), "audit.jsonl")
	key := write(t, filepath.Join(t.TempDir(), "session.key"), "CANARY-a-key-that-all-instances-share")
	return fmt.Sprintf("upstream: %s\nissuers: [{url: %q}]\nscopes: [mcp:use]\nsession_key_files: [%q]\naudit: {path: %q}\n", behind, p.url, key, auditFile), auditFile
}

func tools(t *testing.T, session *mcp.ClientSession) (names []string) {
	t.Helper()
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	return names
}

func call(session *mcp.ClientSession, name string) (string, error) {
	result, err := session.CallTool(context.Background(), &mcp.CallToolParams{Name: name})
	if err != nil {
		return "", err
	}
	return result.Content[0].(*mcp.TextContent).Text, nil
}

// TestInstances: a session works through two instances that a load balancer alternates between, and for its owner only.
func TestInstances(t *testing.T) {
	p, behind := startIDP(t), upstream(t)
	first, firstAudit := setup(t, p, behind)
	first += rules
	second := strings.Replace(first, firstAudit, firstAudit+"2", 1)
	a, b := startGuard(t, first), startGuard(t, second)
	ada := balance(p.token(t, "ada", []string{"staff", "release"}, nil), a, b)
	session := ada.connect(t)
	for range 6 {
		if text, err := call(session, "deploy"); err != nil || !strings.HasPrefix(text, "deploy done") {
			t.Fatalf("deploy: %q, %v", text, err)
		}
	}
	bob := balance(p.token(t, "bob", []string{"staff", "release"}, nil), a, b)
	for range 2 {
		r, err := http.NewRequest(http.MethodPost, "http://mcp.example.com/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Mcp-Session-Id", session.ID())
		resp, err := bob.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("ada's session for bob: %s", resp.Status)
		}
	}
	if text, err := call(session, "read"); err != nil || !strings.HasPrefix(text, "read done") {
		t.Errorf("ada's session after bob tried it: %q, %v", text, err)
	}
	for _, instance := range []*process{a, b} {
		if code := instance.end(); code != 0 {
			t.Errorf("exit code %d\n%s", code, instance.stderr)
		}
	}
	out := newBuffer()
	if code := run(t.Context(), env{args: []string{"audit", "verify", firstAudit, firstAudit + "2"}, stdout: out, stderr: out}); code != 0 {
		t.Errorf("audit verify: %d\n%s", code, out)
	}
	if n := strings.Count(out.String(), "instance "); n != 2 {
		t.Errorf("%d instances in the audit:\n%s", n, out)
	}
	lines := read(t, firstAudit) + read(t, firstAudit+"2")
	if n := strings.Count(lines, `"decision":"foreign_session"`); n != 2 {
		t.Errorf("bob's attempts are in the audit %d times:\n%s", n, lines)
	}
	for _, word := range []string{`"email":"ada@example.com"`, `"groups":["staff","release"]`, `"name":"deploy"`, `"rule":"release"`, `"client":"tests"`} {
		if !strings.Contains(lines, word) {
			t.Errorf("the audit does not say %s", word)
		}
	}
	for _, secret := range []string{ada.token, bob.token, session.ID(), "CANARY"} {
		if strings.Contains(lines+a.stderr.String()+b.stderr.String(), secret) {
			t.Error("the audit or the log holds a secret")
		}
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPolicy: people see and use what the rules allow them, and are told why not.
func TestPolicy(t *testing.T) {
	p := startIDP(t)
	yaml, _ := setup(t, p, upstream(t))
	g := startGuard(t, yaml+rules)
	member := balance(p.token(t, "ada", []string{"staff"}, nil), g).connect(t)
	if diff := cmp.Diff([]string{"read", "write"}, tools(t, member)); diff != "" {
		t.Errorf("tools of a member (-want +got):\n%s", diff)
	}
	if _, err := call(member, "deploy"); err == nil || !strings.Contains(err.Error(), `not allowed: tool "deploy" needs the group release`) {
		t.Errorf("deploy by a member: %v", err)
	}
	if text, err := call(member, "read"); err != nil || text != "read done for " {
		t.Errorf("read after a refusal, in the same session: %q, %v", text, err)
	}
	release := balance(p.token(t, "eve", []string{"staff", "release"}, nil), g).connect(t)
	if diff := cmp.Diff([]string{"deploy", "read", "write"}, tools(t, release)); diff != "" {
		t.Errorf("tools of the release group (-want +got):\n%s", diff)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	stranger := &http.Client{Transport: balance(p.token(t, "mallory", nil, nil), g)}
	_, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: "http://mcp.example.com/mcp", HTTPClient: stranger}, nil)
	if err == nil || !strings.Contains(err.Error(), "this server needs the group staff") {
		t.Errorf("connect without the group: %v", err)
	}
}

// noting keeps the revisions that requests named.
type noting struct {
	http.RoundTripper
	mu   sync.Mutex
	seen map[string]bool // guarded by mu
}

// RoundTrip implements [http.RoundTripper].
func (n *noting) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.seen[r.Header.Get("Mcp-Method")+" "+r.Header.Get("Mcp-Protocol-Version")] = true
	n.mu.Unlock()
	return n.RoundTripper.RoundTrip(r)
}

// TestModern: the same holds for a client and a server that speak 2026-07-28, which has no sessions and repeats the
// message in headers.
func TestModern(t *testing.T) {
	p := startIDP(t)
	yaml, _ := setup(t, p, serveTools(t, &mcp.StreamableHTTPOptions{Stateless: true}))
	g := startGuard(t, yaml+rules)
	notes := &noting{RoundTripper: balance(p.token(t, "ada", []string{"staff"}, nil), g), seen: map[string]bool{}}
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: "http://mcp.example.com/mcp", HTTPClient: &http.Client{Transport: notes}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if diff := cmp.Diff([]string{"read", "write"}, tools(t, session)); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	if text, err := call(session, "read"); err != nil || !strings.HasPrefix(text, "read done") {
		t.Errorf("read: %q, %v", text, err)
	}
	if _, err := call(session, "deploy"); err == nil || !strings.Contains(err.Error(), "needs the group release") {
		t.Errorf("deploy: %v", err)
	}
	notes.mu.Lock()
	defer notes.mu.Unlock()
	for _, want := range []string{"server/discover 2026-07-28", "tools/list 2026-07-28", "tools/call 2026-07-28"} {
		if !notes.seen[want] {
			t.Errorf("no request %s: %v", want, notes.seen)
		}
	}
}

// raw sends one message as it is.
func raw(t *testing.T, to http.RoundTripper, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://mcp.example.com/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := to.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// TestChallenges: what a new token cures is said in the header, before anything is forwarded.
func TestChallenges(t *testing.T) {
	p := startIDP(t)
	yaml, _ := setup(t, p, "http://127.0.0.1:1/nothing-is-here")
	g := startGuard(t, yaml+rules)
	const write = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write"}}`
	resp, _ := raw(t, balance(p.token(t, "ada", []string{"staff"}, nil), g), write)
	want := `Bearer error="insufficient_scope", error_description="this needs the scope mcp:write", scope="mcp:write", ` +
		`resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`
	if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != http.StatusForbidden || got != want {
		t.Errorf("write: %s\n got %s\nwant %s", resp.Status, got, want)
	}
	resp, body := raw(t, balance(p.token(t, "ada", []string{"staff"}, map[string]any{"scope": "mcp:use mcp:write"}), g), write)
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "cannot be reached") {
		t.Errorf("write with the scope: %s %s", resp.Status, body)
	}
}

// TestListeners: health, readiness and metrics are where load balancers and Prometheus ask for them.
func TestListeners(t *testing.T) {
	p := startIDP(t)
	yaml, _ := setup(t, p, upstream(t))
	g := startGuard(t, yaml+rules)
	_ = tools(t, balance(p.token(t, "ada", []string{"staff"}, nil), g).connect(t))
	for url, want := range map[string]string{
		"http://" + g.address + "/healthz": "ok",
		"http://" + g.address + "/readyz":  "ok",
		"http://" + g.admin + "/readyz":    "ok",
		"http://" + g.admin + "/metrics":   `drawbridge_guard_decisions_total{method="tools/list",verdict="allow"} 1`,
	} {
		if status, body := get(t, url); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
	if status, _ := get(t, "http://"+g.address+"/metrics"); status != http.StatusNotFound {
		t.Errorf("metrics for everybody: %d", status)
	}
	if status, _ := get(t, "http://"+g.address+"/mcp"); status != http.StatusMisdirectedRequest {
		t.Errorf("the server by its address: %d", status)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestDrain: at the end readiness goes, streams are closed so that clients take them up elsewhere, and calls are finished.
func TestDrain(t *testing.T) {
	inside, answer := make(chan string, 2), make(chan struct{})
	behind := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		inside <- r.Method
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		<-answer
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	})
	p := startIDP(t)
	yaml, _ := setup(t, p, behind)
	g := startGuard(t, yaml)
	ada := balance(p.token(t, "ada", nil, nil), g)
	streamed, called := make(chan error, 1), make(chan string, 1)
	go func() {
		r, _ := http.NewRequest(http.MethodGet, "http://mcp.example.com/mcp", nil)
		resp, err := ada.RoundTrip(r)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		streamed <- err
	}()
	<-inside
	go func() {
		_, body := raw(t, ada, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		called <- body
	}()
	<-inside
	g.stop()
	<-streamed // it ended, although the server behind would have gone on
	g.stderr.find(t, "draining")
	close(answer)
	if body := <-called; !strings.Contains(body, `"result"`) {
		t.Errorf("the call under way: %q", body)
	}
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestRate: one person's calls are limited, another's are not held up.
func TestRate(t *testing.T) {
	p := startIDP(t)
	yaml, _ := setup(t, p, serveFunc(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	g := startGuard(t, yaml+"limits: {rate: 0.001, burst: 3}\n")
	ada, bob := balance(p.token(t, "ada", nil, nil), g), balance(p.token(t, "bob", nil, nil), g)
	var got []int
	for range 5 {
		resp, _ := raw(t, ada, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		got = append(got, resp.StatusCode)
	}
	if diff := cmp.Diff([]int{202, 202, 202, 429, 429}, got); diff != "" {
		t.Errorf("ada (-want +got):\n%s", diff)
	}
	if resp, _ := raw(t, bob, `{"jsonrpc":"2.0","id":1,"method":"ping"}`); resp.StatusCode != http.StatusAccepted {
		t.Errorf("bob: %s", resp.Status)
	}
}

// TestTraces: spans go to the collector as a part of the caller's trace, and the server behind is told of it.
func TestTraces(t *testing.T) {
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	seen, collected := make(chan string, 1), make(chan []byte, 1)
	behind := serveFunc(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("Traceparent") })
	collector := serveFunc(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		collected <- body
	})
	p := startIDP(t)
	yaml, auditFile := setup(t, p, behind)
	g := startGuard(t, yaml+"traces: "+collector+"/v1/traces\n")
	raw(t, balance(p.token(t, "ada", nil, nil), g), `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
	if got := <-seen; !strings.HasPrefix(got, "00-"+traceID) || strings.Contains(got, "b7ad6b7169203331") {
		t.Errorf("the server behind got traceparent %q", got)
	}
	g.end()
	if got := <-collected; !bytes.Contains(got, []byte("drawbridge.verdict")) {
		t.Errorf("the collector got %q", got)
	}
	if !strings.Contains(read(t, auditFile), `"trace":"`+traceID+`"`) {
		t.Error("the audit does not name the trace")
	}
}

func serveFunc(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return web.URL
}

// TestIssuerAway: a guard starts while its issuer is away, is not ready, and refuses no token for it; one that is wrong
// does not start.
func TestIssuerAway(t *testing.T) {
	g := startGuard(t, "upstream: http://127.0.0.1:1/\nissuers: [{url: \"http://127.0.0.1:1\"}]\n")
	if status, body := get(t, "http://"+g.address+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d %s", status, body)
	}
	wrong := serveFunc(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"issuer":"https://another.example"}`) })
	out := newBuffer()
	args := []string{"--upstream", "http://127.0.0.1:1/", "--resource", public, "--issuer", wrong, "--listen", "127.0.0.1:0"}
	if code := run(t.Context(), env{args: args, stdout: out, stderr: out}); code != exitUsage || !strings.Contains(out.String(), "another.example") {
		t.Errorf("an issuer of another name: %d\n%s", code, out)
	}
}

// TestConcurrent: one person may have so many requests under way; places are given back.
func TestConcurrent(t *testing.T) {
	q := newQuota(limits{Concurrent: 2})
	ada, bob := subject{"i", "ada"}, subject{"i", "bob"}
	for i, want := range []bool{true, true, false} {
		if got := q.enter(ada); got != want {
			t.Errorf("request %d of ada enters: %v", i+1, got)
		}
	}
	if !q.enter(bob) {
		t.Error("bob is held up by ada")
	}
	q.leave(ada)
	if !q.enter(ada) {
		t.Error("a place is not given back")
	}
	for range 2 {
		q.leave(ada)
	}
	if q.leave(bob); len(q.open) != 0 {
		t.Errorf("left over: %v", q.open)
	}
}

// TestQuotaMemory: people who have been quiet are forgotten.
func TestQuotaMemory(t *testing.T) {
	now := time.Now()
	q := newQuota(limits{Rate: 1, Burst: 1})
	q.now = func() time.Time { return now }
	for i := range 3 * sweepAt {
		if i%sweepAt == 0 {
			now = now.Add(time.Minute)
		}
		q.reserve(subject{"i", fmt.Sprint(i)})
	}
	if len(q.rates) > sweepAt {
		t.Errorf("%d subjects are remembered", len(q.rates))
	}
}
