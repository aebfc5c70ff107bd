package bridge_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"drawbridge/bridge"
)

// TestBadServers: whatever answers at the URL, every request gets an error that says the cause and what to do, for
// initialize and for a call in a session alike, and the bridge lives on.
func TestBadServers(t *testing.T) {
	tests := []struct {
		name, kind, cause, hint string
		answer                  http.HandlerFunc
	}{
		{"web page", "not_mcp", "<h1>Hello", "web page", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<h1>Hello\x1b[31m</h1>"+strings.Repeat("x", 1000))
		}},
		{"wrong content type", "not_mcp", `{\"jsonrpc\"`, "MCP endpoint", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0"}`)
		}},
		{"truncated JSON", "bad_json", "the text ends", "operator", func(w http.ResponseWriter, r *http.Request) {
			answerJSON(w, `{"jsonrpc":"2.0","id":0,"result":{`)
		}},
		{"cut body", "outcome_unknown", "unexpected EOF", "before you try again", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			answerJSON(w, `{"jsonrpc"`)
		}},
		{"empty body", "outcome_unknown", "empty", "before you try again", func(w http.ResponseWriter, r *http.Request) { answerJSON(w, "") }},
		{"500", "outcome_unknown", "database on fire", "server's", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "database on fire", 500) }},
		{"404", "http_status", "404 page not found", "/mcp", http.NotFound},
		{"other origin", "http_status", "", `https://elsewhere.example/mcp`, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/mcp", http.StatusTemporaryRedirect)
		}},
		{"portal", "http_status", "", `https://portal.example/`, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://portal.example/", http.StatusFound)
		}},
		{"no HTTP", "outcome_unknown", "malformed HTTP", "before you try again", func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err) // a server of httptest can do it
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX: \x00CANARY\r\n\r\n") // the bridge sees what arrived
			_ = conn.Close()
		}},
		{"broken connection", "outcome_unknown", "EOF", "before you try again", func(w http.ResponseWriter, r *http.Request) {
			panic(http.ErrAbortHandler)
		}},
		{"too large", "too_long", "longer than", "", func(w http.ResponseWriter, r *http.Request) {
			answerJSON(w, `"`+strings.Repeat("x", 100_000)+`"`)
		}},
		{"too large an event", "too_long", "longer than", "", func(w http.ResponseWriter, r *http.Request) {
			events(w)("data: " + strings.Repeat("x", 200_000))
		}},
		{"notification instead of an answer", "not_mcp", "notifications/x", "MCP endpoint", func(w http.ResponseWriter, r *http.Request) {
			answerJSON(w, `{"jsonrpc":"2.0","method":"notifications/x"}`)
		}},
		{"event without JSON", "bad_json", "where a value should be", "operator", func(w http.ResponseWriter, r *http.Request) { events(w)("data: hello") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &server{}
			s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
				if r.Method == http.MethodPost {
					tt.answer(w, r)
				}
			}
			cfg := serve(t, s)
			cfg.MaxMessage = 50_000
			c := start(t, cfg)
			c.send(initialize)
			c.want(initResult)
			c.send(initialized, fmt.Sprintf(unknownCall, "1"))
			if tt.name == "notification instead of an answer" {
				c.want(`{"jsonrpc":"2.0","method":"notifications/x"}`)
			}
			check(t, c, "1", tt.kind, tt.cause, tt.hint)
			c.finish()

			cfg = serve(t, tt.answer)
			cfg.MaxMessage = 50_000
			c = start(t, cfg)
			c.send(initialize)
			switch {
			case tt.name == "too large an event": // the limit cuts the stream of the handshake
				c.wantEarly()
				check(t, c, "1", "unreachable", "", "try again")
			case tt.name == "500": // it may pass
				c.wantEarly()
				check(t, c, "1", "http_status", tt.cause, tt.hint)
			case tt.kind == "outcome_unknown": // initialize can be sent again, so its outcome does not matter
				c.wantEarly()
				check(t, c, "1", "unreachable", tt.cause, "try again")
			default:
				check(t, c, "0", tt.kind, tt.cause, tt.hint)
			}
			c.send(`{"jsonrpc":"2.0","id":9,"method":"ping"}`)
			c.want(`{"jsonrpc":"2.0","id":9,"result":{}}`)
			c.finish()
		})
	}
}

// wantEarly fails unless initialize is answered in the server's place. It then asks for the tools, as request 1.
func (c *client) wantEarly() {
	c.t.Helper()
	if got := c.next(); !strings.HasPrefix(got, earlyResult) {
		c.t.Fatalf("initialize: %s", got)
	}
	c.send(initialized, listTools)
}

