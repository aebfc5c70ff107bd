package cli

import (
	"bytes"
	"strings"
	"testing"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// TestStatusIsPlain shows a record that holds what a hostile server would like to write on a terminal.
func TestStatusIsPlain(t *testing.T) {
	evil := "x\x1b[2J\u202e\r\nissuer  https://good.example"
	c := tokenstore.Credential{
		ServerURL: "https://mcp.example.com/mcp", Profile: evil, Subject: evil, Issuer: evil,
		Client: tokenstore.Client{ID: evil}, Scopes: []string{evil}, AccessToken: secret.New("token"),
	}
	row := statusOf(c, tokenstore.NewMemory())
	for name, show := range map[string]func(Env) error{
		"one": func(env Env) error { return printDetail(env, row) },
		"all": func(env Env) error { return printTable(env, []signInStatus{row}) },
	} {
		var out bytes.Buffer
		if err := show(Env{Stdout: &out}); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if strings.ContainsAny(text, "\x1b\r\u202e") || strings.Contains(text, "\nissuer  https://good") || !strings.Contains(text, "x[2Jissuer") {
			t.Errorf("%s:\n%q", name, text)
		}
	}
}
