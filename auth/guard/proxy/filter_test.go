package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"drawbridge/auth/guard"
	"drawbridge/auth/guard/proxy"
)

// notSecret hides what has secret in its name.
func notSecret(_ *guard.Identity, _, _, name string) bool { return !strings.Contains(name, "secret") }

const (
	listed    = `{"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"a","big":12345678901234567890}, {"name":"secret"} ,{"x":1,"name":"b"}],"nextCursor":"c"}}`
	filtered  = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","big":12345678901234567890},{"x":1,"name":"b"}],"nextCursor":"c"}}`
	listTools = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
)

// answering serves one answer to everything.
func answering(contentType, body string, headers ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" && strings.Contains(contentType, "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
		}
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		_, _ = io.WriteString(w, body)
	})
}

func TestFilter(t *testing.T) {
	of := func(result string) string { return `{"id":1,"result":` + result + `}` }
	tests := []struct {
		name, request, answer, want string
	}{
		{"tools", listTools, listed, filtered},
		{"prompts", `{"id":1,"method":"prompts/list"}`, of(`{"prompts":[{"name":"secret"},{"name":"p"}]}`), of(`{"prompts":[{"name":"p"}]}`)},
		{"resources", `{"id":1,"method":"resources/list"}`, of(`{"resources":[{"uri":"x://secret","name":"fine"},{"uri":"x://p","name":"secret"}]}`), of(`{"resources":[{"uri":"x://p","name":"secret"}]}`)},
		{"templates", `{"id":1,"method":"resources/templates/list"}`, of(`{"resourceTemplates":[{"uriTemplate":"secret://{a}"},{"uriTemplate":"x://{a}"}]}`), of(`{"resourceTemplates":[{"uriTemplate":"x://{a}"}]}`)},
		{"nothing left", listTools, of(`{"tools":[{"name":"secret"}]}`), of(`{"tools":[]}`)},
		{"nothing there", listTools, of(`{"tools":[]}`), of(`{"tools":[]}`)},
		{"list twice", listTools, of(`{"tools":[{"name":"a"}],"tools":[{"name":"secret"}]}`), of(`{"tools":[{"name":"a"}],"tools":[]}`)},
		{"escaped", listTools, of(`{"t\u006fols":[{"n\u0061me":"s\u0065cret"},{"name":"a"}]}`), of(`{"t\u006fols":[{"name":"a"}]}`)},
		{"name twice", listTools, of(`{"tools":[{"name":"a","name":"secret"},{"name":"secret","name":"a"},{"name":"b"}]}`), of(`{"tools":[{"name":"b"}]}`)},
		{"no name", listTools, of(`{"tools":[{"x":"secret"},"secret",7,null,{"name":7},{"name":"b"}]}`), of(`{"tools":[{"name":"b"}]}`)},
		{"shared cache", listTools, of(`{"tools":[{"name":"a"}],"ttlMs":5,"cacheScope":"public"}`), of(`{"tools":[{"name":"a"}],"ttlMs":5,"cacheScope":"private"}`)},
		{"cache without scope", listTools, of(`{"ttlMs":5,"tools":[{"name":"secret"}]}`), of(`{"cacheScope":"private","ttlMs":5,"tools":[]}`)},
		{"error", listTools, `{"id":1,"error":{"code":1,"message":"secret"}}`, `{"id":1,"error":{"code":1,"message":"secret"}}`},
		{"batch", `[` + listTools + `,{"id":2,"method":"ping"}]`, `[` + listed + `, {"id":2,"result":{}}]`, `[` + filtered + `,{"id":2,"result":{}}]`},
		{"not a list", `{"id":1,"method":"tools/call","params":{"name":"a"}}`, of(`{"tools":[{"name":"secret"}]}`), of(`{"tools":[{"name":"secret"}]}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := start(t, answering("application/json; charset=utf-8", tt.answer), func(c *proxy.Config) { c.Visible = notSecret })
			if resp, got := send(t, http.MethodPost, url, "ada", tt.request); got != tt.want || resp.ContentLength != int64(len(got)) {
				t.Errorf("as JSON: %d bytes announced\n got %s\nwant %s", resp.ContentLength, got, tt.want)
			}
			event := "event: message\nid: 7\ndata: " + tt.answer + "\n\n"
			url = start(t, answering("text/event-stream", event), func(c *proxy.Config) { c.Visible = notSecret })
			for _, method := range []string{http.MethodPost, http.MethodGet} { // GET takes up the answer of a broken connection
				want := "event: message\nid: 7\ndata: " + tt.want + "\n\n"
				if tt.name == "not a list" && method == http.MethodGet {
					continue // whose answer it was is not known there
				}
				if _, got := send(t, method, url, "ada", tt.request); got != want {
					t.Errorf("as an event by %s:\n got %s\nwant %s", method, got, want)
				}
			}
		})
	}
}

// TestFilterForms: an event stream may be written in many ways.
func TestFilterForms(t *testing.T) {
	lines := strings.SplitAfter(listed, ",")
	var pretty strings.Builder
	for _, line := range lines {
		pretty.WriteString("data:" + line + "\n")
	}
	const ok = "data: " + filtered + "\n\n"
	for _, tt := range []struct{ name, in, want string }{
		{"LF", "data: " + listed + "\n\n", ok},
		{"CRLF", "data: " + listed + "\r\n\r\n", ok},
		{"byte order mark", "\ufeffdata: " + listed + "\n\n", ok},
		{"CR", "data: " + listed + "\r\r", ok},
		{"CRLF, with more", "id: 1\r\ndata: " + listed + "\r\n\r\n: x\r\n\r\n", "id: 1\n" + ok + ": x\n\n"},
		{"many lines", pretty.String() + "\n", "data: " + strings.ReplaceAll(filtered, `"jsonrpc":"2.0",`, "\"jsonrpc\":\"2.0\",\ndata: ")},
		{"priming event", "id: 1\nretry: 5\ndata:\n\n" + "data: " + listed + "\n\n", "id: 1\nretry: 5\ndata:\n\n" + ok},
		{"without an end", "data: {}\n\ndata: " + listed + "\n", "data: {}\n\n"},
		{"empty", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, reader := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
				url := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = io.Copy(flushing{w}, reader(strings.NewReader(tt.in)))
				}), func(c *proxy.Config) { c.Visible = notSecret })
				_, got := send(t, http.MethodGet, url, "ada", "")
				if tt.name == "many lines" { // line ends are spaces to JSON
					if strings.ReplaceAll(dataOf(t, got), " ", "") != filtered {
						t.Errorf("%s: got %q", name, got)
					}
				} else if got != tt.want {
					t.Errorf("%s:\n got %q\nwant %q", name, got, tt.want)
				}
			}
		})
	}
}

// flushing sends every piece on its own.
type flushing struct{ http.ResponseWriter }

// Write implements [io.Writer].
func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	f.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

func dataOf(t *testing.T, event string) string {
	t.Helper()
	var data strings.Builder
	for line := range strings.Lines(event) {
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			data.WriteString(strings.TrimSuffix(text, "\n"))
		}
	}
	return data.String()
}

// TestFilterRefuses: what cannot be filtered is not passed on.
func TestFilterRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		upstream   http.Handler
	}{
		{"compressed", "compresses", answering("application/json", "x", "Content-Encoding", "gzip")},
		{"no JSON", "something else", answering("application/json", "secret")},
		{"a page", "something else", answering("text/html", "<p>secret</p>")},
		{"too large", "too large", answering("application/json", `{"id":1,"result":{"tools":[{"name":"`+strings.Repeat("x", 2000)+`"}]}}`)},
	} {
		url := start(t, tt.upstream, func(c *proxy.Config) { c.Visible, c.MaxList = notSecret, 1000 })
		resp, body := send(t, http.MethodPost, url, "ada", listTools)
		if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, tt.says) || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %s", tt.name, resp.StatusCode, body)
		}
	}
	for name, body := range map[string]string{
		"no JSON":   "data: secret\n\n",
		"too large": "data: " + strings.Repeat("secret", 300) + "\n\n",
		"endless":   strings.Repeat("secret", 300),
	} {
		url := start(t, answering("text/event-stream", "data: {}\n\n"+body), func(c *proxy.Config) { c.Visible, c.MaxList = notSecret, 1000 })
		resp, err := http.DefaultTransport.RoundTrip(request(t, t.Context(), http.MethodGet, url, "ada", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.Contains(string(got), "secret") || !strings.HasPrefix(string(got), "data: {}") || err == nil {
			t.Errorf("stream, %s: %q, %v", name, got, err)
		}
	}
}

// TestCompressedByAgreement: a server that compresses when it may is not asked to where lists are filtered.
func TestCompressedByAgreement(t *testing.T) {
	url := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"id":1,"result":{"encodings":%q}}`, r.Header.Get("Accept-Encoding"))
	}), func(c *proxy.Config) { c.Visible = notSecret })
	if _, got := send(t, http.MethodPost, url, "ada", listTools, "Accept-Encoding", "br"); !strings.Contains(got, `"encodings":""`) {
		t.Errorf("a list: %s", got)
	}
	if _, got := send(t, http.MethodPost, url, "ada", ping, "Accept-Encoding", "br"); !strings.Contains(got, `"encodings":"br"`) {
		t.Errorf("another request: %s", got)
	}
}

