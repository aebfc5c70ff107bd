package demo_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
)

// TestTokenChecks: every way in which a token can be the wrong one (RFC 9068 §4), on every HTTP method.
func TestTokenChecks(t *testing.T) {
	w := start(t, demo.Config{IdP: demo.IdPConfig{Resources: []string{"https://other.example/mcp"}}})
	foreign := start(t, demo.Config{IdP: demo.IdPConfig{Resources: []string{w.URL()}}})
	a := registered(t, w)
	a.scope = "mcp openid"
	good := a.signIn(demo.Ada())
	a.resource = "https://other.example/mcp"
	otherAudience := a.signIn(demo.Ada())
	b := registered(t, foreign)
	b.resource = w.URL()
	otherIssuer := b.signIn(demo.Ada())
	a.resource, a.scope = w.URL(), "offline_access"
	otherScope := a.signIn(demo.Ada())

	invalid := `Bearer error="invalid_token", error_description="%", scope="mcp", resource_metadata="` +
		w.Server.Origin() + `/.well-known/oauth-protected-resource/mcp"`
	because := func(why string) string { return strings.Replace(invalid, "%", why, 1) }
	nothing := strings.Replace(because(""), `error="invalid_token", error_description="", `, "", 1)
	for _, tt := range []struct {
		name, authorization string
		status              int
		challenge           string
	}{
		{"none", "", 401, nothing},
		{"other scheme", "Basic " + good.Access, 401, nothing},
		{"no token", "Bearer ", 401, nothing},
		{"nonsense", "Bearer x", 401, because("the access token is not a signed JWT")},
		{"refresh token", "Bearer " + good.Refresh, 401, because("the access token is not a signed JWT")},
		{"id token", "Bearer " + good.ID, 401, because("the JWT is not an access token")},
		{"other audience", "Bearer " + otherAudience.Access, 401, because("the access token is for another resource")},
		{"other issuer", "Bearer " + otherIssuer.Access, 401, because("the key of the access token is not known")},
		{"tampered", "Bearer " + tamper(good.Access, otherAudience.Access), 401, because("the signature of the access token is wrong")},
		{"unsigned", "Bearer " + unsigned(good.Access), 401, because("the access token is not a signed JWT")},
		{"own key", "Bearer " + selfSigned(t, good.Access), 401, because("the access token is not a signed JWT")},
		{"other scope", "Bearer " + otherScope.Access, 403,
			strings.Replace(because("the operation needs more scopes"), "invalid_token", "insufficient_scope", 1)},
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
			h := http.Header{"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"}, "Mcp-Session-Id": {"x"}}
			if tt.authorization != "" {
				h.Set("Authorization", tt.authorization)
			}
			resp, body := do(t, newRequest(t, method, w.URL(), initialize, h))
			if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != tt.status || got != tt.challenge {
				t.Errorf("%s %s: got %d\n%s\nwant %d\n%s", method, tt.name, resp.StatusCode, got, tt.status, tt.challenge)
			}
			if strings.Contains(string(body), "CANARY") || tt.authorization != "" && strings.Contains(string(body), good.Access) {
				t.Errorf("%s %s: the answer shows a token", method, tt.name)
			}
		}
	}
	if resp, _ := do(t, newRequest(t, http.MethodPost, w.URL()+"?access_token="+good.Access, initialize, nil)); resp.StatusCode != 401 {
		t.Errorf("a token in the query got %d", resp.StatusCode)
	}
	if resp, _ := post(t, w.URL(), good.Access, initialize); resp.StatusCode != http.StatusOK {
		t.Errorf("the right token got %d", resp.StatusCode)
	}
	if diff := cmp.Diff(map[int]int{401: 34, 403: 3}, w.Server.Counts().Refused); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
}

// tamper gives a token the claims of another.
func tamper(token, other string) string {
	parts, with := strings.Split(token, "."), strings.Split(other, ".")
	return parts[0] + "." + with[1] + "." + parts[2]
}

// unsigned says that the token needs no signature: {"alg":"none","typ":"at+jwt"}.
func unsigned(token string) string {
	return "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + strings.Split(token, ".")[1] + "."
}

// selfSigned signs the same claims with a symmetric key, the algorithm confusion of old JWT libraries.
func selfSigned(t *testing.T, token string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := jwt.Signed(signer).Claims(claims(t, token)).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return forged
}

