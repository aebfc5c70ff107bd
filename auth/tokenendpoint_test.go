package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

func TestParseTokens(t *testing.T) {
	s := secret.New
	for _, c := range []struct {
		name   string
		status int // 200 if zero
		body   string
		want   tokens
		err    string
	}{
		{name: "whole", body: `{"access_token":"a","token_type":"Bearer","refresh_token":"r","expires_in":3600,"scope":"x y"}`,
			want: tokens{access: s("a"), refresh: s("r"), scopes: []string{"x", "y"}, lifetime: time.Hour}},
		{name: "least", body: `{"access_token":"a","token_type":"bearer"}`, want: tokens{access: s("a")}},
		{name: "empty refresh token", body: `{"access_token":"a","token_type":"bEaReR","refresh_token":""}`, want: tokens{access: s("a")}},
		{name: "empty scope", body: `{"access_token":"a","token_type":"Bearer","scope":""}`, want: tokens{access: s("a"), scopes: []string{}}},
		{name: "fraction", body: `{"access_token":"a","token_type":"Bearer","expires_in":90.5}`, want: tokens{access: s("a"), lifetime: 90500 * time.Millisecond}},
		{name: "string", body: `{"access_token":"a","token_type":"Bearer","expires_in":"60"}`, want: tokens{access: s("a"), lifetime: time.Minute}},
		{name: "negative", body: `{"access_token":"a","token_type":"Bearer","expires_in":-5}`, want: tokens{access: s("a")}},
		{name: "null", body: `{"access_token":"a","token_type":"Bearer","expires_in":null}`, want: tokens{access: s("a")}},
		{name: "no number", body: `{"access_token":"a","token_type":"Bearer","expires_in":"soon"}`, want: tokens{access: s("a")}},
		{name: "not a number", body: `{"access_token":"a","token_type":"Bearer","expires_in":"NaN"}`, want: tokens{access: s("a")}},
		{name: "for ever", body: `{"access_token":"a","token_type":"Bearer","expires_in":1e300}`, want: tokens{access: s("a"), lifetime: maxLifetime}},
		{name: "no type", body: `{"access_token":"CANARY"}`, err: "no token_type"},
		{name: "DPoP", body: `{"access_token":"CANARY","token_type":"DPoP"}`, err: `token_type is "DPoP"`},
		{name: "no token", body: `{"token_type":"Bearer"}`, err: "no access_token"},
		{name: "line break in token", body: `{"access_token":"CANARY\r\nX: y","token_type":"Bearer"}`, err: "no header can carry"},
		{name: "refused", status: 400, body: `{"error":"invalid_grant","error_description":"gone"}`, err: `"invalid_grant": "gone"`},
		{name: "refused with 200", body: `{"error":"invalid_grant"}`, err: `"invalid_grant"`},
		{name: "escapes", status: 400, body: `{"error":"x\u001b[2J","error_description":"a\r\nb"}`, err: `"x[2J": "ab"`},
		{name: "page", body: htmlPage, err: "HTML page"},
		{name: "page with 403", status: 403, body: htmlPage, err: "status 403"},
		{name: "truncated", body: `{"access_token":"CANARY","token_ty`, err: "not the JSON of RFC 6749"},
		{name: "wrong type", body: `{"access_token":"CANARY","token_type":"Bearer","refresh_token":8888}`, err: "not the JSON of RFC 6749"},
		{name: "redirect", status: 307, err: "redirects are not followed"},
		{name: "500", status: 500, body: "oops", err: "status 500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status := c.status
			if status == 0 {
				status = http.StatusOK
			}
			got, err := parseTokens(answer{status: status, body: []byte(c.body)})
			wantError(t, err, c.err)
			if err != nil && (strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "8888")) {
				t.Errorf("the error quotes the token: %v", err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(tokens{})); diff != "" {
				t.Errorf("tokens (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTemporary(t *testing.T) {
	for _, c := range []struct {
		err  OAuthError
		want bool
	}{
		{OAuthError{Code: "invalid_grant", Status: 400}, false},
		{OAuthError{Code: "invalid_grant", Status: 503}, true},
		{OAuthError{Code: "slow", Status: 429}, true},
		{OAuthError{Code: "temporarily_unavailable", Status: 400}, true},
		{OAuthError{Code: "server_error"}, true},
		{OAuthError{Code: "access_denied"}, false},
	} {
		if got := c.err.temporary(); got != c.want {
			t.Errorf("%+v is temporary: %v", c.err, got)
		}
	}
}

// TestTokenRequest checks what goes over the wire for each way of authentication, in one request each.
func TestTokenRequest(t *testing.T) {
	for _, c := range []struct {
		client tokenstore.Client
		user   string
		form   url.Values
	}{
		{tokenstore.Client{ID: "a:b", AuthMethod: "none"}, "", url.Values{"client_id": {"a:b"}}},
		{tokenstore.Client{ID: "a:b", Secret: secret.New("s %"), AuthMethod: "client_secret_basic"}, "a%3Ab:s+%25", url.Values{}},
		{tokenstore.Client{ID: "a", Secret: secret.New("s3cr3t"), AuthMethod: "client_secret_post"}, "", url.Values{"client_id": {"a"}, "client_secret": {"s3cr3t"}}},
	} {
		t.Run(c.client.AuthMethod, func(t *testing.T) {
			s := newScript(t)
			var form url.Values
			var header string
			s.on("/token", func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm() // compared below
				form, header = r.PostForm, r.Header.Get("Authorization")
				answerStatus(400, `{"error":"invalid_grant","error_description":"the code THECODE of s % is spent"}`)(w, r)
			})
			d := discoveryFor(t, s.URL+"/mcp", "")
			_, err := d.fetch.redeem(t.Context(), s.URL+"/token", c.client, url.Values{"code": {"THECODE"}}, false)
			wantError(t, err, "the code [secret] of")
			c.form.Set("code", "THECODE")
			if diff := cmp.Diff(c.form, form); diff != "" {
				t.Errorf("form (-want +got):\n%s", diff)
			}
			want := ""
			if c.user != "" {
				want = "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user))
			}
			if header != want {
				t.Errorf("Authorization is %q, want %q", header, want)
			}
			if n := len(s.requests()); n != 1 {
				t.Errorf("%d requests were made", n)
			}
		})
	}
}

// TestMalformedAnswer keeps an echo out of the error that net/http makes of an answer that is not HTTP.
func TestMalformedAnswer(t *testing.T) {
	for _, answer := range []string{
		"CANARY\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: \x00CANARY\r\n\r\n",
		"HTTP/1.1 CANARY OK\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: ://x?code=CANARY\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://x/%zz?CANARY\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: CANARY\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2CANARY\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: CANARY\r\n\r\n",
	} {
		s := newScript(t)
		s.on("/token", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = conn.Write([]byte(answer)) // the client sees what arrived
		})
		d := discoveryFor(t, s.URL+"/mcp", "")
		_, err := d.fetch.redeem(t.Context(), s.URL+"/token", tokenstore.Client{ID: "c"}, url.Values{"code": {"CANARY"}}, false)
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q gives %v", answer, err)
		}
	}
}

// TestRefusalOfAProxy: the words of whoever stands in the way neither reach the terminal as they are nor fill it.
func TestRefusalOfAProxy(t *testing.T) {
	refused := errors.New("Forbidden \x1b[2J\u202e" + strings.Repeat("x", 4<<10))
	got := netCause(&url.Error{Op: "Post", URL: "https://idp.example.com/token?q", Err: refused}).Error()
	if strings.ContainsAny(got, "\x1b\u202e") || len(got) > quoteLimit || !strings.HasPrefix(got, "Forbidden [2J") {
		t.Errorf("it is shown as %q", got)
	}
	if err := netCause(refused); !errors.Is(err, refused) {
		t.Errorf("%v does not wrap its cause", err)
	}
}

// TestTokenEndpointRedirects never posts a code or token anywhere else.
func TestTokenEndpointRedirects(t *testing.T) {
	s, other := newScript(t), newScript(t)
	s.on("/elsewhere", answerJSON(object{"access_token": "a", "token_type": "Bearer"}))
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{other.URL + "/token", s.URL + "/elsewhere"} {
			s.on("/token", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) })
			d := discoveryFor(t, s.URL+"/mcp", "")
			_, err := d.fetch.redeem(t.Context(), s.URL+"/token", tokenstore.Client{ID: "c"}, url.Values{"code": {"x"}}, false)
			var refusal *OAuthError
			if err == nil || errors.As(err, &refusal) {
				t.Errorf("%d: %v", status, err)
			}
		}
	}
	if asked := other.requests(); len(asked) != 0 {
		t.Errorf("the other origin was asked %q", asked)
	}
}

