package tokenstore

import (
	"strings"
	"testing"
)

func TestCanonicalURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://MCP.Example.com/mcp":      "https://mcp.example.com/mcp",
		"HTTPS://mcp.example.com:443/":     "https://mcp.example.com",
		"http://localhost:80/a/":           "http://localhost/a",
		"http://localhost:8080/a?x=1#frag": "http://localhost:8080/a?x=1",
		"https://[::1]:443/A":              "https://[::1]/A",
		"mcp.example.com":                  "",
		"ftp://mcp.example.com":            "",
		"https://":                         "",
		"https://ada:CANARY@example.com":   "",
	} {
		got, err := CanonicalURL(raw)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("CanonicalURL(%q) = %q, %v; want %q", raw, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestNamesAreDistinct(t *testing.T) {
	credential := func(server, profile string) Name {
		name, err := CredentialName(server, profile)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	if credential("https://A.example/", "p") != credential("https://a.example:443", "p") {
		t.Error("two spellings of one server have two names")
	}
	names := []Name{
		credential("https://a.example", ""), credential("https://a.example", "p"), credential("https://a.example/p", ""),
		credential("https://b.example", ""), RegistrationName("https://a.example"), NewName("credential", "https://a.examplep"),
	}
	seen := map[Name]bool{}
	for _, n := range names {
		if seen[n] || n.check() != nil {
			t.Errorf("name %s is taken or refused", n)
		}
		seen[n] = true
	}
	if kind := names[0].Kind(); kind != KindCredential {
		t.Errorf("kind %q", kind)
	}
}
