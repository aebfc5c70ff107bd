package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
)

// TestIss is the table of RFC 9207 section 2.4 and MCP 2026-07-28, for codes and for errors alike.
func TestIss(t *testing.T) {
	const issuer = "https://idp.example.com/t1"
	for _, c := range []struct {
		name       string
		advertised bool
		iss        []string // values in the response
		accepted   bool
	}{
		{"advertised and equal", true, []string{issuer}, true},
		{"advertised and absent", true, nil, false},
		{"advertised and different", true, []string{"https://evil.example.com"}, false},
		{"advertised and empty", true, []string{""}, false},
		{"not advertised and equal", false, []string{issuer}, true},
		{"not advertised and absent", false, nil, true},
		{"not advertised and different", false, []string{"https://evil.example.com"}, false},
		{"not advertised and empty", false, []string{""}, false},
		{"twice", true, []string{issuer, "https://evil.example.com"}, false},
		{"trailing slash", true, []string{issuer + "/"}, false},
		{"host in capitals", true, []string{"https://IDP.example.com/t1"}, false},
		{"default port", true, []string{"https://idp.example.com:443/t1"}, false},
		{"percent-encoded", true, []string{"https://idp.example.com/%741"}, false},
	} {
		for _, result := range []string{"code", "error"} {
			cb := callback{host: "127.0.0.1:1", path: "/callback", state: secret.New("s"), issuer: issuer, issAdvertised: c.advertised}
			query := url.Values{"state": {"s"}, result: {"access_denied"}, "error_description": {"MARKER"}}
			if c.iss != nil {
				query["iss"] = c.iss
			}
			request := httptest.NewRequest(http.MethodGet, "/callback?"+query.Encode(), nil)
			request.Host = cb.host
			got, err := cb.read(request)
			if (err == nil) != c.accepted {
				t.Errorf("%s, %s: %v", c.name, result, err)
			}
			if err != nil && (got.err != nil || !got.code.IsZero() || strings.Contains(err.Error(), "MARKER")) {
				t.Errorf("%s, %s: a refused response is acted on: %v", c.name, result, err)
			}
		}
	}
}

// pending starts a sign-in that nobody has opened yet, and returns it with its redirect URI and state.
func (st *stage) pending(s *Session) (p SignIn, redirect *url.URL, state string) {
	st.t.Helper()
	verdict, err := s.Challenged(st.t.Context(), st.send(s), Attempt{})
	if verdict != Pending || err != nil {
		st.t.Fatalf("challenged: %v, %v", verdict, err)
	}
	p, ok := s.Pending()
	if !ok {
		st.t.Fatal("no sign-in is pending")
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		st.t.Fatal(err)
	}
	redirect, err = url.Parse(u.Query().Get("redirect_uri"))
	if err != nil {
		st.t.Fatal(err)
	}
	return p, redirect, u.Query().Get("state")
}

