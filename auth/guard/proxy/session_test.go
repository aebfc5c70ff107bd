package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"drawbridge/auth/guard"
	"drawbridge/auth/guard/proxy"
	"drawbridge/internal/secret"
)

// behind is a server with one session at a time, which is not random so that tests can guess it.
func behind(w http.ResponseWriter, r *http.Request) {
	const session = "upstream.session-1"
	switch got := r.Header.Values("Mcp-Session-Id"); {
	case len(got) == 0:
		w.Header().Set("Mcp-Session-Id", session)
	case len(got) > 1 || got[0] != session:
		w.WriteHeader(http.StatusTeapot) // the guard should not have let it through
	}
}

// TestSessionOfAnother: two instances that share nothing but the key serve one session; only its owner may use it.
func TestSessionOfAnother(t *testing.T) {
	urls := []string{start(t, http.HandlerFunc(behind), nil), start(t, http.HandlerFunc(behind), nil)}
	first, _ := send(t, http.MethodPost, urls[0], "ada", ping)
	id := first.Header.Get("Mcp-Session-Id")
	if !strings.HasPrefix(id, "upstream.session-1.") {
		t.Fatalf("session id %q", id)
	}
	for i := range 6 {
		if resp, body := send(t, http.MethodPost, urls[i%2], "ada", ping, "Mcp-Session-Id", id); resp.StatusCode != http.StatusOK {
			t.Errorf("instance %d: %d %s", i%2, resp.StatusCode, body)
		}
	}
	other, _ := send(t, http.MethodPost, urls[1], "bob", ping)
	bobs := other.Header.Get("Mcp-Session-Id")
	for _, tt := range []struct{ name, user, id string }{
		{"another person's", "bob", id},
		{"the server's own", "ada", "upstream.session-1"},
		{"with another end", "ada", id[:len(id)-1] + "A"},
		{"without an end", "ada", "upstream.session-1."},
		{"the end of another person's", "ada", "upstream.session-1." + bobs[strings.LastIndexByte(bobs, '.')+1:]},
		{"empty", "ada", ""},
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
			body := ping
			if method != http.MethodPost {
				body = ""
			}
			resp, text := send(t, method, urls[0], tt.user, body, "Mcp-Session-Id", tt.id)
			if resp.StatusCode != http.StatusNotFound || !strings.Contains(text, "no such session") {
				t.Errorf("%s by %s: %d %s", tt.name, method, resp.StatusCode, text)
			}
		}
	}
	if resp, _ := send(t, http.MethodPost, urls[0], "ada", ping, "Mcp-Session-Id", id, "Mcp-Session-Id", id); resp.StatusCode != http.StatusNotFound {
		t.Errorf("two session ids: %d", resp.StatusCode)
	}
}

// TestKeyChange: sessions outlive a change of keys for as long as the old key is kept.
func TestKeyChange(t *testing.T) {
	const next = "CANARY-another-key-of-32-bytes-or-more"
	id := &guard.Identity{Issuer: "i", Subject: "s"}
	bound := sessions(t, key).Bind("x", id)
	if got, ok := sessions(t, next, key).Open(bound, id); !ok || got != "x" {
		t.Errorf("with the old key kept: %q, %v", got, ok)
	}
	if _, ok := sessions(t, next).Open(bound, id); ok {
		t.Error("with the old key gone: accepted")
	}
	for _, keys := range [][]secret.Text{nil, {secret.New("short")}} {
		if _, err := proxy.NewSessions(keys...); err == nil {
			t.Errorf("%d keys: no error", len(keys))
		}
	}
}

// TestParts: accounts whose names run into each other are different accounts.
func TestParts(t *testing.T) {
	s := sessions(t, key)
	bound := s.Bind("x", &guard.Identity{Issuer: "ab", Subject: "c"})
	for _, id := range []*guard.Identity{{Issuer: "a", Subject: "bc"}, {Issuer: "abc"}, {Issuer: "ab", Subject: "C"}} {
		if _, ok := s.Open(bound, id); ok {
			t.Errorf("%+v has the session of ab c", id)
		}
	}
}

func FuzzSession(f *testing.F) {
	ada, bob := &guard.Identity{Issuer: "i", Subject: "ada"}, &guard.Identity{Issuer: "i", Subject: "bob"}
	s := sessions(f, key)
	f.Add("a.b")
	f.Add(s.Bind("x.y", bob))
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := s.Open(text, ada); ok {
			t.Fatalf("%q is accepted as %q", text, got)
		}
		bound := s.Bind(text, ada)
		got, ok := s.Open(bound, ada)
		if text != "" && (!ok || got != text) {
			t.Fatalf("%q bound is %q, which opens as %q, %v", text, bound, got, ok)
		}
		if _, ok := s.Open(bound, bob); ok {
			t.Fatalf("%q is accepted of somebody else", bound)
		}
	})
}
