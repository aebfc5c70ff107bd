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
		change func(*Principal)
		want   string
	}{
		"right":            {func(*Principal) {}, ""},
		"several":          {func(c *Principal) { c.Audience = []string{"https://x.example", s.url} }, ""},
		"issuer":           {func(c *Principal) { c.Issuer += "/" }, "the access token is of another issuer"},
		"audience":         {func(c *Principal) { c.Audience = []string{s.url + "/"} }, "the access token is for another resource"},
		"no audience":      {func(c *Principal) { c.Audience = nil }, "the access token is for another resource"},
		"expired just now": {func(c *Principal) { c.Expires = numericDate(now) }, "the access token has expired"},
		"never expires":    {func(c *Principal) { c.Expires = 0 }, "the access token has expired"},
		"not yet":          {func(c *Principal) { c.NotBefore = numericDate(now.Add(time.Second)) }, "the access token is not valid yet"},
		"nobody":           {func(c *Principal) { c.Subject = "" }, "the access token names nobody"},
		"revoked":          {func(c *Principal) { c.ID = "gone" }, "the access token was revoked"},
	} {
		who := Principal{Issuer: "https://idp.example", Subject: "ada", Audience: []string{s.url}, Expires: numericDate(now.Add(time.Second)),
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