// FuzzFilter: whatever a server sends, no entry passes that is hidden, and what passes is what decoders of events read.
func FuzzFilter(f *testing.F) {
	f.Add("data: "+listed+"\n\n", false)
	f.Add("data: "+listed+"\r\n\r\n", true)
	f.Add(listed, false)
	var body string
	hide := func(_ *guard.Identity, _, _, name string) bool { return name != "secret" }
	media := "text/event-stream"
	p, err := proxy.New(proxy.Config{Upstream: "http://upstream/", Sessions: sessions(f, key), Visible: hide, Transport: transport(func(*http.Request) *http.Response {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
	})})
	if err != nil {
		f.Fatal(err)
	}
	g, err := guard.New(guard.Config{Resource: "https://a/mcp", Issuers: []guard.Issuer{{URL: "https://b"}}, StaticTokens: []guard.StaticToken{staticToken("ada")}})
	if err != nil {
		f.Fatal(err)
	}
	h := g.Wrap(p)
	f.Fuzz(func(t *testing.T, text string, plain bool) {
		if body, media = text, "text/event-stream"; plain {
			media = "application/json"
		}
		w := httptest.NewRecorder()
		func() {
			defer func() { _ = recover() }() // the proxy aborts an answer that it cannot finish
			h.ServeHTTP(w, request(t, t.Context(), http.MethodPost, "http://a/mcp", "ada", listTools))
		}()
		for _, message := range messages(w.Body.String(), plain) {
			var got struct {
				Result struct{ Tools []struct{ Name string } }
			}
			if json.Unmarshal([]byte(message), &got) != nil {
				continue
			}
			for _, tool := range got.Result.Tools {
				if tool.Name == "secret" && exact(message) {
					t.Fatalf("%q becomes %q", text, w.Body.String())
				}
			}
		}
	})
}

// exact reports whether a message has the members in the case that MCP gives them: encoding/json takes any.
func exact(message string) bool {
	var tree struct {
		Result map[string][]map[string]any `json:"result"`
	}
	if json.Unmarshal([]byte(message), &tree) != nil {
		return false
	}
	for _, tool := range tree.Result["tools"] {
		if tool["name"] == "secret" {
			return true
		}
	}
	return false
}

type transport func(*http.Request) *http.Response

// RoundTrip implements [http.RoundTripper].
func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := f(r)
	resp.Request = r
	return resp, nil
}

// messages reads an answer as a client does.
func messages(text string, plain bool) (out []string) {
	if plain {
		return []string{text}
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	for event := range strings.SplitSeq(text, "\n\n") {
		var data []string
		for line := range strings.SplitSeq(event, "\n") {
			if name, value, _ := strings.Cut(line, ":"); name == "data" {
				data = append(data, strings.TrimPrefix(value, " "))
			}
		}
		out = append(out, strings.Join(data, "\n"))
	}
	return out
}