// TestCallbackAttacks sends everything to the open port that others could send. None of it changes anything, and the
// real response still wins.
func TestCallbackAttacks(t *testing.T) {
	st := newStage(t)
	s := st.session()
	p, redirect, state := st.pending(s)
	base := redirect.String()
	iss := "&iss=" + url.QueryEscape(st.Issuer())
	for _, c := range []struct {
		name, method, url, host string
		status                  int
	}{
		{name: "error without state", url: base + "?error=access_denied", status: 400},
		{name: "code with unknown state", url: base + "?code=EVIL&state=unknown", status: 400},
		{name: "code without state", url: base + "?code=EVIL", status: 400},
		{name: "code with empty state", url: base + "?code=EVIL&state=", status: 400},
		{name: "nothing", url: base, status: 400},
		{name: "name that leads to loopback", url: base + "?error=x&state=" + state + iss, host: "evil.example", status: 400},
		{name: "right host, other port", url: base + "?error=x&state=" + state + iss, host: "127.0.0.1:1", status: 400},
		{name: "localhost for 127.0.0.1", url: base + "?error=x&state=" + state + iss, host: "localhost:" + redirect.Port(), status: 400},
		{name: "other path", url: "http://" + redirect.Host + "/?code=EVIL&state=" + state + iss, status: 404},
		{name: "path below", url: base + "/x?code=EVIL&state=" + state + iss, status: 404},
		{name: "encoded path", url: "http://" + redirect.Host + "/%63allback?code=EVIL&state=" + state + iss, status: 404},
		{name: "favicon", url: "http://" + redirect.Host + "/favicon.ico", status: 404},
		{name: "POST", method: http.MethodPost, url: base + "?error=x&state=" + state + iss, status: 400},
		{name: "HEAD", method: http.MethodHead, url: base + "?error=x&state=" + state + iss, status: 400},
		{name: "OPTIONS", method: http.MethodOptions, url: base + "?error=x&state=" + state + iss, status: 400},
		{name: "two states", url: base + "?error=x&state=" + state + "&state=x" + iss, status: 400},
		{name: "two codes", url: base + "?code=EVIL&code=EVIL2&state=" + state + iss, status: 400},
		{name: "broken query", url: base + "?error=%zz&state=" + state + iss, status: 400},
		{name: "iss missing", url: base + "?error=x&state=" + state, status: 400},
		{name: "iss of another", url: base + "?error=x&state=" + state + "&iss=https%3A%2F%2Fevil.example", status: 400},
		{name: "neither code nor error", url: base + "?state=" + state + iss, status: 400},
		{name: "state in capitals", url: base + "?error=x&state=" + strings.ToUpper(state) + iss, status: 400},
		{name: "state with more", url: base + "?error=x&state=" + state + "x" + iss, status: 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := visit(t, c.method, c.url, c.host)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			if strings.Contains(body, "EVIL") || strings.Contains(body, "signed in") {
				t.Errorf("the page says %q", body)
			}
			if now, ok := s.Pending(); !ok || now.URL != p.URL {
				t.Error("the sign-in is not the same any more")
			}
		})
	}
	if n := st.IdP.Counts().TokenRequests["authorization_code"]; n != 0 {
		t.Errorf("%d codes were redeemed", n)
	}
	p.Present(nil)
	<-p.Done
	if err := p.Err(); err != nil {
		t.Errorf("the real response lost: %v", err)
	}
	st.mustCall(s)
	if _, err := net.DialTimeout("tcp", redirect.Host, time.Second); err == nil {
		t.Error("the port is still open")
	}
}

func visit(t *testing.T, method, url, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestReplayedResponse sends the valid response twice at once: one of them counts.
func TestReplayedResponse(t *testing.T) {
	st := newStage(t)
	s := st.session()
	p, redirect, state := st.pending(s)
	hold, held := make(chan struct{}), make(chan struct{})
	st.IdP.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			close(held)
			<-hold
		}
		return false
	})
	p.Present(nil)
	<-held
	query := url.Values{"code": {"EVIL"}, "state": {state}, "iss": {st.Issuer()}}
	if status, body := visit(t, "", redirect.String()+"?"+query.Encode(), ""); status != 400 || !strings.Contains(body, "Already done") {
		t.Errorf("the second response: status %d, %q", status, body)
	}
	close(hold)
	<-p.Done
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

// TestProviderSaysNo shows the error of the provider once state and iss hold, escaped and cut.
func TestProviderSaysNo(t *testing.T) {
	st := newStage(t)
	st.IdP.Deactivate("ada")
	s := st.session()
	_, err := st.call(s)
	var refusal *OAuthError
	if !errors.As(err, &refusal) || refusal.Code != "access_denied" || refusal.Hint() == "" {
		t.Errorf("call gave %v", err)
	}
	if page := <-st.pages; !strings.Contains(page, "this account is deactivated") {
		t.Errorf("the page is %q", page)
	}
	st.IdP.Activate("ada")
	st.mustCall(s) // another sign-in may follow
}

