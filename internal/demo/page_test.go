package demo_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
)

// browser is a cookie jar that stays on the provider's pages.
type browser struct {
	t    *testing.T
	http *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, CheckRedirect: stay}}
}

// page is an answer as tests look at it.
type page struct {
	status int
	header http.Header
	body   string
}

func (p page) to() string   { return p.header.Get("Location") }
func (p page) csrf() string { return between(p.body, `name="csrf" value="`, `"`) }

func (b *browser) get(address string) page {
	b.t.Helper()
	resp, err := b.http.Get(address)
	return b.read(resp, err)
}

func (b *browser) post(address string, form url.Values) page {
	b.t.Helper()
	resp, err := b.http.PostForm(address, form)
	return b.read(resp, err)
}

func (b *browser) read(resp *http.Response, err error) page {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{resp.StatusCode, resp.Header, string(body)}
}

// open brings an authorization request and returns its id and the login page.
func (b *browser) open(a *app) (request string, login page) {
	b.t.Helper()
	to := b.get(a.authorizationURL(nil)).to()
	return between(to, "request=", "&"), b.get(origin(a.issuer) + to)
}

func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func ada(request, csrf string) url.Values {
	return url.Values{"request": {request}, "csrf": {csrf}, "user": {"ada"}, "password": {demo.Ada().Password.Reveal()}}
}

// TestFormsAreBound: a form counts only from the browser and the page it belongs to.
func TestFormsAreBound(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	victim, attacker := newBrowser(t), newBrowser(t)
	request, login := victim.open(a)
	_, attackerLogin := attacker.open(a)

	statuses := map[string]int{
		"no token":           victim.post(a.issuer+"/login", ada(request, "")).status,
		"other token":        victim.post(a.issuer+"/login", ada(request, attackerLogin.csrf())).status,
		"other browser":      attacker.post(a.issuer+"/login", ada(request, attackerLogin.csrf())).status,
		"other browser sees": attacker.get(a.issuer + "/login?request=" + request).status,
		"unknown request":    victim.post(a.issuer+"/login", ada("guess", login.csrf())).status,
		"consent unasked":    victim.get(a.issuer + "/consent?request=" + request).status,
		"consent forged": victim.post(a.issuer+"/consent",
			url.Values{"request": {request}, "csrf": {login.csrf()}, "decision": {"allow"}}).status,
	}
	want := map[string]int{"no token": 403, "other token": 403, "other browser": 400, "other browser sees": 400,
		"unknown request": 400, "consent unasked": 303, "consent forged": 400}
	if diff := cmp.Diff(want, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}

	before := cookies(victim, a)
	in := victim.post(a.issuer+"/login", ada(request, login.csrf()))
	if in.status != http.StatusSeeOther || cookies(victim, a) == before {
		t.Errorf("login answered %d; the cookie must change with it", in.status)
	}
	if resp, _ := get(t, origin(a.issuer)+in.to(), http.Header{"Cookie": {before}}); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a cookie from before the login still works: %d", resp.StatusCode)
	}
	consent := victim.get(origin(a.issuer) + in.to())
	allow := url.Values{"request": {request}, "csrf": {consent.csrf()}, "decision": {"allow"}}
	if consent.csrf() == login.csrf() {
		t.Error("the form token did not change with the login")
	}
	if first := victim.post(a.issuer+"/consent", allow); !strings.HasPrefix(first.to(), a.redirect) {
		t.Errorf("consent answered %d to %q", first.status, first.to())
	}
	if again := victim.post(a.issuer+"/consent", allow); again.status != http.StatusBadRequest {
		t.Errorf("the same consent again answered %d", again.status)
	}
	if got := w.IdP.Counts().SignIns; got != 1 {
		t.Errorf("%d codes issued, want 1", got)
	}
}

// TestOldRequests: a tab that was left open cannot be finished the next day.
func TestOldRequests(t *testing.T) {
	clock := newClock()
	w := start(t, demo.Config{Now: clock.Now})
	a := registered(t, w)
	b := newBrowser(t)
	request, login := b.open(a)
	clock.advance(11 * time.Minute)
	if got := b.post(a.issuer+"/login", ada(request, login.csrf())); got.status != http.StatusBadRequest {
		t.Errorf("got %d %q", got.status, got.to())
	}
}

func cookies(b *browser, a *app) string {
	u, err := url.Parse(a.issuer)
	if err != nil {
		return ""
	}
	return b.http.Jar.Cookies(u)[0].String()
}

// TestBrowserStaysLoggedIn: a second request in the same browser asks for consent only, unless the client wants the
// password again or IT ended the session.
func TestBrowserStaysLoggedIn(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	b := newBrowser(t)
	request, login := b.open(a)
	b.post(a.issuer+"/login", ada(request, login.csrf()))
	second, skipped := b.open(a)
	if want := "/consent?request=" + second; skipped.to() != want {
		t.Errorf("the second request leads to %q, want %q", skipped.to(), want)
	}
	again := b.get(origin(a.issuer) + b.get(a.authorizationURL(url.Values{"prompt": {"login"}})).to())
	if !strings.Contains(again.body, `type="password"`) {
		t.Errorf("prompt=login leads to %d %q", again.status, again.to())
	}
	w.IdP.RevokeUser("ada")
	if _, after := b.open(a); !strings.Contains(after.body, `type="password"`) {
		t.Errorf("after the session was ended: %d %q", after.status, after.to())
	}
}

