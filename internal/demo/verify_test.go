package demo

import (
	"testing"
	"time"
)

// TestJudge: one wrong claim is enough (RFC 9068 §4).
func TestJudge(t *testing.T) {
	now := time.Now()
	s := &Server{url: "https://mcp.example/mcp", cfg: ServerConfig{Issuer: "https://idp.example",
		Now: func() time.Time { return now }, Revoked: func(jti string) bool { return jti == "gone" }}}
	for name, tt := range map[string]struct {
		change func(*caller)
		want   string
	}{
		"right":            {func(*caller) {}, ""},
		"several":          {func(c *caller) { c.Audience = []string{"https://x.example", s.url} }, ""},
		"issuer":           {func(c *caller) { c.Issuer += "/" }, "the access token is of another issuer"},
		"audience":         {func(c *caller) { c.Audience = []string{s.url + "/"} }, "the access token is for another resource"},
		"no audience":      {func(c *caller) { c.Audience = nil }, "the access token is for another resource"},
		"expired just now": {func(c *caller) { c.Expires = numericDate(now) }, "the access token has expired"},
		"never expires":    {func(c *caller) { c.Expires = 0 }, "the access token has expired"},
		"not yet":          {func(c *caller) { c.NotBefore = numericDate(now.Add(time.Second)) }, "the access token is not valid yet"},
		"nobody":           {func(c *caller) { c.Subject = "" }, "the access token names nobody"},
		"revoked":          {func(c *caller) { c.ID = "gone" }, "the access token was revoked"},
	} {
		who := caller{Issuer: "https://idp.example", Subject: "ada", Audience: []string{s.url}, Expires: numericDate(now.Add(time.Second)),
			NotBefore: numericDate(now), ID: "here"}
		tt.change(&who)
		got := ""
		if err := s.judge(&who); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