// TestIssFromProvider plays the table against a provider that sends it so.
func TestIssFromProvider(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults demo.Faults
		good   bool
	}{
		{"advertised and sent", demo.Faults{}, true},
		{"advertised and missing", demo.Faults{NoIss: true}, false},
		{"advertised and wrong", demo.Faults{WrongIss: "https://evil.example"}, false},
		{"not advertised and sent", demo.Faults{NoIssAdvertised: true}, true},
		{"not advertised and missing", demo.Faults{NoIssAdvertised: true, NoIss: true}, true},
		{"not advertised and wrong", demo.Faults{NoIssAdvertised: true, WrongIss: "https://evil.example"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t)
			st.IdP.SetFaults(c.faults)
			s := st.session()
			p, _, _ := st.pending(s)
			p.Present(nil)
			page := <-st.pages
			if got := strings.Contains(page, "You are signed in"); got != c.good {
				t.Errorf("the page is %q", page)
			}
			if _, ok := s.Pending(); !c.good && !ok {
				t.Error("the wrong response ended the sign-in")
			}
			s.Close()
			<-p.Done
			if n := st.IdP.Counts().TokenRequests["authorization_code"]; (n == 1) != c.good {
				t.Errorf("%d codes were redeemed", n)
			}
		})
	}
}

// TestDeadline ends a sign-in for real: the error says so, the port is free, and the next request may start another.
func TestDeadline(t *testing.T) {
	st := newStage(t)
	s := st.session(func(c *Config) { c.LoginTimeout = 50 * time.Millisecond })
	p, redirect, _ := st.pending(s)
	if left := p.Deadline.Sub(st.clock.Now()); left > 50*time.Millisecond {
		t.Errorf("the deadline is %v away", left)
	}
	<-p.Done
	wantError(t, p.Err(), "nobody signed in")
	wantFree(t, redirect.Host)
	if _, ok := s.Pending(); ok {
		t.Error("it is still pending")
	}
	if again, _, _ := st.pending(s); again.URL == p.URL {
		t.Error("the next sign-in is the old one")
	}
}

// TestMixUpIsToldAtTheDeadline tells the human why nothing came of a sign-in that they completed.
func TestMixUpIsToldAtTheDeadline(t *testing.T) {
	st := newStage(t)
	s := st.session(func(c *Config) { c.LoginTimeout = 500 * time.Millisecond })
	p, redirect, state := st.pending(s)
	visit(t, "", redirect.String()+"?code=x&state="+state, "")
	<-p.Done
	wantError(t, p.Err(), "iss is missing")
	if !strings.Contains(st.said.String(), "iss is missing") {
		t.Error("no notice said so")
	}
}

func wantFree(t *testing.T, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the port is taken: %v", err)
	}
	_ = ln.Close() // only tried
}

func TestClose(t *testing.T) {
	st := newStage(t)
	s := st.session()
	p, redirect, _ := st.pending(s)
	s.Close()
	select {
	case <-p.Done:
	default:
		t.Error("Close returned before the sign-in had ended")
	}
	if !errors.Is(p.Err(), errClosed) {
		t.Errorf("it ended with %v", p.Err())
	}
	wantFree(t, redirect.Host)
	if v, err := s.Challenged(t.Context(), st.send(s), Attempt{}); v != Refused || !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v, %v", v, err)
	}
	s.Close() // once more does no harm
}

// TestAuthorizationURL checks every parameter of the request.
func TestAuthorizationURL(t *testing.T) {
	st := newStage(t)
	p, redirect, state := st.pending(st.session())
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	c, err := st.clientID()
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"response_type": {"code"}, "client_id": {c}, "redirect_uri": {redirect.String()},
		"scope": {"mcp offline_access"}, "state": {state}, "resource": {st.URL()},
		"code_challenge": {query.Get("code_challenge")}, "code_challenge_method": {"S256"},
	}
	if diff := cmp.Diff(want, query); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(state); err != nil || len(raw) != 32 {
		t.Errorf("state is %d bytes, %v", len(raw), err)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(query.Get("code_challenge")); err != nil || len(raw) != sha256.Size {
		t.Errorf("code_challenge is %d bytes, %v", len(raw), err)
	}
}

