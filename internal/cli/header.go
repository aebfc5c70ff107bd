package cli

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"drawbridge/internal/secret"
)

// headerOptions are the flags for headers of the user's own. They go to the MCP server's origin and nowhere else.
type headerOptions struct {
	lines   []string
	file    string
	command string
}

func (o *headerOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.lines, "header", nil, `header for the MCP server, "Name: value"; ${VAR} is taken from the environment (repeatable)`)
	f.StringVar(&o.file, "header-file", "", `file with a header for the MCP server on each line, as --header takes them`)
	f.StringVar(&o.command, "header-command", "", `command that prints headers for the MCP server, one on a line; run again when the server answers 401`)
}

// header is one header. Its value may well be a key.
type header struct {
	name  string
	value secret.Text
}

var (
	// tokenPattern is an HTTP field name (RFC 9110 section 5.6.2).
	tokenPattern = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	// variablePattern is ${VAR}, or %{VAR}: Claude Code and Gemini CLI replace the first in the arguments of the servers that
	// they start, where every program could read the value. Nobody touches the second.
	variablePattern = regexp.MustCompile(`[$%]\{([A-Za-z_][A-Za-z0-9_]*)\}`)
)

// ownHeaders are set by the transport itself: another value would break it.
var ownHeaders = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Connection": true, "Content-Length": true, "Content-Type": true, "Host": true,
	"Last-Event-Id": true, "Mcp-Protocol-Version": true, "Mcp-Session-Id": true, "Transfer-Encoding": true, "Te": true, "Trailer": true,
	"Upgrade": true,
}

// source checks what can be checked now. The command runs when the first request leaves.
func (o *headerOptions) source(env Env) (*headerSource, error) {
	s := &headerSource{lookup: env.LookupEnv, path: o.file, origin: o.origin()}
	var err error
	if s.lines, err = parseHeaders("--header", o.lines, env.LookupEnv); err != nil {
		return nil, err
	}
	if s.file, err = s.readFile(); err != nil {
		return nil, err
	}
	if o.command != "" {
		if s.command, err = headerCommand(env, o.command); err != nil {
			return nil, err
		}
	}
	if name := literalSecret(o.lines); name != "" {
		notice(env)("warning: other programs can read the value of --header " + name + "; write ${VAR} in its place, or use --header-file or --header-command")
	}
	return s, nil
}

// origin says where the headers come from: it tells two sets of headers for one server apart, as far as that is possible
// without looking at a value, which may be a secret.
func (o *headerOptions) origin() string {
	var out strings.Builder
	for _, line := range o.lines {
		name, value, _ := strings.Cut(line, ":")
		fmt.Fprintf(&out, "; header %q of %q", name, variablePattern.FindAllString(value, -1))
	}
	if o.file != "" {
		fmt.Fprintf(&out, "; headers of file %q", o.file)
	}
	if o.command != "" {
		out.WriteString("; headers of a command")
	}
	return out.String()
}

// literalSecret returns the name of the first header that seems to have a secret on the command line itself.
func literalSecret(lines []string) string {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		if sensitiveName.MatchString(strings.TrimSpace(name)) && !variablePattern.MatchString(value) {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// parseHeaders reads "Name: value" with ${VAR} looked up, unless lookup is nil. what says where the lines are from. An
// error never shows a value.
func parseHeaders(what string, lines []string, lookup func(string) (string, bool)) ([]header, error) {
	var out []header
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		switch {
		case !ok || !tokenPattern.MatchString(name):
			return nil, usageError{hinted{fmt.Errorf("%s: the text is no header", what), "write it as 'Name: value'"}}
		case ownHeaders[name]:
			return nil, usageError{fmt.Errorf("%s: %s is set by drawbridge itself", what, name)}
		}
		value, err := expand(strings.TrimSpace(value), lookup)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", what, name, err)
		}
		out = append(out, header{name, secret.New(value)})
	}
	return out, nil
}

func expand(value string, lookup func(string) (string, bool)) (string, error) {
	var missing []string
	value = variablePattern.ReplaceAllStringFunc(value, func(ref string) string {
		if lookup == nil {
			return ref
		}
		name := variablePattern.FindStringSubmatch(ref)[1]
		v, ok := lookup(name)
		if !ok {
			missing = append(missing, name)
		}
		return v
	})
	switch {
	case missing != nil:
		return "", hinted{fmt.Errorf("the environment variable %s is not set", strings.Join(missing, ", ")), "set it where your MCP client starts drawbridge, for instance under env in its configuration"}
	case strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }):
		return "", errors.New("the value holds control characters")
	}
	return value, nil
}

// maxHeaderFile bounds a header file and the output of a header command, in bytes.
const maxHeaderFile = 64 << 10

// readFile reads --header-file, if there is one.
func (s *headerSource) readFile() ([]header, error) {
	if s.path == "" {
		return nil, nil
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, hinted{fmt.Errorf("--header-file: %w", err), "name a file with lines 'Name: value'"}
	}
	if info.Size() > maxHeaderFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("--header-file %s: want a file of at most %d bytes", s.path, maxHeaderFile)
	}
	if othersMayRead(info) {
		return nil, hinted{fmt.Errorf("--header-file %s: mode %04o lets other users at it", s.path, info.Mode().Perm()), "run chmod 600 on the file"}
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return nil, fmt.Errorf("--header-file: %w", err)
	}
	return notUsage(parseHeaders("--header-file "+s.path, headerLines(string(text)), s.lookup))
}

// notUsage makes a wrong file or a wrong output what it is: no error of the command line, which would end the bridge.
func notUsage(headers []header, err error) ([]header, error) {
	var wrong usageError
	if errors.As(err, &wrong) {
		return nil, wrong.error
	}
	return headers, err
}

// headerLines returns the lines of a text that are neither empty nor a comment.
func headerLines(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// hasAuthorization reports whether the user gave a credential of their own.
func hasAuthorization(headers []header) bool {
	for _, h := range headers {
		if h.name == "Authorization" {
			return true
		}
	}
	return false
}

// setHeaders puts headers on a request to the MCP server.
func setHeaders(req *http.Request, headers []header) {
	for _, h := range headers {
		req.Header.Add(h.name, h.value.Reveal())
	}
}
