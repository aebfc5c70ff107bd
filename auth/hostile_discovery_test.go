package auth

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// others is part of the hint at what only the people behind a server or an identity provider can mend.
const others = "whoever runs"

// TestHostileServer has an MCP server mislead the search for its authorization server. Nothing is opened, nothing lost.
func TestHostileServer(t *testing.T) {
	big := strings.Repeat("a", 1<<20)
	thousand := make([]string, 1000)
	for i := range thousand {
		thousand[i] = "http://idp.example.com"
	}
	play(t, []misdeed{
		{name: "resource of another host", do: claimed("resource", always("https://mcp.example.com/mcp")), err: "its resource is", hint: "use the URL"},
		{name: "resource of a sibling path", do: claimed("resource", func(st *stage) any { return st.URL() + "2" }), err: "its resource is", hint: "use the URL"},
		{name: "resource of a path below", do: claimed("resource", func(st *stage) any { return st.URL() + "/x" }), err: "its resource is", hint: "use the URL"},
		{name: "resource of another port", do: claimed("resource", func(st *stage) any { return st.Issuer() + "/mcp" }), err: "its resource is", hint: "use the URL"},
		{name: "no resource", do: claimed("resource", always(nil)), err: "its resource is", hint: "use the URL"},
		{name: "resource of the wrong type", do: claimed("resource", always([]int{1})), err: "not the JSON that is due", hint: "--issuer"},
		{name: "no authorization server", do: claimed("authorization_servers", always([]string{})), err: "names no authorization server", hint: "--issuer"},
		{name: "authorization servers of the wrong type", do: claimed("authorization_servers", always("https://idp.example.com")), err: "not the JSON that is due", hint: "--issuer"},
		{name: "an empty authorization server", do: claimed("authorization_servers", always([]string{""})), err: "want https", hint: others},
		{name: "an authorization server that is no URL", do: claimed("authorization_servers", always([]string{"::not a url"})), err: "not a URL that can be used", hint: others},
		{name: "javascript: authorization server", do: claimed("authorization_servers", always([]string{"javascript:alert(1)"})), err: "not a URL that can be used", hint: others},
		{name: "file: authorization server", do: claimed("authorization_servers", always([]string{"file:///etc/passwd"})), err: "want https", hint: others},
		{name: "http authorization server", do: claimed("authorization_servers", always([]string{"http://idp.example.com"})), err: "plain http", hint: others},
		{name: "authorization server with a user", do: claimed("authorization_servers", always([]string{"https://idp@example.com"})), err: "no user", hint: others},
		{name: "1000 authorization servers", do: claimed("authorization_servers", always(thousand)), err: "plain http", hint: others},
		{name: "authorization server that turns the writing", do: claimed("authorization_servers", always([]string{"https://idp.example.com/\u202egnp"})), err: "percent-encoding", hint: others},
		{name: "authorization server with a query", do: claimed("authorization_servers", func(st *stage) any { return []string{st.Issuer() + "?tenant=x"} }), err: "no query", hint: others},
		{name: "authorization server with a path of another tenant", do: claimed("authorization_servers", func(st *stage) any { return []string{st.Issuer() + "/evil"} }), err: "status 404", hint: others},
		{name: "truncated resource metadata", do: atServer(atPath, answerStatus(200, `{"resource":"`)), err: "not the JSON that is due", hint: "--issuer"},
		{name: "a page for resource metadata", do: atServer(atPath, answerStatus(200, htmlPage+"<script>")), err: "HTML page", hint: "--issuer"},
		{name: "giant resource metadata", do: atServer(atPath, answerStatus(200, `{"x":"`+big+`"}`)), err: "larger than 1 MiB", hint: others},
		{name: "resource metadata that unpacks to much", do: atServer(atPath, bomb), err: "larger than 1 MiB", hint: others},
		{name: "resource metadata that never comes", do: atServer(atPath, hang), patience: 100 * time.Millisecond, err: "Client.Timeout", hint: others},
		{name: "resource metadata that never ends", do: atServer(atPath, drip), patience: 100 * time.Millisecond, err: "read answer", hint: others},
		{name: "resource metadata of another origin", do: atServer(atPath, sendTo(302, "https://mcp.example.com/x")), err: "redirects to another origin", hint: "--issuer"},
		{name: "resource metadata in a circle", do: atServer(atPath, sendTo(302, atPath)), err: "redirect", hint: "--issuer"},
		{name: "an outage of resource metadata", do: atServer(atPath, answerStatus(503, "")), err: "status 503", hint: others},
		{name: "javascript: resource_metadata", do: challenging(`Bearer resource_metadata="javascript:alert(1)"`), err: "not a URL that can be used", hint: others},
		{name: "file: resource_metadata", do: challenging(`Bearer resource_metadata="file:///etc/passwd"`), err: "want https", hint: others},
		{name: "http resource_metadata elsewhere", do: challenging(`Bearer resource_metadata="http://mcp.example.com/x"`), err: "plain http", hint: others},
		{name: "resource_metadata with a user", do: challenging(`Bearer resource_metadata="https://127.0.0.1@mcp.example.com/x"`), err: "no user", hint: others},
		{name: "another scheme than Bearer", do: func(st *stage) {
			st.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("WWW-Authenticate", `Basic realm="\u001b[2J"`)
				w.WriteHeader(map[bool]int{true: 401, false: 404}[r.URL.Path == "/mcp"])
				return r.Header.Get("Authorization") == ""
			})
		}, err: "authenti", hint: "--header"},
		{name: "a scope that does not exist", do: challenging(`Bearer scope="all"`), err: "invalid_scope", hint: "--scope", tabs: 1},
	})
}

