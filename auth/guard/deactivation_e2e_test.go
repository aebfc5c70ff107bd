//go:build e2e

package guard_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"drawbridge/auth/guard"
	"drawbridge/internal/secret"
)

// patience is how long anything in these tests may take beyond what is measured.
const patience = 10 * time.Second

// oidcProvider is a running oidc-provider with one person, and somebody who signs in there without a browser.
type oidcProvider struct {
	Issuer string `json:"issuer"`
	Admin  string `json:"admin"`

	person *http.Client // with cookies; follows no redirect
	client string       // id of the client
}

// redirectURI is where the provider sends the person; nothing has to listen there.
const redirectURI = "http://127.0.0.1/callback"

// startProvider starts the provider with access tokens of a lifetime. It ends with the test.
func startProvider(t *testing.T, lifetime string) *oidcProvider {
	t.Helper()
	cmd := exec.Command("node", "npm/idp.mjs", "--lifetime", lifetime)
	cmd.Dir = "../../e2e"
	stdin := must(cmd.StdinPipe())
	stdout := must(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		_ = stdin.Close() // tells it to end
		_ = cmd.Wait()    // how it ends is not what is tested
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	late.Stop()
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := &oidcProvider{person: &http.Client{Jar: must(cookiejar.New(nil)), CheckRedirect: stay, Timeout: patience}}
	if err != nil || json.Unmarshal(line, p) != nil {
		t.Fatalf("start oidc-provider: %q, %v", line, err)
	}
	var registered struct {
		ID string `json:"client_id"`
	}
	p.post(t, "/reg", `{"redirect_uris":["`+redirectURI+`"],"application_type":"native","token_endpoint_auth_method":"none",`+
		`"grant_types":["authorization_code","refresh_token"]}`, "application/json", &registered)
	p.client = registered.ID
	return p
}

// post sends a body to the provider and returns the status.
func (p *oidcProvider) post(t *testing.T, path, body, kind string, into any) int {
	t.Helper()
	resp, err := p.person.Post(p.Issuer+path, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatalf("%s: %s: %v", path, resp.Status, err)
	}
	return resp.StatusCode
}

// tokens is what the token endpoint answers.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

func (p *oidcProvider) token(t *testing.T, form url.Values) (got tokens) {
	t.Helper()
	form.Set("client_id", p.client)
	p.post(t, "/token", form.Encode(), "application/x-www-form-urlencoded", &got)
	return got
}

func (p *oidcProvider) renew(t *testing.T, old tokens) tokens {
	t.Helper()
	return p.token(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.Refresh}})
}

// signIn fills in the provider's forms and redeems the code.
func (p *oidcProvider) signIn(t *testing.T, resource string) tokens {
	t.Helper()
	const verifier = "a-verifier-that-is-long-enough-for-the-standard-0123456789"
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {p.client}, "response_type": {"code"}, "redirect_uri": {redirectURI}, "scope": {"openid mcp:tools"},
		"resource": {resource}, "code_challenge": {b64(sum[:])}, "code_challenge_method": {"S256"}, "state": {"s"},
	}
	next := must(url.Parse(p.Issuer + "/auth?" + query.Encode()))
	form := regexp.MustCompile(`action="([^"]+)"`)
	for !strings.HasPrefix(next.String(), redirectURI) {
		resp, err := p.person.Get(next.String())
		if err != nil {
			t.Fatal(err)
		}
		page := must(io.ReadAll(resp.Body))
		_ = resp.Body.Close() // it has been read
		if action := form.FindSubmatch(page); action != nil {
			answer := url.Values{"user": {"ada"}, "password": {"correct horse"}, "answer": {"allow"}}
			if resp, err = p.person.PostForm(must(next.Parse(string(action[1]))).String(), answer); err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close() // its header says where to go
		}
		if next, err = next.Parse(resp.Header.Get("Location")); err != nil || resp.Header.Get("Location") == "" {
			t.Fatalf("sign-in: %s: %s", resp.Status, page)
		}
	}
	return p.token(t, url.Values{
		"grant_type": {"authorization_code"}, "code": {next.Query().Get("code")}, "redirect_uri": {redirectURI},
		"code_verifier": {verifier}, "resource": {resource},
	})
}

// deactivate does what IT does on somebody's last day: the account is disabled and its sessions are ended.
func (p *oidcProvider) deactivate(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/disable?user=ada", "/revoke"} {
		resp, err := http.Post(p.Admin+path, "", nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v", path, err)
		}
		_ = resp.Body.Close() // nothing of interest
	}
}

// untilRefused sends a token, renewed as long as the provider does, until the guard refuses it, and returns when it was
// accepted last. From then on it must stay refused.
func (s *protected) untilRefused(t *testing.T, p *oidcProvider, now tokens) (accepted time.Time) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		began := time.Now()
		w := ask(s, "Bearer "+now.Access)
		if w.Code == http.StatusOK {
			accepted = began
			<-tick.C
			continue
		}
		next := p.renew(t, now)
		if next.Access == "" {
			s.wantStatus(t, "after the end", now.Access, http.StatusUnauthorized)
			return accepted
		}
		now = next
	}
	t.Fatal("the token is accepted for ever")
	return accepted
}

// TestMirrorOfARealProvider: oidc-provider puts iss into authorization responses, so there must be no mirror of it.
func TestMirrorOfARealProvider(t *testing.T) {
	p := startProvider(t, "300")
	g := newGuard(t, guard.Config{Resource: resource, Issuers: []guard.Issuer{{
		URL: p.Issuer, Mirror: &guard.Mirror{ClientID: p.client, RedirectURIs: []string{redirectURI}},
	}}})
	if err := g.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "turn the mirror off") {
		t.Errorf("got %v", err)
	}
}

// TestDeactivation measures how long an account that was deactivated at a real provider still gets through: at most one
// lifetime of an access token and the clock skew, or one freshness interval where the issuer is asked.
func TestDeactivation(t *testing.T) {
	const lifetime, skew, interval = 4 * time.Second, time.Second, 2 * time.Second
	p := startProvider(t, "4")
	for _, test := range []struct {
		name, resource string
		issuer         guard.Issuer
		most           time.Duration
	}{
		{"JWT, by its lifetime", "http://127.0.0.1/mcp", guard.Issuer{URL: p.Issuer}, lifetime + skew},
		{"opaque token, by introspection", "http://127.0.0.1/opaque", guard.Issuer{
			URL: p.Issuer, Opaque: true, ClientID: "guard", ClientSecret: secret.New("guard-secret"), Freshness: interval,
		}, interval},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := protect(t, nil, guard.Config{Resource: test.resource, Issuers: []guard.Issuer{test.issuer}, Skew: skew})
			now := p.signIn(t, test.resource)
			if now = p.renew(t, now); s.identity(now.Access) == nil {
				t.Fatalf("the token is refused before: %+v, answer %q", s.events, now.Error)
			}
			p.deactivate(t)
			deactivated := time.Now()
			took := s.untilRefused(t, p, now).Sub(deactivated)
			t.Logf("accepted for %s after the deactivation, at most %s are allowed", took.Round(time.Millisecond), test.most)
			if took > test.most {
				t.Errorf("accepted for %s after the deactivation, want at most %s", took, test.most)
			}
			resp := must(http.Post(p.Admin+"/enable?user=ada", "", nil))
			_ = resp.Body.Close() // nothing of interest
		})
	}
}
