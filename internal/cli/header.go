package cli

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"drawbridge/internal/secret"
)

// header is one --header. Its value may well be a key.
type header struct {
	name  string
	value secret.Text
}

var (
	// tokenPattern is an HTTP field name (RFC 9110 section 5.6.2).
	tokenPattern    = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	variablePattern = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
)

// ownHeaders are set by the transport itself: another value would break it.
var ownHeaders = map[string]bool{
	"Accept": true, "Connection": true, "Content-Length": true, "Content-Type": true, "Host": true, "Last-Event-Id": true,
	"Mcp-Protocol-Version": true, "Mcp-Session-Id": true, "Transfer-Encoding": true, "Te": true, "Trailer": true, "Upgrade": true,
}

// parseHeaders reads "Name: value" with ${VAR} taken from the environment. An error never shows a value.
func parseHeaders(raw []string, lookup func(string) (string, bool)) ([]header, error) {
	var out []header
	for _, line := range raw {
		name, value, ok := strings.Cut(line, ":")
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		switch {
		case !ok || !tokenPattern.MatchString(name):
			return nil, usageError{hinted{errors.New("--header: the text is no header"), "write it as --header 'Name: value'"}}
		case ownHeaders[name]:
			return nil, usageError{fmt.Errorf("--header: %s is set by drawbridge itself", name)}
		}
		value, err := expand(strings.TrimSpace(value), lookup)
		if err != nil {
			return nil, fmt.Errorf("--header %s: %w", name, err)
		}
		out = append(out, header{name, secret.New(value)})
	}
	return out, nil
}

func expand(value string, lookup func(string) (string, bool)) (string, error) {
	var missing []string
	value = variablePattern.ReplaceAllStringFunc(value, func(ref string) string {
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