// TestHostileMetadataEndToEnd has the authorization server's metadata say what must not be believed.
func TestHostileMetadataEndToEnd(t *testing.T) {
	big := strings.Repeat("a", 1<<20)
	play(t, []misdeed{
		{name: "another issuer", do: statedBy("issuer", "https://evil.example.com"), err: "its issuer is", hint: "--trust-issuer"},
		{name: "issuer with a slash at the end", do: statedBy("issuer", "ISSUER/"), err: "its issuer is", hint: "--trust-issuer"},
		{name: "issuer in capitals", do: statedBy("issuer", "HTTP://127.0.0.1"), err: "its issuer is", hint: "--trust-issuer"},
		{name: "no issuer", do: statedBy("issuer", nil), err: "its issuer is", hint: "--trust-issuer"},
		{name: "issuer with escapes", do: statedBy("issuer", "\x1b[2Jhttps://evil.example"), err: `"[2Jhttps://evil.example"`, hint: "--trust-issuer"},
		{name: "javascript: authorization endpoint", do: statedBy("authorization_endpoint", "javascript:alert(1)"), err: "authorization_endpoint", hint: others},
		{name: "data: authorization endpoint", do: statedBy("authorization_endpoint", "data:text/html,<script>alert(1)</script>"), err: "authorization_endpoint", hint: others},
		{name: "file: authorization endpoint", do: statedBy("authorization_endpoint", "file:///etc/passwd"), err: "authorization_endpoint", hint: others},
		{name: "a command as authorization endpoint", do: statedBy("authorization_endpoint", "-a Calculator"), err: "authorization_endpoint", hint: others},
		{name: "relative authorization endpoint", do: statedBy("authorization_endpoint", "/authorize"), err: "authorization_endpoint", hint: others},
		{name: "protocol-relative authorization endpoint", do: statedBy("authorization_endpoint", "//evil.example/authorize"), err: "authorization_endpoint", hint: others},
		{name: "no authorization endpoint", do: statedBy("authorization_endpoint", nil), err: "authorization_endpoint", hint: others},
		{name: "http authorization endpoint", do: statedBy("authorization_endpoint", "http://idp.example.com/a"), err: "authorization_endpoint", hint: others},
		{name: "authorization endpoint with a fragment", do: statedBy("authorization_endpoint", "ISSUER/authorize#x"), err: "no fragment", hint: others},
		{name: "authorization endpoint with a user", do: statedBy("authorization_endpoint", "https://idp.example.com:443@evil.example/a"), err: "no user", hint: others},
		{name: "authorization endpoint that looks like another", do: statedBy("authorization_endpoint", "https://іdp.example.com/a"), err: "ASCII", hint: others},
		{name: "authorization endpoint that turns the writing", do: statedBy("authorization_endpoint", "https://idp.example.com/\u202egnp"), err: "percent-encoding", hint: others},
		{name: "authorization endpoint with parameters of its own", do: statedBy("authorization_endpoint", "ISSUER/authorize?client_id=evil&state=x"), err: "authorization_endpoint", hint: others},
		{name: "authorization endpoint with a request object", do: statedBy("authorization_endpoint", "ISSUER/authorize?request_uri=urn:evil"), err: "authorization_endpoint", hint: others},
		{name: "http token endpoint", do: statedBy("token_endpoint", "http://idp.example.com/t"), err: "token_endpoint", hint: others},
		{name: "no token endpoint", do: statedBy("token_endpoint", nil), err: "token_endpoint", hint: others},
		{name: "token endpoint of the wrong type", do: statedBy("token_endpoint", 7), err: "not the JSON that is due", hint: others},
		{name: "http registration endpoint", do: statedBy("registration_endpoint", "http://idp.example.com/r"), err: "registration_endpoint", hint: others},
		{name: "http revocation endpoint", do: statedBy("revocation_endpoint", "http://idp.example.com/r"), err: "revocation_endpoint", hint: others},
		{name: "no PKCE", do: statedBy("code_challenge_methods_supported", nil), err: "S256", hint: "PKCE"},
		{name: "plain PKCE only", do: statedBy("code_challenge_methods_supported", []string{"plain"}), err: "S256", hint: "PKCE"},
		{name: "PKCE of the wrong type", do: statedBy("code_challenge_methods_supported", "S256"), err: "not the JSON that is due", hint: others},
		{name: "truncated metadata", do: atMetadata(answerStatus(200, `{"issuer":"`)), err: "not the JSON that is due", hint: others},
		{name: "a list for metadata", do: atMetadata(answerStatus(200, `[]`)), err: "not the JSON that is due", hint: others},
		{name: "null for metadata", do: atMetadata(answerStatus(200, `null`)), err: "its issuer is", hint: "--trust-issuer"},
		{name: "a page for metadata", do: atMetadata(answerStatus(200, htmlPage+"<script>")), err: "HTML page", hint: others},
		{name: "giant metadata", do: atMetadata(answerStatus(200, `{"x":"`+big+`"}`)), err: "larger than 1 MiB", hint: others},
		{name: "metadata that unpacks to much", do: atMetadata(bomb), err: "larger than 1 MiB", hint: others},
		{name: "deep metadata", do: atMetadata(answerStatus(200, strings.Repeat(`{"a":`, 100_000))), err: "not the JSON that is due", hint: others},
		{name: "metadata that never comes", do: atMetadata(hang), patience: 100 * time.Millisecond, err: "Client.Timeout", hint: others},
		{name: "metadata that never ends", do: atMetadata(drip), patience: 100 * time.Millisecond, err: "read answer", hint: others},
		{name: "metadata of another origin", do: atMetadata(sendTo(302, "https://evil.example.com/x")), err: "redirects to another origin", hint: others},
		{name: "an outage of metadata", do: atMetadata(answerStatus(500, "")), err: "status 500", hint: others},
	})
}
