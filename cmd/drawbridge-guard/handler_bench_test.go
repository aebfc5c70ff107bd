package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// reply is a transport that answers at once.
type reply struct{}

// RoundTrip implements [http.RoundTripper].
func (reply) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	h := http.Header{"Content-Type": {"application/json"}}
	return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(strings.NewReader(canned)), ContentLength: int64(len(canned)), Request: r}, nil
}

const canned = `{"jsonrpc":"2.0","id":1,"result":{}}`

// BenchmarkHandler compares the handlers alone, without connections.
func BenchmarkHandler(b *testing.B) {
	p := startIDP(b)
	yaml, _ := setup(b, p, "http://127.0.0.1:1/mcp")
	c := &config{}
	if err := c.parse([]byte("resource: " + public + "\nlimits: {rate: 1000000}\n" + yaml + rules)); err != nil {
		b.Fatal(err)
	}
	if err := c.complete(); err != nil {
		b.Fatal(err)
	}
	log, err := openAudit(env{}, c.Audit)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	m, err := newMeasures(context.Background(), "", log)
	if err != nil {
		b.Fatal(err)
	}
	s, err := build(c, hooks{
		audit: writeTo(log), observe: m.observe, trace: m.trace, log: slog.New(slog.DiscardHandler),
		forward: func(http.RoundTripper) http.RoundTripper { return m.forward(reply{}) },
	})
	if err != nil {
		b.Fatal(err)
	}
	to, _ := url.Parse("http://127.0.0.1:1/mcp")
	bare := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.SetXForwarded() }, Transport: reply{}}
	token := p.token(b, "ada", []string{"staff"}, nil)
	question := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"text":"` + strings.Repeat("y", 920) + `"}}}`
	for name, h := range map[string]http.Handler{"bare": bare, "guard": s.handler} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "http://mcp.example.com/mcp", strings.NewReader(question))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != 200 {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
