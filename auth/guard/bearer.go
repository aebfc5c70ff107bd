package guard

import (
	"net/http"
	"net/url"
	"strings"

	"drawbridge/internal/secret"
)

// maxTokenBytes is the longest token that is looked at. Real ones with many groups reach 8 kB.
const maxTokenBytes = 16 << 10

// bearer finds the token of a request. The only place for it is one Authorization header (MCP, authorization: not in
// the query; RFC 6750 section 2: no two methods at once).
func bearer(r *http.Request) (secret.Text, *refusal) {
	if inQuery(r.URL.RawQuery) {
		return secret.Text{}, badRequest("send the access token in the Authorization header, never in the query")
	}
	lines := r.Header.Values("Authorization")
	switch len(lines) {
	case 0:
		return secret.Text{}, noToken()
	case 1:
		return credentials(lines[0])
	}
	return secret.Text{}, badRequest("the request has several Authorization headers")
}

// inQuery reports whether a query has the parameter of RFC 6750 section 2.3. What does not parse is looked at as well.
func inQuery(raw string) bool {
	if !strings.Contains(raw, "_") && !strings.Contains(raw, "%") {
		return false
	}
	split := func(r rune) bool { return r == '&' || r == ';' }
	for _, pair := range strings.FieldsFunc(raw, split) {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if name == "access_token" {
			return true
		}
	}
	return false
}

// credentials reads the value of an Authorization header (RFC 9110 section 11.4, RFC 6750 section 2.1). An empty token,
// which some clients send before they have one, counts as none.
func credentials(line string) (secret.Text, *refusal) {
	scheme, token, _ := strings.Cut(line, " ")
	token = strings.Trim(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return secret.Text{}, noToken()
	case len(token) > maxTokenBytes:
		return secret.Text{}, badRequest("the access token is longer than 16 kB: ask for fewer claims at the identity provider")
	case !legible(token):
		return secret.Text{}, badToken("the access token has characters that no token has")
	}
	return secret.New(token), nil
}

// legible reports whether a token has only characters that some token has: those of RFC 6750 section 2.1 and, in static
// tokens, others that are visible. Byte by byte, because this runs over every token of every request.
func legible(token string) bool {
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' || c == '"' || c == ',' {
			return false
		}
	}
	return true
}
