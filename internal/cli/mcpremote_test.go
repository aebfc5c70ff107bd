package cli

import (
	"strings"
	"testing"
)

// TestDerivedPort compares with ports that the functions of mcp-remote 0.15.1 computed.
func TestDerivedPort(t *testing.T) {
	for _, test := range []struct {
		line []string
		want int
	}{
		{[]string{"https://mcp.example.com/mcp"}, 41409},
		{[]string{
			"https://mcp.example.com/mcp", "--resource", "https://t.example.com/", "--header", "X-B: 1 <&>", "--header", "X-A:${V}",
			"--authorize-param", "prompt=consent", "--authorize-param", "audience=a",
		}, 41634},
	} {
		line, err := parseClientLine(test.line)
		if err != nil {
			t.Fatal(err)
		}
		if got := line.options.derivedPort(line.url); got != test.want {
			t.Errorf("%q: port %d, want %d", test.line, got, test.want)
		}
	}
}

// TestTranslate: flags of mcp-remote mean flags of ours, which go first where both are given.
func TestTranslate(t *testing.T) {
	env := Env{Stderr: &strings.Builder{}, LookupEnv: func(string) (string, bool) { return "", false }}
	line, err := parseClientLine(strings.Fields("https://h/mcp 4444 --host localhost --auth-timeout 90 --disable-resource-parameter --device-code --callback-path /mine"))
	if err != nil {
		t.Fatal(err)
	}
	if err := line.options.translate(env, line.url); err != nil {
		t.Fatal(err)
	}
	o := line.options
	if o.callback.Host != "localhost" || o.callback.Port != 4444 || o.callback.Path != "/mine" || o.loginTimeout.Seconds() != 90 || o.idp.resource != "none" || !o.noBrowser {
		t.Errorf("options are %+v", o)
	}
	if args, err := line.args(); err != nil || strings.Join(args, " ") != "https://h/mcp 4444 --callback-path /mine --host localhost --auth-timeout 90 --disable-resource-parameter --device-code" {
		t.Errorf("the line is written as %q, %v", args, err)
	}
}