// TestPagesAreStrict looks at what a page tells the browser and the human.
func TestPagesAreStrict(t *testing.T) {
	w := start(t, demo.Config{})
	a := newApp(t, w)
	w.IdP.AddClient(demo.Client{ID: "c", Name: `<script>alert("hi")</script>`, RedirectURIs: []string{a.redirect}})
	a.id = "c"
	b := newBrowser(t)
	request, login := b.open(a)
	consent := b.get(origin(a.issuer) + b.post(a.issuer+"/login", ada(request, login.csrf())).to())
	problem := b.get(a.issuer + "/login?request=guess")
	for name, p := range map[string]page{"login": login, "consent": consent, "problem": problem} {
		policy := "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' " + origin(a.redirect)
		if name == "problem" {
			policy = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
		}
		want := map[string]string{"Content-Security-Policy": policy, "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Type": "text/html; charset=utf-8"}
		got := map[string]string{}
		for header := range want {
			got[header] = p.header.Get(header)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("headers of %s (-want +got):\n%s", name, diff)
		}
		if strings.Contains(p.body, "<script") {
			t.Errorf("%s has a script", name)
		}
	}
	for _, word := range []string{"ada", w.URL(), "<li>mcp</li>", "<li>offline_access</li>", strings.TrimPrefix(origin(a.redirect), "http://"),
		"a program on this computer", "&lt;script&gt;"} {
		if !strings.Contains(consent.body, word) {
			t.Errorf("the consent page does not show %q", word)
		}
	}
	if css := b.get(a.issuer + "/style.css"); css.status != http.StatusOK || css.header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("style sheet: %d %q", css.status, css.header.Get("Content-Type"))
	}
}

// TestIPv6Redirect: CSP cannot name an IPv6 address, and a policy that is not understood would block the redirect.
func TestIPv6Redirect(t *testing.T) {
	w := start(t, demo.Config{})
	a := newApp(t, w)
	a.id, a.redirect = "c", "http://[::1]:5000/callback"
	w.IdP.AddClient(demo.Client{ID: "c", RedirectURIs: []string{a.redirect}})
	_, login := newBrowser(t).open(a)
	if got := login.header.Get("Content-Security-Policy"); !strings.HasSuffix(got, "form-action 'self' http:") {
		t.Errorf("policy %q", got)
	}
}

func TestHuman(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	want := url.Values{"error": {"access_denied"}, "error_description": {"the user refused"}, "state": {"st"}, "iss": {w.Issuer()}}
	if diff := cmp.Diff(want, a.authorize(demo.Human{Deny: true}, demo.Ada(), nil)); diff != "" {
		t.Errorf("a refusal (-want +got):\n%s", diff)
	}
	for name, password := range map[string]string{"wrong": "guess", "empty": ""} {
		page, err := demo.Human{}.SignIn(t.Context(), a.authorizationURL(nil), "ada", secret.New(password))
		if err == nil {
			t.Errorf("%s password: ended on %q", name, page)
		}
	}
	if _, err := (demo.Human{}).SignIn(t.Context(), a.authorizationURL(nil), "nobody", secret.New("")); err == nil {
		t.Error("somebody who does not exist signed in with an empty password")
	}
	w.IdP.AddUser(demo.User{Name: "blank"})
	if _, err := (demo.Human{}).SignIn(t.Context(), a.authorizationURL(nil), "blank", secret.New("")); err == nil {
		t.Error("somebody without a password signed in")
	}
	if got := w.IdP.Counts().SignIns; got != 0 {
		t.Errorf("%d codes issued, want 0", got)
	}
}

// TestHumanKeepsPassword: a page of another origin gets no password, and errors do not show a code.
func TestHumanKeepsPassword(t *testing.T) {
	w := start(t, demo.Config{})
	a := registered(t, w)
	stolen := make(chan string, 1)
	thief := start(t, demo.Config{IdP: demo.IdPConfig{Intercept: func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			stolen <- r.PostFormValue("password")
		}
		return false
	}}})
	w.IdP.SetIntercept(func(rw http.ResponseWriter, r *http.Request) bool {
		_, _ = io.WriteString(rw, `<form action="`+thief.Issuer()+`/login"><input type="password" name="password"></form>`)
		return true
	})
	if page, err := (demo.Human{}).SignIn(t.Context(), a.authorizationURL(nil), "ada", demo.Ada().Password); err == nil {
		t.Errorf("ended on %q", page)
	}
	w.IdP.SetIntercept(nil)
	dead := *a
	dead.redirect = "http://127.0.0.1:1/callback"
	w.IdP.AddClient(demo.Client{ID: dead.id, RedirectURIs: []string{dead.redirect}})
	_, err := demo.Human{}.SignIn(t.Context(), dead.authorizationURL(nil), "ada", demo.Ada().Password)
	if err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("a client that is not there: %v", err)
	}
	select {
	case <-stolen:
		t.Error("the password went to another origin")
	default:
	}
}
