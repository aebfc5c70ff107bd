package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/clientconfig"
)

func TestEntryName(t *testing.T) {
	for url, want := range map[string]string{
		"https://mcp.example.com/mcp":          "example",
		"https://example.com":                  "example",
		"https://api.githubcopilot.com/mcp/":   "githubcopilot",
		"https://mcp.eu.example.com/mcp":       "eu-example",
		"https://MCP.Example.com:8443/mcp":     "example",
		"http://build-host/mcp":                "build-host",
		"http://127.0.0.1:17624/mcp":           "drawbridge-17624",
		"http://[::1]/mcp":                     "drawbridge-local",
		"https://10.0.0.7/mcp":                 "drawbridge-local",
		"https://xn--bcher-kva.example/mcp":    "xn--bcher-kva",
		"https://b\u00fccher.example.com/mcp":  "b-cher-example",
		"https://www.mcp.api.example.com/x?y=": "example",
	} {
		if got := entryName(url); got != want || checkEntryName(got) != nil {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

// TestClientLine: what is written means what was typed.
func TestClientLine(t *testing.T) {
	abs, err := filepath.Abs("s")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		typed, want string
		variables   []string
	}{
		{"https://h/mcp", "https://h/mcp", nil},
		{"run https://h/mcp", "https://h/mcp", nil},
		{"--profile admin https://h/mcp --no-browser", "https://h/mcp --profile admin --no-browser", nil},
		{"https://h/mcp --scope a,b --scope c", "https://h/mcp --scope a --scope b --scope c", nil},
		{"https://h/mcp --client-secret-file s", "https://h/mcp --client-secret-file ABS", nil},
		{"https://h/mcp --client-key s", "https://h/mcp --client-key ABS", nil},
		{"https://h/mcp --client-secret-env B --header X:${A}${B}", "https://h/mcp --client-secret-env B --header X:%{A}%{B}", []string{"A", "B"}},
		{"https://h/mcp --no-browser=false --login-timeout 90s", "https://h/mcp --login-timeout 1m30s --no-browser=false", nil},
	} {
		line, err := parseClientLine(strings.Fields(test.typed))
		if err != nil {
			t.Errorf("%s: %v", test.typed, err)
			continue
		}
		args, err := line.args()
		want := strings.Fields(test.want)
		for i := range want {
			want[i] = strings.Replace(want[i], "ABS", abs, 1) // which may hold spaces
		}
		if diff := cmp.Diff(want, args); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", test.typed, err, diff)
		}
		if diff := cmp.Diff(test.variables, line.variables()); diff != "" {
			t.Errorf("%s: variables\n%s", test.typed, diff)
		}
		if again, err := parseClientLine(args); err != nil || !cmp.Equal(again.options.scopes, line.options.scopes) {
			t.Errorf("%q cannot be read again: %v", args, err)
		}
	}
	for _, typed := range []string{"", "https://h/mcp https://i/mcp", "login https://h/mcp", "status", "https://h/mcp --nope", "ftp://h"} {
		if line, err := parseClientLine(strings.Fields(typed)); err == nil {
			t.Errorf("%q is read as the bridge to %q", typed, line.url)
		}
	}
}

func TestSecretInFlag(t *testing.T) {
	const key = "0123456789abcdefABCDEF0123456789"
	for _, test := range []struct {
		flag, value string
		secret      bool
	}{
		{"header", "Authorization: Bearer abc", true},
		{"header", "authorization: abc", true},
		{"header", "Authorization: Bearer ${TOKEN}", false},
		{"header", "Authorization: Bearer %{TOKEN}", false},
		{"header", "Authorization: Bearer ${TOKEN}" + key, true},
		{"header", "Cookie: session=abc", true},
		{"header", "X-Api-Key: abc", true},
		{"header", "X-Api-Key: ${KEY}", false},
		{"header", "X-Team: platform", false},
		{"header", "X-Team: platform-engineering-and-operations", false},
		{"header", "X-Team: " + key, true},
		{"header", "X-Forwarded: sk-abcdefghijklmnop", true},
		{"header", "X-Forwarded: ghp_abcdefghijklmnopqrst", true},
		{"header", "X-Tenant: eyJhbGciOiJub25lIn0.e30.", true},
		{"client-id", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", false},
		{"scope", "api://3f2504e0-4f89-11d3-9a0c-0305e82c3301/.default", false},
		{"resource", "https://mcp.example.com/mcp", false},
		{"authorize-param", "prompt=select_account", false},
		{"authorize-param", "client_secret=abc", true},
		{"token-store-key-command", "pass show drawbridge-key", false},
		{"token-store-key-command", "echo " + strings.Repeat("0a", 32), true},
		{"token-store-key-file", "/home/ada/.config/a-rather-long-name-of-a-file-2026-01-01.key", false},
	} {
		err := secretInFlag(test.flag, test.value)
		if (err != nil) != test.secret {
			t.Errorf("--%s %q: %v, want a secret: %v", test.flag, test.value, err, test.secret)
		}
		if err != nil && (strings.Contains(err.Error(), "abc") || strings.Contains(err.Error(), key)) {
			t.Errorf("--%s: the error repeats the secret: %v", test.flag, err)
		}
	}
	for url, secret := range map[string]bool{
		"https://mcp.example.com/mcp?tenant=7":              false,
		"https://mcp.example.com/mcp?api_key=abc":           true,
		"https://mcp.example.com/mcp?access_token=":         true,
		"https://mcp.example.com/s/sk-abcdefghijklmnop/mcp": true,
	} {
		if err := secretInURL(url); (err != nil) != secret {
			t.Errorf("%s: %v, want a secret: %v", url, err, secret)
		}
	}
}

// TestDifference: secrets of others are covered, and a file cannot write to the terminal what it likes.
func TestDifference(t *testing.T) {
	got := difference(clientconfig.Change{
		Path: "f",
		Before: []byte("{\n\"GITHUB_TOKEN\": \"abc\",\n\"k\": \"Bearer abcdef\",\n\"u\": \"$TOKEN\",\n\"url\": \"https://h/?a=1\",\n" +
			"api_key = \"abc\"\n\"note\": \"\x1b[2J\u202e\"\n}"),
		After: []byte("{\n\"GITHUB_TOKEN\": \"abc\",\n\"k\": \"Bearer abcdef\",\n\"u\": \"$TOKEN\",\n\"url\": \"https://h/?a=1\",\n" +
			"api_key = \"abc\"\n\"note\": \"\x1b[2J\u202e\"\n\"new\": \"https://mcp.example.com/mcp\"\n}"),
	})
	// The first two lines are too far from the change to be shown.
	want := `--- f
+++ f
@@ -5,4 +5,5 @@
 "url": "https://h/?a=1",
 api_key = "***"
 "note": "?[2J?"
+"new": "https://mcp.example.com/mcp"
 }
\ No newline at end of file
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for line, want := range map[string]string{
		` "GITHUB_TOKEN": "abc",`:          ` "GITHUB_TOKEN": "***",`,
		` "k": "Bearer abcdef"`:            ` "k": "***"`,
		` "GITHUB_TOKEN": "${TOKEN}"`:      ` "GITHUB_TOKEN": "${TOKEN}"`,
		`+"args": ["--profile", "admin"]`:  `+"args": ["--profile", "admin"]`,
		` "x": "0123456789abcdef01234567"`: ` "x": "***"`,
	} {
		if got := shownLine(line); got != want {
			t.Errorf("%s is shown as %s, want %s", line, got, want)
		}
	}
}