// TestPresent shows the URL once, and names it when there is no browser.
func TestPresent(t *testing.T) {
	opened := make(chan string, 10)
	for _, c := range []struct {
		name  string
		open  func(string) error
		lines []string // what each notice says, beside or instead of the address
	}{
		{"browser", func(u string) error { opened <- u; return nil }, []string{"opening a browser"}},
		{"no browser", nil, []string{"to sign in to", "drawbridge login"}},
		{"browser fails", func(u string) error { opened <- u; return errors.New("no display") }, []string{"opening a browser", "no browser could be opened"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t)
			notices := make(chan string, 10)
			s := st.session(func(cfg *Config) {
				cfg.Open, cfg.Notice = c.open, func(line string) { notices <- line }
			})
			p, _, _ := st.pending(s)
			for range 3 {
				p.Present(nil)
			}
			if c.open != nil && <-opened != p.URL {
				t.Error("the browser got another URL")
			}
			for i, want := range c.lines {
				if line := <-notices; !strings.Contains(line, want) || i == 0 && !strings.Contains(line, p.URL) {
					t.Errorf("notice %d is %q, want %q in it, and the address in the first", i, line, want)
				}
			}
			if len(opened) > 0 || len(notices) > 0 {
				t.Error("it was presented more than once")
			}
		})
	}
}

// TestPage checks the headers of the page and that its style sheet is the one they allow.
func TestPage(t *testing.T) {
	rec := httptest.NewRecorder()
	page{Title: "<script>alert(1)</script>", Text: `"'&<`, Server: "https://a/<b>", Account: "<ada>", Scopes: []string{"<s>"}}.show(rec, 200)
	body := rec.Body.String()
	for _, forbidden := range []string{"<script", "<ada>", "<s>", "<b>", "src=", "http-equiv", "href="} {
		if strings.Contains(body, forbidden) {
			t.Errorf("the page contains %q", forbidden)
		}
	}
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(body)
	if style == nil {
		t.Fatal("the page has no style sheet")
	}
	sum := sha256.Sum256([]byte(style[1]))
	want := http.Header{
		"Content-Type":  {"text/html; charset=utf-8"},
		"Cache-Control": {"no-store"},
		"Content-Security-Policy": {"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
		"Referrer-Policy": {"no-referrer"}, "X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"DENY"},
		"Cross-Origin-Opener-Policy": {"same-origin"}, "Connection": {"close"},
	}
	got := rec.Header().Clone()
	got.Del("Content-Length")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

// TestLogin is what the login command does: no refusal comes first.
func TestLogin(t *testing.T) {
	st := newStage(t)
	s := st.session()
	c, err := s.SignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stored, err := st.stored(); err != nil || !stored.AccessToken.Equal(c.AccessToken) {
		t.Errorf("the store holds another credential, or %v", err)
	}
	if _, err := s.SignIn(t.Context()); err != nil { // again, although signed in
		t.Fatal(err)
	}
	st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 1})
	st.mustCall(s)
}

// TestLoginAtAnOpenServer says that none is needed.
func TestLoginAtAnOpenServer(t *testing.T) {
	st := newStage(t, func(c *demo.Config) { c.Server.Open, c.Server.Metadata = true, demo.MetadataNowhere })
	st.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		answerStatus(map[bool]int{true: 200, false: 404}[r.URL.Path == "/mcp"], "")(w, r)
		return true
	})
	_, err := st.session().SignIn(t.Context())
	wantError(t, err, "answers without a sign-in")
}

// TestLoginAtASilentServer goes on to the well-known places when the server's stream says nothing.
func TestLoginAtASilentServer(t *testing.T) {
	st := newStage(t)
	release := make(chan struct{})
	st.Server.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && r.URL.Path == "/mcp" {
			<-release
		}
		return false
	})
	s := st.session()
	s.fetch.get.Timeout = 100 * time.Millisecond
	_, err := s.probe(t.Context(), secret.Text{})
	close(release)
	wantError(t, err, "")
	if err := st.Server.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.SignIn(t.Context())
	wantError(t, err, "ask the server for its sign-in")
}

// TestLoginLeftEarly leaves the sign-in under way.
func TestLoginLeftEarly(t *testing.T) {
	st := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := st.session(func(c *Config) { c.Open = func(string) error { cancel(); return nil } })
	if _, err := s.SignIn(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("SignIn gave %v", err)
	}
	if _, ok := s.Pending(); !ok {
		t.Error("the sign-in ended with its caller")
	}
}

// clientID is the id of the registration in the store.
func (st *stage) clientID() (string, error) {
	reg, err := st.registration()
	return reg.Client.ID, err
}