func check(t *testing.T, c *client, id, kind, cause, hint string) {
	t.Helper()
	d := c.wantError(id, kind)
	if !strings.Contains(d.Cause, cause) || !strings.Contains(d.Hint, hint) || d.Source != "drawbridge" {
		t.Errorf("data = %+v\nwant cause %q, hint %q", d, cause, hint)
	}
	if strings.ContainsAny(d.Cause+d.Message, "\x1b") || len(d.Cause) > 400 {
		t.Errorf("foreign text is not cut or cleaned: %q", d.Cause)
	}
}

func TestUnreachableServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	c := start(t, bridge.Config{URL: "http://" + address + "/mcp", Auth: open{}})
	c.send(initialize)
	c.wantEarly()
	check(t, c, "1", "unreachable", "connection refused", "server runs")

	// It comes back by itself when the server does.
	back, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: &server{}}
	defer srv.Close()
	go func() { _ = srv.Serve(back) }()
	for range 3 {
		if got := c.next(); !strings.Contains(got, "list_changed") {
			t.Errorf("got %s", got)
		}
	}
	c.send(listTools)
	c.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	c.finish()
}

// TestMalformedAnswerIsNotQuoted: net/http quotes a broken answer in its error, and a server may echo the token there.
func TestMalformedAnswerIsNotQuoted(t *testing.T) {
	for _, answer := range []string{
		"Bearer CANARY-token\r\n\r\n", "HTTP/1.1 CANARY-token\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: CANARY-token\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: CANARY-token\r\n\r\n", "HTTP/1.1 200 OK\r\nCANARY-token\r\n\r\n",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}
		}))
		c := start(t, bridge.Config{URL: srv.URL, Auth: open{}})
		c.send(initialize)
		c.wantEarly()
		if line := c.next(); strings.Contains(line, "CANARY") || !strings.Contains(line, `"error"`) {
			t.Errorf("%.20q: the client got %s", answer, line)
		}
		c.finish()
		srv.Close()
	}
}

func TestUnknownHost(t *testing.T) {
	c := start(t, bridge.Config{URL: "https://host.invalid/mcp", Auth: open{}})
	c.send(initialize)
	c.wantEarly()
	check(t, c, "1", "unreachable", "host.invalid", "host name")
	c.finish()
}

// TestServerErrorsPass: a JSON-RPC error of the server reaches the client in the server's words, whatever the status.
func TestServerErrorsPass(t *testing.T) {
	for _, id := range []string{`"id":1,`, `"id":null,`, ``} {
		s := &server{handle: func(w http.ResponseWriter, r *http.Request, rpc, body string) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{`+id+`"jsonrpc":"2.0","error":{"code":-32602,"message":"no","data":{"n":1.0}}}`)
		}}
		c := start(t, serve(t, s))
		c.send(initialize)
		c.next()
		c.send(initialized, fmt.Sprintf(unknownCall, "1"))
		if got, want := c.next(), `{"id":1,"jsonrpc":"2.0","error":{"code":-32602,"message":"no","data":{"n":1.0}}}`; got != want {
			t.Errorf("with %s: %s", id, got)
		}
		c.finish()
	}
}

func TestRedirectWithinOrigin(t *testing.T) {
	s := &server{}
	mux := http.NewServeMux()
	mux.Handle("/mcp/", s)
	mux.Handle("/mcp", http.RedirectHandler("/mcp/", http.StatusTemporaryRedirect))
	c := start(t, serve(t, mux))
	c.send(initialize)
	c.want(initResult)
	c.finish()
}

// bearer is an Authorizer whose token a server may have.
type bearer struct{ open }

const token = "CANARY-" + "0123456789abcdef0123456789abcdef"

func (bearer) Authorize(req *http.Request) error {
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// TestEchoedToken: a server that shows what it received does not get its token into an error.
func TestEchoedToken(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"500":         func(w http.ResponseWriter, r *http.Request) { http.Error(w, fmt.Sprint("oops ", r.Header), 500) },
		"a part":      func(w http.ResponseWriter, r *http.Request) { http.Error(w, "oops "+token[:35], 500) },
		"web page":    func(w http.ResponseWriter, r *http.Request) { http.Error(w, fmt.Sprint("oops ", r.Header), 200) },
		"nothing new": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "oops CANAR", 500) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := serve(t, answer)
			cfg.Auth = bearer{}
			c := start(t, cfg)
			c.send(initialize)
			if name != "web page" {
				c.wantEarly()
			}
			if line := c.next(); strings.Contains(line, "CANARY") || !strings.Contains(line, "oops") {
				t.Errorf("the error is %s", line)
			}
			c.finish()
		})
	}
}