func TestAccount(t *testing.T) {
	idToken := func(claims object) string {
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		return "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
	}
	for in, want := range map[string]string{
		"":                           "",
		"a.b":                        "",
		"a.!!!.c":                    "",
		"a.e30.c":                    "",
		idToken(object{"sub": "u1"}): "u1",
		idToken(object{"sub": "u1", "preferred_username": "ada"}):                 "ada",
		idToken(object{"sub": "u1", "preferred_username": "ada", "email": "a@b"}): "a@b",
		idToken(object{"email": "\x1b[2Ja@b"}):                                    "[2Ja@b",
		idToken(object{"email": 7}):                                               "",
	} {
		if got := account(in); got != want {
			t.Errorf("account(%q) is %q, want %q", in, got, want)
		}
	}
}

// FuzzTokens checks that no answer of a token endpoint yields a token that a header cannot carry or a lifetime out of
// bounds.
func FuzzTokens(f *testing.F) {
	f.Add(200, `{"access_token":"a","token_type":"Bearer","expires_in":1e9,"id_token":"a.e30.c"}`)
	f.Add(400, `{"error":"invalid_grant"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		got, err := parseTokens(answer{status: status, body: []byte(body)})
		if err == nil && (got.access.IsZero() || !isHeaderText(got.access.Reveal()) || got.lifetime < 0 || got.lifetime > maxLifetime) {
			t.Errorf("%q is accepted", body)
		}
	})
}
