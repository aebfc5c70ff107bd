package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWebAddress: only what a browser shows reaches an opener, which would run files and other schemes too.
func TestWebAddress(t *testing.T) {
	for raw, want := range map[string]string{
		"https://idp.example/a?b=c%20d": "https://idp.example/a?b=c%20d",
		"http://127.0.0.1:8080/a":       "http://127.0.0.1:8080/a",
		"http://localhost/a":            "http://localhost/a",
		"http://[::1]:1/a":              "http://[::1]:1/a",
		"http://idp.example/a":          "",
		"javascript:alert(1)":           "",
		"file:///etc/passwd":            "",
		"data:text/html,x":              "",
		"calc.exe":                      "",
		"-e":                            "",
		"https:///no-host":              "",
		"https://a.example/\x07":        "",
		"":                              "",
	} {
		if got, err := webAddress(raw); got != want || (err == nil) != (want != "") {
			t.Errorf("webAddress(%q) = %q, %v; want %q", raw, got, err, want)
		}
	}
}

func TestCommandOfBrowserVariable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with space")
	program := filepath.Join(dir, "browser")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		command string
		want    []string
	}{
		{program, []string{program, "URL"}},
		{"firefox --new-window %s", []string{"firefox", "--new-window", "URL"}},
		{"open --url=%s -x", []string{"open", "--url=URL", "-x"}},
		{"nosuchbrowser -a", []string{"nosuchbrowser", "-a", "URL"}},
	} {
		args := commandLine(c.command)
		if diff := cmp.Diff(c.want, append(args[:1:1], withAddress(args[1:], "URL")...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.command, diff)
		}
	}
}

func TestSSHTarget(t *testing.T) {
	for _, c := range []struct{ connection, user, want string }{
		{"198.51.100.1 5000 192.0.2.7 22", "ada", "ada@192.0.2.7"},
		{"198.51.100.1 5000 192.0.2.7 22", "", "192.0.2.7"},
		{"198.51.100.1 5000 192.0.2.7 22", "-oProxyCommand=x", "192.0.2.7"},
		{"198.51.100.1 5000 -oProxyCommand=x 22", "ada", ""},
		{"", "ada", ""},
	} {
		env := map[string]string{"SSH_CONNECTION": c.connection, "USER": c.user}
		got := sshTarget(Env{LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
		if got != c.want {
			t.Errorf("from %q as %q: %q, want %q", c.connection, c.user, got, c.want)
		}
	}
}
