package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"
)

// parts are what the test binary can play for benchmarks, beside the command itself.
var parts = map[string]func(){"guard": main, "upstream": playUpstream, "bare": playBare}

func TestMain(m *testing.M) {
	if play := parts[os.Getenv("DRAWBRIDGE_GUARD_TEST_PART")]; play != nil {
		play()
		return
	}
	testscript.Main(m, map[string]func(){"drawbridge-guard": main})
}

// TestScripts runs the command as people do.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

const public = "https://mcp.example.com/mcp"

// idp is an issuer whose tokens the tests make.
type idp struct {
	url string
	key *ecdsa.PrivateKey
}

func startIDP(t testing.TB) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{key: key}
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	p.url = web.URL
	serve := func(document any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(document)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", serve(map[string]any{
		"issuer": p.url, "jwks_uri": p.url + "/jwks", "authorization_endpoint": p.url + "/a", "token_endpoint": p.url + "/t",
		"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
	}))
	mux.HandleFunc("/jwks", serve(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}}))
	return p
}

// token returns an access token (RFC 9068) for a person in groups, with claims over the usual ones.
func (p *idp) token(t testing.TB, user string, groups []string, claims map[string]any) string {
	t.Helper()
	all := map[string]any{
		"iss": p.url, "sub": user, "aud": public, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "jti": rand.Text(),
		"client_id": "tests", "groups": groups, "scope": "mcp:use", "email": user + "@example.com", "email_verified": true,
	}
	for name, value := range claims {
		all[name] = value
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "k")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// upstream is an MCP server of the Go SDK, with sessions.
func upstream(t testing.TB) string { return serveTools(t, nil) }

func serveTools(t testing.TB, options *mcp.StreamableHTTPOptions) string {
	t.Helper()
	s := mcp.NewServer(&mcp.Implementation{Name: "inner", Version: "1"}, nil)
	for _, name := range []string{"read", "write", "deploy"} {
		mcp.AddTool(s, &mcp.Tool{Name: name}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name + " done for " + r.Extra.Header.Get("Drawbridge-Identity")}}}, nil, nil
		})
	}
	web := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, options))
	t.Cleanup(web.Close)
	return web.URL
}

// buffer is what a command writes while tests read.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // 1-buffered: there is something new
}

func newBuffer() *buffer { return &buffer{more: make(chan struct{}, 1)} }

// Write implements [io.Writer].
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

// String returns what was written so far.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// find waits until the text matches and returns the submatches.
func (b *buffer) find(t testing.TB, pattern string) []string {
	t.Helper()
	expr := regexp.MustCompile(pattern)
	late := time.After(30 * time.Second)
	for {
		if found := expr.FindStringSubmatch(b.String()); found != nil {
			return found
		}
		select {
		case <-b.more:
		case <-late:
			t.Fatalf("no %s in:\n%s", pattern, b)
		}
	}
}

// process is a guard that runs in the test.
type process struct {
	address, admin string
	stderr         *buffer
	stop           context.CancelFunc
	code           chan int
}

// startGuard runs the command with a configuration, to which listen and admin addresses are added. It ends with the test.
func startGuard(t testing.TB, yaml string) *process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guard.yaml")
	write(t, file, "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nresource: "+public+"\n"+yaml)
	ctx, stop := context.WithCancel(context.Background())
	p := &process{stderr: newBuffer(), stop: stop, code: make(chan int, 1)}
	go func() {
		p.code <- run(ctx, env{args: []string{"--config", file}, stdout: newBuffer(), stderr: p.stderr, lookup: os.LookupEnv})
	}()
	t.Cleanup(func() {
		stop()
		if code, open := <-p.code; open && code != 0 {
			t.Errorf("exit code %d\n%s", code, p.stderr)
		}
	})
	found := p.stderr.find(t, `msg=protecting .*listen=(\S+) admin=(\S+)|error: (.*)`)
	if p.address, p.admin = found[1], found[2]; p.address == "" {
		t.Fatal(found[3])
	}
	return p
}

// end stops the guard and waits for it.
func (p *process) end() int {
	p.stop()
	code := <-p.code
	close(p.code)
	return code
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// balancer is a load balancer in front of instances, and a client with a token: each request goes to the next.
type balancer struct {
	token string
	turns atomic.Int64
	to    []http.RoundTripper
}

func balance(token string, instances ...*process) *balancer {
	b := &balancer{token: token}
	for _, p := range instances {
		b.to = append(b.to, &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, p.address)
		}})
	}
	return b
}

// RoundTrip implements [http.RoundTripper].
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.to[int(b.turns.Add(1))%len(b.to)].RoundTrip(r)
}

// connect opens a session of the Go SDK's client through b.
func (b *balancer) connect(t testing.TB) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	transport := &mcp.StreamableClientTransport{Endpoint: strings.Replace(public, "https", "http", 1), HTTPClient: &http.Client{Transport: b}}
	session, err := client.Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}