// TestStepUp: the challenge of an operation names all scopes that it needs (2026-07-28 authorization, step-up).
func TestStepUp(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	little := a.signIn(demo.Ada())
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"admin","arguments":{}}}`
	for _, body := range []string{call, "[" + call + "]"} {
		resp, _ := post(t, w.URL(), little.Access, body)
		want := `Bearer error="insufficient_scope", error_description="the operation needs more scopes", scope="mcp mcp:admin", resource_metadata="` +
			w.Server.Origin() + `/.well-known/oauth-protected-resource/mcp"`
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != http.StatusForbidden || got != want {
			t.Errorf("got %d\n%s\nwant\n%s", resp.StatusCode, got, want)
		}
	}
	if got := w.Server.Counts().Executions["admin"]; got != 0 {
		t.Errorf("admin ran %d times", got)
	}
	const twoNames = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"admin","Name":"echo","arguments":{}}}`
	h := http.Header{"Authorization": {"Bearer " + little.Access}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Session-Id": {connect(t, w.URL(), little.Access, nil).ID()}}
	if _, body := do(t, newRequest(t, http.MethodPost, w.URL(), twoNames, h)); !strings.Contains(string(body), "the scope mcp:admin is missing") {
		t.Errorf("a call with two names: %s", body)
	}
	a.scope = "mcp mcp:admin"
	if got := callText(t, connect(t, w.URL(), a.signIn(demo.Ada()).Access, nil), "admin", nil); got != "done as administrator" {
		t.Errorf("admin said %q", got)
	}
}

// TestMetadataPlaces: where the metadata is, what the challenge says of it, and which resource it is about.
func TestMetadataPlaces(t *testing.T) {
	w := start(t, demo.Config{})
	type found struct {
		Challenge string
		Resource  map[string]string // by path
	}
	o := w.Server.Origin()
	const atRoot, atPath, inHeader = "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp", "/who-protects-this"
	for place, want := range map[demo.MetadataPlace]found{
		demo.MetadataEverywhere: {o + atPath, map[string]string{atPath: o + "/mcp"}},
		demo.MetadataAtPath:     {"", map[string]string{atPath: o + "/mcp"}},
		demo.MetadataAtRoot:     {"", map[string]string{atRoot: o}},
		demo.MetadataInHeader:   {o + inHeader, map[string]string{inHeader: o + "/mcp"}},
		demo.MetadataNowhere:    {"", map[string]string{}},
	} {
		w.Server.SetMetadata(place)
		resp, _ := post(t, w.URL(), "", initialize)
		got := found{between(resp.Header.Get("WWW-Authenticate"), `resource_metadata="`, `"`), map[string]string{}}
		for _, path := range []string{atRoot, atPath, inHeader, atPath + "/more"} {
			if resp, body := get(t, o+path, nil); resp.StatusCode == http.StatusOK {
				got.Resource[path] = between(string(body), `"resource":"`, `"`)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("place %d (-want +got):\n%s", place, diff)
		}
	}
	w.Server.SetMetadata(demo.MetadataAtRoot)
	a := registered(t, w)
	forPath := a.signIn(demo.Ada())
	a.resource = o
	got := []int{}
	for _, token := range []string{forPath.Access, a.signIn(demo.Ada()).Access} {
		resp, _ := post(t, w.URL(), token, initialize)
		got = append(got, resp.StatusCode)
	}
	if diff := cmp.Diff([]int{401, 200}, got); diff != "" {
		t.Errorf("audience path, audience origin (-want +got):\n%s", diff)
	}
}

// TestWithoutTokens are the servers that need no sign-in.
func TestWithoutTokens(t *testing.T) {
	key := secret.New("CANARY-key-" + randomText())
	locked := start(t, demo.Config{Server: demo.ServerConfig{APIKey: key, APIKeyHeader: "X-Key"}})
	open := start(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	send := func(address, value string) (int, string) {
		h := http.Header{"Content-Type": {"application/json"}, "Accept": {"*/*"}, "X-Key": {value}}
		resp, _ := do(t, newRequest(t, http.MethodPost, address, initialize, h))
		return resp.StatusCode, resp.Header.Get("WWW-Authenticate")
	}
	for _, tt := range []struct {
		name, address, value, challenge string
		status                          int
	}{
		{"right key", locked.URL(), key.Reveal(), "", 200},
		{"wrong key", locked.URL(), "guess", "ApiKey header=X-Key", 401},
		{"no key", locked.URL(), "", "ApiKey header=X-Key", 401},
		{"open", open.URL(), "", "", 200},
	} {
		if status, challenge := send(tt.address, tt.value); status != tt.status || challenge != tt.challenge {
			t.Errorf("%s: got %d %q", tt.name, status, challenge)
		}
	}
	if resp, _ := get(t, open.Server.Origin()+"/.well-known/oauth-protected-resource/mcp", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an open server has metadata: %d", resp.StatusCode)
	}
	if got := callText(t, connect(t, open.URL(), "", nil), "whoami", nil); !strings.HasPrefix(got, "Nobody") {
		t.Errorf("whoami on an open server: %q", got)
	}
}

// TestSessionOfAnother: a session id in the hands of another person is worth nothing.
func TestSessionOfAnother(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	session := connect(t, w.URL(), a.signIn(demo.Ada()).Access, nil)
	h := http.Header{"Authorization": {"Bearer " + a.signIn(demo.Grace()).Access}, "Mcp-Session-Id": {session.ID()},
		"Content-Type": {"application/json"}, "Accept": {"*/*"}}
	resp, _ := do(t, newRequest(t, http.MethodPost, w.URL(), `{"jsonrpc":"2.0","id":1,"method":"ping"}`, h))
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("grace in the session of ada: %d", resp.StatusCode)
	}
}

// TestKeysOfAnIssuer: keys are found through the metadata, and through a JWKS URL for an issuer without any.
func TestKeysOfAnIssuer(t *testing.T) {
	idp, err := demo.StartIdP(t.Context(), demo.IdPConfig{Path: "/t"})
	if err != nil {
		t.Fatal(err)
	}
	defer idp.Close()
	for name, tt := range map[string]struct {
		jwks   string
		faults demo.Faults
		want   int
	}{
		"metadata":         {"", demo.Faults{}, 200},
		"URL":              {idp.Issuer() + "/jwks", demo.Faults{MetadataStatus: 404}, 200},
		"neither":          {"", demo.Faults{MetadataStatus: 404}, 401},
		"untrue metadata":  {"", demo.Faults{MetadataIssuer: "https://evil.example"}, 401},
		"unreachable keys": {"http://127.0.0.1:1/jwks", demo.Faults{}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			idp.SetFaults(demo.Faults{})
			s, err := demo.StartServer(t.Context(), demo.ServerConfig{Issuer: idp.Issuer(), JWKSURL: tt.jwks})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			idp.AddResource(s.URL())
			a := registered(t, &demo.World{IdP: idp, Server: s})
			token := a.signIn(demo.Ada()).Access
			idp.SetFaults(tt.faults)
			if resp, body := post(t, s.URL(), token, initialize); resp.StatusCode != tt.want {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
		})
	}
}

// TestSessions: opened, dropped as in a restart, deleted by the client.
func TestSessions(t *testing.T) {
	w := start(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	first := connect(t, w.URL(), "", nil)
	w.Server.DropSessions()
	if _, err := first.ListTools(t.Context(), nil); !errors.Is(err, mcp.ErrSessionMissing) {
		t.Errorf("after the sessions were dropped: %v", err)
	}
	second := connect(t, w.URL(), "", nil)
	if err := second.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	do(t, newRequest(t, http.MethodDelete, w.URL(), "", http.Header{"Mcp-Session-Id": {"guess"}}))
	got := w.Server.Counts()
	if got.Opened != 2 || got.Deleted != 1 {
		t.Errorf("opened %d, deleted %d, want 2 and 1", got.Opened, got.Deleted)
	}
}

func TestIntercept(t *testing.T) {
	w := start(t, demo.Config{Server: demo.ServerConfig{Open: true}})
	teapot := func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			rw.WriteHeader(http.StatusTeapot)
		}
		return r.Method == http.MethodPost
	}
	w.Server.SetIntercept(teapot)
	if resp, _ := post(t, w.URL(), "", initialize); resp.StatusCode != http.StatusTeapot {
		t.Errorf("intercepted: %d", resp.StatusCode)
	}
	w.Server.SetIntercept(nil)
	if resp, _ := post(t, w.URL(), "", initialize); resp.StatusCode != http.StatusOK {
		t.Errorf("no longer intercepted: %d", resp.StatusCode)
	}
}

func TestBroken(t *testing.T) {
	w := start(t, demo.Config{})
	type answer struct {
		Status            int
		ContentType, Body string
	}
	for kind, want := range map[string]answer{
		"html":       {200, "text/html; charset=utf-8", "<!doctype html>"},
		"truncated":  {200, "application/json", `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"na`},
		"wrongtype":  {200, "text/plain", `{"jsonrpc":"2.0","id":1,"result":{}}`},
		"dropped":    {200, "text/event-stream", ": one moment\n\nid: 1\ndata:\n\n"},
		"empty":      {200, "", ""},
		"redirected": {418, "text/plain; charset=utf-8", "a redirect"},
		"500":        {500, "text/plain; charset=utf-8", "panic: runtime error"},
		"503":        {503, "text/plain; charset=utf-8", "panic: runtime error"},
		"200":        {404, "text/plain; charset=utf-8", "404"},
	} {
		resp, body := post(t, w.Server.BrokenURL(kind), "", "{}")
		got := answer{resp.StatusCode, resp.Header.Get("Content-Type"), string(body[:min(len(body), len(want.Body))])}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
	resp, _ := post(t, w.Server.BrokenURL("redirect"), "", "{}")
	to := resp.Header.Get("Location")
	if want := strings.Replace(w.Server.BrokenURL("redirected"), "127.0.0.1", "localhost", 1); resp.StatusCode != 307 || to != want {
		t.Errorf("redirect: %d to %q", resp.StatusCode, to)
	}
	if resp, _ := post(t, w.Server.BrokenURL("429"), "", "{}"); resp.Header.Get("Retry-After") != "1" {
		t.Error("429 without Retry-After")
	}
	if resp, _ := get(t, w.Server.BrokenURL("html"), nil); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", resp.StatusCode)
	}
	if resp, err := http.Post(w.Server.BrokenURL("cut"), "application/json", strings.NewReader("{}")); !errors.Is(err, io.EOF) {
		t.Errorf("cut: %v %v", resp, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req := newRequest(t, http.MethodPost, w.Server.BrokenURL("hang"), "{}", nil).WithContext(ctx)
	if resp, err := http.DefaultClient.Do(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v %v", resp, err)
	}
}

// TestSmallEngine: without the SDK's engine the server has sessions and one tool.
func TestSmallEngine(t *testing.T) {
	s, err := demo.StartServer(t.Context(), demo.ServerConfig{Open: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	session := ""
	exchange := func(method, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Mcp-Session-Id", session)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
			session = id
		}
		return resp.StatusCode, string(text)
	}
	for _, tt := range []struct {
		method, body string
		status       int
		holds        string
	}{
		{"POST", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, 404, "no such session"},
		{"POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}`, 200, `"protocolVersion":"2025-06-18"`},
		{"POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, 202, ""},
		{"POST", `{"jsonrpc":"2.0","id":"a","method":"tools/list"}`, 200, `"id":"a"`},
		{"POST", `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"whoami"}}`, 200, "Nobody in particular"},
		{"POST", `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo"}}`, 200, "-32601"},
		{"POST", `{"jsonrpc":"2.0","id":4,"method":"ping"}`, 200, `"result":{}`},
		{"POST", `{`, 400, ""},
		{"GET", "", 405, ""},
		{"DELETE", "", 204, ""},
	} {
		if status, text := exchange(tt.method, tt.body); status != tt.status || !strings.Contains(text, tt.holds) {
			t.Errorf("%s %s: %d %s, want %d and %s", tt.method, tt.body, status, text, tt.status, tt.holds)
		}
	}
	s.DropSessions()
	if status, _ := exchange("POST", `{"jsonrpc":"2.0","id":5,"method":"ping"}`); status != 404 {
		t.Errorf("a dropped session is answered %d", status)
	}
	if c := s.Counts(); c.Opened != 1 || c.Executions["whoami"] != 1 {
		t.Errorf("counts %+v", c)
	}
}
