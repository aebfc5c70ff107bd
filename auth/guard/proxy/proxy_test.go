package proxy_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/auth/guard"
	"drawbridge/auth/guard/proxy"
	"drawbridge/internal/secret"
)

const key = "CANARY-session-key-of-32-bytes-or-more"

func sessions(t testing.TB, keys ...string) *proxy.Sessions {
	t.Helper()
	texts := make([]secret.Text, len(keys))
	for i, k := range keys {
		texts[i] = secret.New(k)
	}
	s, err := proxy.NewSessions(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func staticToken(name string) guard.StaticToken {
	sum := sha256.Sum256([]byte("CANARY-" + name))
	return guard.StaticToken{Name: name, SHA256: hex.EncodeToString(sum[:]), Until: time.Now().Add(time.Hour), Groups: []string{name + "s"}}
}

// start runs a guarded proxy in front of upstream, for the accounts ada and bob, and returns its URL.
func start(t testing.TB, upstream http.Handler, change func(*proxy.Config)) string {
	t.Helper()
	behind := httptest.NewServer(upstream)
	t.Cleanup(behind.Close)
	cfg := proxy.Config{Upstream: behind.URL + "/inner/mcp", Sessions: sessions(t, key)}
	if change != nil {
		change(&cfg)
	}
	p, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g, err := guard.New(guard.Config{
		Resource: "https://mcp.example.com/mcp", Issuers: []guard.Issuer{{URL: "https://idp.example.com"}},
		StaticTokens: []guard.StaticToken{staticToken("ada"), staticToken("bob")}, Authorize: p.Authorize(nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(g.Wrap(p))
	t.Cleanup(front.Close)
	return front.URL + "/mcp"
}

const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`

// send makes a request as somebody. headers are names and values.
func send(t testing.TB, method, url, user, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(request(t, t.Context(), method, url, user, body, headers...))
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

func request(t testing.TB, ctx context.Context, method, url, user, body string, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer CANARY-"+user)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	return r
}

// TestForwarded: the server behind gets the message as it was and nothing that speaks for somebody.
func TestForwarded(t *testing.T) {
	var got *http.Request
	var body string
	url := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, body = r, string(text)
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Mcp-Other", "kept")
	}), func(c *proxy.Config) { c.Strip = []string{"x-company-user"} })
	sent := []string{
		"Cookie", "session=1", "X-Forwarded-User", "root", "X-Forwarded-For", "1.2.3.4", "X_Remote_User", "root", "X-Auth-Request-Email", "root",
		"Drawbridge-Identity", "root", "X-Company-User", "root", "X-Http-Method-Override", "DELETE", "Proxy-Authorization", "x", "Origin", "https://a",
		"Upgrade", "websocket", "Connection", "upgrade, x-drop", "X-Drop", "1",
		"Mcp-Protocol-Version", "2025-11-25", "Mcp-Param-Region", "eu", "Last-Event-Id", "7", "Accept", "application/json, text/event-stream",
		"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Custom", "kept",
	}
	resp, _ := send(t, http.MethodPost, url+"?a=1&b=%2F", "ada", ping, sent...)
	if resp.StatusCode != http.StatusOK || body != ping || got.URL.RequestURI() != "/inner/mcp?a=1&b=%2F" {
		t.Fatalf("status %d, body %q, %s", resp.StatusCode, body, got.URL)
	}
	var names []string
	for name := range got.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"Accept", "Accept-Encoding", "Content-Length", "Content-Type", "Last-Event-Id", "Mcp-Param-Region", "Mcp-Protocol-Version", "Traceparent",
		"User-Agent", "X-Custom", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got.Header.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("X-Forwarded-For: %s", got.Header.Get("X-Forwarded-For"))
	}
	if h := resp.Header; h.Get("Set-Cookie")+h.Get("Access-Control-Allow-Origin") != "" || h.Get("Mcp-Other") != "kept" {
		t.Errorf("answer's headers: %v", h)
	}
}

// TestOwnCredential: the guard's credential replaces the client's.
func TestOwnCredential(t *testing.T) {
	var got []string
	url := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header["Authorization"] }),
		func(c *proxy.Config) { c.Authorization = secret.New("Bearer of-the-guard") })
	send(t, http.MethodPost, url, "ada", ping)
	if diff := cmp.Diff([]string{"Bearer of-the-guard"}, got); diff != "" {
		t.Errorf("Authorization (-want +got):\n%s", diff)
	}
}

// TestAnswers: what must not reach the client from behind becomes a 502 that says why.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter)
		status int
		says   string
	}{
		{"401", func(w http.ResponseWriter) {
			w.Header().Set("WWW-Authenticate", "Bearer realm=inner")
			w.WriteHeader(401)
		}, 502, "does not accept this guard"},
		{"redirect", func(w http.ResponseWriter) { w.Header().Set("Location", "http://inner/"); w.WriteHeader(307) }, 502, "redirects (307)"},
		{"403", func(w http.ResponseWriter) { w.Header().Set("WWW-Authenticate", "Bearer"); w.WriteHeader(403) }, 403, ""},
		{"404", func(w http.ResponseWriter) { w.WriteHeader(404) }, 404, ""},
		{"202", func(w http.ResponseWriter) { w.WriteHeader(202) }, 202, ""},
		{"gone", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 502, "cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) }), nil)
			resp, body := send(t, http.MethodPost, url, "ada", ping)
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.says) || resp.Header.Get("Www-Authenticate")+resp.Header.Get("Location") != "" {
				t.Errorf("%d %s %v", resp.StatusCode, body, resp.Header)
			}
			if tt.status == 502 && !strings.Contains(body, `"id":1`) {
				t.Errorf("the answer does not name the request: %s", body)
			}
		})
	}
}

// TestRunsOnce: a key that makes the transport repeat requests does not make a tool call run twice.
func TestRunsOnce(t *testing.T) {
	var calls atomic.Int64
	url := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) > 1 {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler) // after it was read, as when a server dies while it works
		}
	}), nil)
	send(t, http.MethodPost, url, "ada", ping) // so that the next request is on a connection used before
	resp, _ := send(t, http.MethodPost, url, "ada", ping, "Idempotency-Key", "k")
	if n := calls.Load(); resp.StatusCode != http.StatusBadGateway || n != 2 {
		t.Errorf("status %d, the server saw %d requests; want 502 and 2", resp.StatusCode, n)
	}
}

// TestNobody: without the guard nothing is forwarded.
func TestNobody(t *testing.T) {
	p, err := proxy.New(proxy.Config{Upstream: "http://127.0.0.1:1/", Sessions: sessions(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(ping)))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d", w.Code)
	}
}

// TestStreams: each event arrives before the next is sent, filtered or not, and a client that goes away takes its request
// with it.
func TestStreams(t *testing.T) {
	for name, visible := range map[string]func(*guard.Identity, string, string, string) bool{
		"unfiltered": nil,
		"filtered":   func(*guard.Identity, string, string, string) bool { return true },
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+" "+method, func(t *testing.T) {
				next, gone := make(chan struct{}), make(chan struct{})
				url := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					for i := range 3 {
						fmt.Fprintf(w, ": comment\nid: %d\ndata: {\"method\":\"notifications/message\",\"params\":%d}\n\n", i, i)
						w.(http.Flusher).Flush()
						<-next
					}
					<-r.Context().Done()
					close(gone)
				}), func(c *proxy.Config) { c.Visible = visible })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				resp, err := http.DefaultTransport.RoundTrip(request(t, ctx, method, url, "ada", `{"id":1,"method":"tools/list"}`))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				in := bufio.NewReader(resp.Body)
				for i := range 3 {
					for _, want := range []string{": comment", fmt.Sprintf("id: %d", i), fmt.Sprintf(`data: {"method":"notifications/message","params":%d}`, i), ""} {
						line, err := in.ReadString('\n')
						if err != nil || line != want+"\n" {
							t.Fatalf("event %d: %q, %v; want %q", i, line, err, want)
						}
					}
					next <- struct{}{}
				}
				cancel()
				<-gone
			})
		}
	}
}

func TestConfig(t *testing.T) {
	for want, cfg := range map[string]proxy.Config{
		"want an http": {Upstream: "ftp://x/"},
		"want a URL":   {Upstream: "http://u:CANARY@x/"},
		"sessions":     {Upstream: "http://x/"},
	} {
		if _, err := proxy.New(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestBodyOnlyOfMessages: only the body of a POST is read and judged. Another one must not reach a server that may take the
// request for a POST, such as by a parameter _method.
func TestBodyOnlyOfMessages(t *testing.T) {
	var got atomic.Value
	url := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		got.Store(fmt.Sprintf("%s %q %v %v", r.Method, text, r.Trailer, err))
	}), nil)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		for _, length := range []int64{int64(len(ping)), -1} {
			r := request(t, t.Context(), method, url+"?_method=POST", "ada", ping)
			if r.ContentLength = length; length < 0 {
				r.Trailer = http.Header{"Remote-User": {"root"}}
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if want := method + ` "" map[] <nil>`; resp.StatusCode != http.StatusOK || got.Load() != want {
				t.Errorf("length %d: %s, the server behind got %v, want %s", length, resp.Status, got.Load(), want)
			}
		}
	}
}
