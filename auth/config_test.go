package auth

import (
	"testing"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

func TestNew(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Config)
		err  string
	}{
		{"https", nil, ""},
		{"loopback", func(c *Config) { c.ServerURL = "http://localhost:8080/mcp" }, ""},
		{"plain http", func(c *Config) { c.ServerURL = "http://mcp.example.com" }, "plain http"},
		{"plain http allowed", func(c *Config) { c.ServerURL, c.AllowHTTP = "http://mcp.example.com", true }, ""},
		{"no URL", func(c *Config) { c.ServerURL = "" }, "server URL"},
		{"a file", func(c *Config) { c.ServerURL = "file:///etc/passwd" }, "server URL"},
		{"a user", func(c *Config) { c.ServerURL = "https://a:b@mcp.example.com" }, "user"},
		{"no store", func(c *Config) { c.Store = nil }, "token store"},
		{"secret without id", func(c *Config) { c.Client.Secret = secret.New("s") }, "client secret"},
		{"two identities", func(c *Config) { c.Client = ClientIdentity{ID: "a", MetadataURL: "https://a/b"} }, "exclude"},
		{"document without path", func(c *Config) { c.Client.MetadataURL = "https://example.com/" }, "path"},
		{"document over http", func(c *Config) { c.Client.MetadataURL = "http://example.com/c" }, "plain http"},
		{"document", func(c *Config) { c.Client.MetadataURL = "https://example.com/c" }, ""},
		{"issuer over http", func(c *Config) { c.Issuer = "http://idp.example.com"; c.AllowHTTP = true }, "plain http"},
		{"callback elsewhere", func(c *Config) { c.Callback.Host = "0.0.0.0" }, "callback host"},
	} {
		cfg := Config{ServerURL: "https://mcp.example.com/mcp", Store: tokenstore.NewMemory()}
		if c.edit != nil {
			c.edit(&cfg)
		}
		t.Run(c.name, func(t *testing.T) {
			s, err := New(cfg)
			wantError(t, err, c.err)
			if err == nil {
				s.Close()
			}
		})
	}
}
