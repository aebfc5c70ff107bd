//go:build e2e

package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// glewlwyd is an authorization server in C (Debian's glewlwyd) with habits of its own: the issuer has a path and its metadata
// lies only below it, redirect URIs are compared with their port, public clients are not offered, and a refresh that is
// refused is answered with 400 and nothing else.
type glewlwyd struct {
	origin string
	issuer string
	db     string
	admin  *http.Client
}

const (
	glewlwydSchema  = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3" // with the user admin, password "password"
	glewlwydModules = "/usr/lib/glewlwyd/"
)

// startGlewlwyd starts a server that knows one person, ada. It ends with the test.
func startGlewlwyd(t *testing.T) *glewlwyd {
	t.Helper()
	dir := t.TempDir()
	port := freePort(t)
	g := &glewlwyd{origin: "http://127.0.0.1:" + port, db: filepath.Join(dir, "db")}
	g.issuer = g.origin + "/api/oidc"
	g.sql(t, ".read "+glewlwydSchema)
	config := filepath.Join(dir, "glewlwyd.conf")
	if err := os.WriteFile(config, []byte(g.config(port)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("glewlwyd", "--config-file", config)
	log := &buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start glewlwyd: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it holds nothing that outlives the test
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("glewlwyd:\n%s", log)
		}
	})
	eventually(t, "glewlwyd answers", func() bool {
		resp, err := http.Get(g.origin + "/config")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
	g.admin = g.browser(t, "admin", "password")
	g.set(t, http.MethodPost, "/scope", map[string]any{"name": scope, "display_name": scope, "password_required": true, "password_max_age": 0, "scheme": map[string]any{}})
	g.set(t, http.MethodPost, "/user", map[string]any{"username": "ada", "password": "correct horse", "enabled": true, "scope": []string{scope}})
	g.set(t, http.MethodPost, "/mod/plugin", g.plugin(t, g.origin))
	return g
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // only the number is wanted
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (g *glewlwyd) config(port string) string {
	return fmt.Sprintf(`port=%s
bind_address="127.0.0.1"
external_url=%q
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="WARNING"
cookie_secure=0
cookie_same_site="empty"
session_expiration=3600
session_key="SESSION"
admin_session_authentication="cookie"
profile_session_authentication="cookie"
admin_scope="g_admin"
profile_scope="g_profile"
hash_algorithm="SHA256"
user_module_path="%[3]suser"
client_module_path="%[3]sclient"
user_auth_scheme_module_path="%[3]sscheme"
plugin_module_path="%[3]splugin"
database={type="sqlite3" path=%[4]q};
`, port, g.origin, glewlwydModules, g.db)
}

// plugin configures OpenID Connect with tokens for one resource.
func (g *glewlwyd) plugin(t *testing.T, resource string) map[string]any {
	t.Helper()
	key := paddedKey(t)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return map[string]any{"module": "oidc", "name": "oidc", "display_name": "oidc", "parameters": map[string]any{
		"iss": g.issuer, "jwt-type": "ecdsa", "jwt-key-size": "256", "jwks-show": true,
		"key": encode("PRIVATE KEY", private), "cert": encode("PUBLIC KEY", public),
		"access-token-duration": 300, "refresh-token-duration": 86400, "code-duration": 60,
		"refresh-token-rolling": true, "refresh-token-one-use": "always",
		"allow-non-oidc": true, "auth-type-code-enabled": true, "auth-type-code-revoke-replayed": true, "auth-type-refresh-enabled": true,
		"auth-type-token-enabled": false, "auth-type-none-enabled": false, "auth-type-password-enabled": false,
		"auth-type-client-enabled": false, "auth-type-device-enabled": false,
		"pkce-allowed": true, "pkce-required": true, "pkce-method-plain-allowed": false, "oauth-as-iss-id": true,
		"register-client-allowed": true, "register-client-auth-scope": []string{}, "register-client-credentials-scope": []string{},
		"introspection-revocation-allowed": true, "introspection-revocation-allow-target-client": true, "introspection-revocation-auth-scope": []string{},
		"resource-allowed": true, "resource-scope": map[string]any{scope: []string{resource}}, "subject-type": "public",
	}}
}

// paddedKey makes a key whose coordinates begin with another byte than zero: glewlwyd 2.7 leaves leading zeros out of its
// JWKS (RFC 7518 section 6.2.1.2 wants all 32 bytes), and then nobody can read the key.
func paddedKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	for {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.PublicKey.Bytes() // 4, then both coordinates
		if err != nil {
			t.Fatal(err)
		}
		if point[1] != 0 && point[33] != 0 {
			return key
		}
	}
}

// serve makes the resource known of a server that trusts this issuer.
func (g *glewlwyd) serve(t *testing.T) *server {
	t.Helper()
	s := startServer(t, &idp{Issuer: g.issuer})
	g.set(t, http.MethodPut, "/mod/plugin/oidc", g.plugin(t, s.url))
	g.set(t, http.MethodPut, "/mod/plugin/oidc/reset", nil)
	fetch(t, g.issuer+"/jwks", &s.keys)
	return s
}

// browser returns a browser in which somebody has signed in.
func (g *glewlwyd) browser(t *testing.T, user, password string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &http.Client{Jar: jar}
	g.as(t, b, http.MethodPost, "/auth", map[string]any{"username": user, "password": password})
	return b
}

// set changes something as the administrator.
func (g *glewlwyd) set(t *testing.T, method, path string, body any) {
	t.Helper()
	g.as(t, g.admin, method, path, body)
}

func (g *glewlwyd) as(t *testing.T, b *http.Client, method, path string, body any) []byte {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(within(t), method, g.origin+"/api"+path, bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("glewlwyd: %s %s: %s %s, %v", method, path, resp.Status, answer, err)
	}
	return answer
}

// clients counts the registered clients.
func (g *glewlwyd) clients(t *testing.T) int {
	t.Helper()
	var all []any
	if err := json.Unmarshal(g.as(t, g.admin, http.MethodGet, "/client", nil), &all); err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// sql runs a statement on the database, which the server reads anew for each request.
func (g *glewlwyd) sql(t *testing.T, statement string) {
	t.Helper()
	if out, err := exec.Command("sqlite3", "-cmd", ".timeout 5000", g.db, statement).CombinedOutput(); err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
}

// signIn is ada at her browser: she signs in, consents, and follows the link to its end. It returns the redirect URI.
func (g *glewlwyd) signIn(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil || !strings.HasPrefix(link, g.issuer+"/auth?") {
		t.Fatalf("the link is %q, %v", link, err)
	}
	ada := g.browser(t, "ada", "correct horse")
	g.as(t, ada, http.MethodPut, "/auth/grant/"+u.Query().Get("client_id"), map[string]any{"scope": scope})
	resp, err := ada.Get(link + "&g_continue") // what its login page does last
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/callback" {
		t.Fatalf("the browser ended at %s with %s", resp.Request.URL.Path, resp.Status)
	}
	return u.Query().Get("redirect_uri")
}

// noteLinks gives the machine a browser that only notes what it is to open.
func (l *laptop) noteLinks(t *testing.T) {
	t.Helper()
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$1\" >>%q\n", filepath.Join(l.browser, "links"))
	if err := os.WriteFile(l.browserCommand(), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
}

// link waits for the n-th link, counted from 1.
func (l *laptop) link(t *testing.T, n int) (link string) {
	t.Helper()
	eventually(t, fmt.Sprintf("link %d", n), func() bool {
		links := strings.Split(l.read(t, "links"), "\n")
		if len(links) <= n {
			return false
		}
		link = links[n-1]
		return true
	})
	return link
}

// TestExactPort signs in three times at a server that compares ports: the second time at the port of the first, the third
// time, when that one is taken, at another that it registers.
func TestExactPort(t *testing.T) {
	g := startGlewlwyd(t)
	s := g.serve(t)
	l := newLaptop(t)
	l.noteLinks(t)
	login := func(n int) string {
		cmd := l.command(within(t), "login", s.url)
		out := &buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		at := g.signIn(t, l.link(t, n))
		if err := cmd.Wait(); err != nil {
			t.Fatalf("login: %v\n%s", err, out)
		}
		return at
	}
	before := g.clients(t)
	first := login(1)
	if second := login(2); second != first {
		t.Errorf("the second sign-in ends at %s, the first at %s", second, first)
	}
	if n := g.clients(t) - before; n != 1 {
		t.Errorf("two sign-ins registered %d clients", n)
	}
	u, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if third := login(3); third == first {
		t.Error("the third sign-in ends at a port that is taken")
	}
	if n := g.clients(t) - before; n != 2 {
		t.Errorf("three sign-ins registered %d clients", n)
	}
}

// TestRefusalWithoutReason renews by rotation; when the server refuses with 400 and nothing else, one sign-in answers the
// call that is waiting.
func TestRefusalWithoutReason(t *testing.T) {
	g := startGlewlwyd(t)
	s := g.serve(t)
	l := newLaptop(t)
	l.noteLinks(t)
	b := l.bridge(t, s.url)
	first := answered(t, b, func() { g.signIn(t, l.link(t, 1)) })
	for range 2 {
		s.withdraw()
		if next := whoami(t, b.ClientSession); next.Token == first.Token || next.User != first.User {
			t.Errorf("after a refresh: %+v, before: %+v", next, first)
		}
	}
	if links := strings.Count(l.read(t, "links"), "\n"); links != 1 {
		t.Errorf("%d links were opened, want 1", links)
	}

	g.sql(t, "UPDATE gpo_refresh_token SET gpor_enabled = 0")
	s.withdraw()
	again := answered(t, b, func() { g.signIn(t, l.link(t, 2)) })
	if again.User != first.User {
		t.Errorf("after the refusal: %+v, before: %+v", again, first)
	}
	b.stop(t)
	if !strings.Contains(b.log.String(), "does not say why") {
		t.Error("the log does not tell the refusal")
	}
}

// answered calls whoami, and does what it waits for.
func answered(t *testing.T, b *bridge, do func()) caller {
	t.Helper()
	who := make(chan caller, 1)
	go func() {
		defer close(who)
		who <- whoami(t, b.ClientSession)
	}()
	do()
	return <-who
}
