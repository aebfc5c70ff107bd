package auth

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/tokenstore"
)

// TestRecognise tells vendors by the hosts of both endpoints first, then by the shape of endpoints and issuer.
func TestRecognise(t *testing.T) {
	for _, c := range []struct{ issuer, authorization, token, registration, want string }{
		{"https://idp.example.com", "https://idp.example.com/authorize", "https://idp.example.com/token", "", "standard"},
		{"https://login.microsoftonline.com/t/v2.0", "https://login.microsoftonline.com/t/oauth2/v2.0/authorize", "https://login.microsoftonline.com/t/oauth2/v2.0/token", "", "entra"},
		{"https://sts.windows.net/t/", "https://login.microsoftonline.com/t/oauth2/authorize", "https://login.microsoftonline.com/t/oauth2/token", "", "entra-v1"},
		{"https://t.ciamlogin.com/t/v2.0", "https://login.example.com/t/oauth2/v2.0/authorize", "https://login.example.com/t/oauth2/v2.0/token", "", "entra"},
		{"https://gateway.example.com", "https://login.microsoftonline.com/t/oauth2/v2.0/authorize", "https://login.microsoftonline.com/t/oauth2/v2.0/token", "https://gateway.example.com/register", "entra"},
		{"https://acme.okta.com", "https://acme.okta.com/oauth2/v1/authorize", "https://acme.okta.com/oauth2/v1/token", "", "okta"},
		{"https://ACME.okta.com", "https://ACME.okta.com/oauth2/v1/authorize", "https://acme.OKTA.com/oauth2/v1/token", "", "okta"},
		{"https://id.example.com/oauth2/ausabc", "https://id.example.com/oauth2/ausabc/v1/authorize", "https://id.example.com/oauth2/ausabc/v1/token", "", "okta"},
		{"https://id.example.com/", "https://id.example.com/authorize", "https://id.example.com/oauth/token", "https://id.example.com/oidc/register", "auth0"},
		{"https://sso.example.com/realms/a", "https://sso.example.com/x", "https://sso.example.com/y", "", "keycloak"},
		{"https://sso.example.com/auth/realms/a", "https://sso.example.com/x", "https://sso.example.com/y", "", "keycloak"},
		{"https://gateway.example.com", "https://sso.example.com/realms/a/protocol/openid-connect/auth", "https://sso.example.com/realms/a/protocol/openid-connect/token", "", "keycloak"},
		{"https://accounts.google.com", "https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token", "", "google"},
		{"https://cognito-idp.us-east-1.amazonaws.com/p", "https://login.example.com/oauth2/authorize", "https://login.example.com/oauth2/token", "", "cognito"},
		{"https://auth.pingone.eu/e/as", "https://auth.pingone.eu/e/as/authorize", "https://auth.pingone.eu/e/as/token", "", "ping"},
		{"https://sso.example.com", "https://sso.example.com/as/authorization.oauth2", "https://sso.example.com/as/token.oauth2", "", "ping"},

		// What only looks like a vendor's.
		{"https://idp.example.com", "https://acme.okta.com/oauth2/v1/authorize", "https://evil.example/token", "", "standard"},
		{"https://idp.example.com", "https://okta.com.evil.example/a", "https://okta.com.evil.example/t", "", "standard"},
		{"https://notokta.com", "https://notokta.com/a", "https://notokta.com/t", "", "standard"},
		{"https://idp.example.com/login.microsoftonline.com/v2.0", "https://idp.example.com/a", "https://idp.example.com/t", "", "standard"},
		{"https://idp.example.com/realms", "https://idp.example.com/a", "https://idp.example.com/t", "", "standard"},
	} {
		got := recognise(serverMetadata{
			Issuer: c.issuer, AuthorizationEndpoint: c.authorization, TokenEndpoint: c.token, RegistrationEndpoint: c.registration,
		})
		if got.name != c.want {
			t.Errorf("%s with %s is %s, want %s", c.issuer, c.token, got.name, c.want)
		}
	}
}

// TestPKCENotAdvertised goes on without a word in the metadata only on a vendor's own hosts or the user's word, and
// never against the metadata.
func TestPKCENotAdvertised(t *testing.T) {
	entra := func(host string) serverMetadata {
		return serverMetadata{
			Issuer:                "https://login.microsoftonline.com/t/v2.0",
			AuthorizationEndpoint: "https://login.microsoftonline.com/t/oauth2/v2.0/authorize",
			TokenEndpoint:         "https://" + host + "/t/oauth2/v2.0/token",
		}
	}
	listing := func(m serverMetadata, methods ...string) serverMetadata {
		m.PKCEMethods = append([]string{}, methods...)
		return m
	}
	for _, c := range []struct {
		name     string
		metadata serverMetadata
		assumed  bool
		err      string
	}{
		{"listed", listing(serverMetadata{}, "S256"), false, ""},
		{"silent", serverMetadata{}, false, "is missing"},
		{"silent, assumed", serverMetadata{}, true, ""},
		{"silent vendor", entra("login.microsoftonline.com"), false, ""},
		{"silent vendor, token elsewhere", entra("gateway.example.com"), false, "is missing"},
		{"plain only, assumed", listing(serverMetadata{}, "plain"), true, "does not list S256"},
		{"empty list, assumed", listing(serverMetadata{}), true, "does not list S256"},
		{"vendor with plain only", listing(entra("login.microsoftonline.com"), "plain"), false, "does not list S256"},
	} {
		err := c.metadata.checkPKCE(c.assumed)
		wantError(t, err, c.err)
		if names := strings.Contains(hintOf(err), "--assume-pkce"); names != (c.err == "is missing") {
			t.Errorf("%s: the hint is %q", c.name, hintOf(err))
		}
	}
}

func TestQualify(t *testing.T) {
	const r = "https://mcp.example.com/mcp"
	for _, c := range []struct{ resource, scopes, want string }{
		{r, "", r + "/.default"},
		{r, "openid offline_access", r + "/.default openid offline_access"},
		{r + "/", "", r + "//.default"},
		{r, "mcp.read openid", r + "/mcp.read openid"},
		{r, "api://x/y mcp.read", "api://x/y " + r + "/mcp.read"},
		{r, "api://x/.default", "api://x/.default"},
		{r, r + "/.default mcp.read", r + "/mcp.read"},
	} {
		if got := strings.Join(qualify(strings.Fields(c.scopes), c.resource), " "); got != c.want {
			t.Errorf("%q for %q is %q, want %q", c.scopes, c.resource, got, c.want)
		}
	}
}

// TestOverrides checks what the flags make of the authorization request, and of what a refresh will send.
func TestOverrides(t *testing.T) {
	as := func(f fakeIdP) serverMetadata {
		return serverMetadata{Issuer: f.issuer, AuthorizationEndpoint: f.authorization, TokenEndpoint: f.token, PKCEMethods: []string{"S256"}}
	}
	for _, c := range []struct {
		name      string
		cfg       Config
		as        serverMetadata
		scopes    string
		authorize url.Values
		refresh   url.Values
	}{
		{"standard", Config{}, serverMetadata{PKCEMethods: []string{"S256"}}, "a",
			url.Values{"resource": {vendorServer}}, url.Values{"resource": {vendorServer}}},
		{"another resource", Config{Resource: "urn:mcp"}, serverMetadata{}, "a",
			url.Values{"resource": {"urn:mcp"}}, url.Values{"resource": {"urn:mcp"}}},
		{"no resource", Config{Resource: "none"}, serverMetadata{}, "a", url.Values{}, url.Values{}},
		{"no resource at entra", Config{Resource: "none"}, as(entra()), "a offline_access",
			url.Values{}, url.Values{"scope": {"a offline_access"}}},
		{"another resource at entra", Config{Resource: "api://mcp"}, as(entra()), "api://mcp/a offline_access",
			url.Values{}, url.Values{"scope": {"api://mcp/a offline_access"}}},
		{"another resource at auth0", Config{Resource: "urn:mcp"}, as(auth0()), "a offline_access",
			url.Values{"resource": {"urn:mcp"}, "audience": {"urn:mcp"}}, url.Values{"resource": {"urn:mcp"}}},
		{"a resource at cognito", Config{Resource: "urn:mcp"}, as(cognito()), "a",
			url.Values{"resource": {"urn:mcp"}}, url.Values{"resource": {"urn:mcp"}}},
		{"parameters over a profile's", Config{AuthorizeParams: map[string]string{"prompt": "select_account", "hd": "example.com"}}, as(google()), "a",
			url.Values{"access_type": {"offline"}, "prompt": {"select_account"}, "hd": {"example.com"}}, url.Values{}},
	} {
		s := &Session{cfg: c.cfg}
		got := s.phrase(target{resource: vendorServer, scopes: []string{"a"}, as: c.as}, want{})
		if diff := cmp.Diff(c.authorize, got.authorize); diff != "" {
			t.Errorf("%s: authorization request (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.refresh, refreshParams(vendorServer, got.record())); diff != "" {
			t.Errorf("%s: refresh (-want +got):\n%s", c.name, diff)
		}
		if scopes := strings.Join(got.scopes, " "); scopes != c.scopes {
			t.Errorf("%s: scopes %q, want %q", c.name, scopes, c.scopes)
		}
	}
}

// TestOldRecord refreshes as records did that know no profile.
func TestOldRecord(t *testing.T) {
	got := refreshParams(vendorServer, tokenstore.IdP{})
	if diff := cmp.Diff(url.Values{"resource": {vendorServer}}, got); diff != "" {
		t.Errorf("refresh (-want +got):\n%s", diff)
	}
}

func TestOverridesRefused(t *testing.T) {
	for _, c := range []struct {
		cfg Config
		err string
	}{
		{Config{Resource: "mcp"}, "want an absolute URI"},
		{Config{Resource: "https://a#b"}, "want an absolute URI"},
		{Config{TrustIssuer: "http://idp.example.com"}, "plain http"},
		{Config{AuthorizeParams: map[string]string{"": "x"}}, "no name"},
		{Config{AuthorizeParams: map[string]string{"scope": "x"}}, "flag of its own"},
		{Config{AuthorizeParams: map[string]string{"resource": "x"}}, "flag of its own"},
	} {
		_, err := New(withServer(c.cfg))
		wantError(t, err, c.err)
	}
	for _, name := range []string{
		"state", "code_challenge", "code_challenge_method", "redirect_uri", "client_id", "response_type", "response_mode", "request", "request_uri",
	} {
		_, err := New(withServer(Config{AuthorizeParams: map[string]string{name: "x"}}))
		wantError(t, err, "belongs to the sign-in itself")
	}
}

func withServer(c Config) Config {
	c.ServerURL, c.Store = vendorServer, tokenstore.NewMemory()
	return c
}

// TestPortThatDoesNotMatter takes another port than the busy default where the vendor does not compare it.
func TestPortThatDoesNotMatter(t *testing.T) {
	if ln, err := net.Listen("tcp", "127.0.0.1:17623"); err == nil { // if not, somebody else has it, which is as good
		defer ln.Close()
	}
	free := func(c *Config) { c.Callback = CallbackConfig{} }
	if got, err := newVendorStage(t, entra()).course(free); err != nil || got.SignIns != 1 {
		t.Errorf("entra: %+v, %v", got, err)
	}
	_, err := newVendorStage(t, okta()).course(free)
	wantError(t, err, "listen for the sign-in at http://127.0.0.1:17623/callback")
}

// gateway puts a gateway in front of idp that publishes its endpoints and hands out one client to everybody, as hoop
// does. verbatim keeps the provider's issuer in the copy.
func (v *vendorStage) gateway(verbatim bool) *[]string {
	const home = "https://gateway.example.com"
	issuer, redirects := home, []string{}
	if verbatim {
		issuer = v.idp.issuer
	}
	v.extra["https://mcp.example.com/.well-known/oauth-protected-resource/mcp"] = answerJSON(object{
		"resource": vendorServer, "authorization_servers": []string{home}, "scopes_supported": v.idp.serverScopes,
	})
	v.extra[home+"/.well-known/oauth-authorization-server"] = answerJSON(object{
		"issuer": issuer, "authorization_endpoint": v.idp.authorization, "token_endpoint": v.idp.token,
		"registration_endpoint": home + "/register", "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"none"},
	})
	v.extra[home+"/register"] = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // echoed, as far as it came
		redirects = append(redirects, string(body))
		_, _ = fmt.Fprintf(w, `{"client_id":%q,"token_endpoint_auth_method":"none"}`, vendorClient) // seen by the test
	}
	return &redirects
}

// TestGateway signs in through a gateway whose identity provider answers under its own issuer.
func TestGateway(t *testing.T) {
	trusting := func(c *Config) { c.TrustIssuer = keycloak().issuer }
	silent := keycloak()
	silent.sendsIss = false
	for _, c := range []struct {
		name     string
		idp      fakeIdP
		verbatim bool
		edit     func(*Config)
		err      string
	}{
		{"iss, trusted", keycloak(), false, trusting, ""},
		{"iss", keycloak(), false, nil, "another identity provider"},
		{"no iss, trusted", silent, false, trusting, ""},
		{"no iss", silent, false, nil, ""}, // nothing contradicts the gateway
		{"verbatim, iss, trusted", keycloak(), true, trusting, ""},
		{"verbatim, iss", keycloak(), true, nil, "its issuer is"},
		{"verbatim, no iss, trusted", silent, true, trusting, ""},
		{"verbatim, no iss", silent, true, nil, "its issuer is"},
		{"verbatim, another one trusted", keycloak(), true, func(c *Config) { c.TrustIssuer = "https://other.example" }, "its issuer is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVendorStage(t, c.idp)
			v.gateway(c.verbatim)
			got, err := v.course(func(cfg *Config) {
				cfg.Client = ClientIdentity{}
				if c.err != "" {
					cfg.LoginTimeout = time.Second / 2
				}
				if c.edit != nil {
					c.edit(cfg)
				}
			})
			wantError(t, err, c.err)
			if c.err != "" {
				v.namesTheFlag(err, c.verbatim)
				return
			}
			if got != (course{SignIns: 1, Refreshes: 1}) {
				t.Errorf("went %+v", got)
			}
			// The registration is the gateway's: it must not be taken for one at the provider itself.
			if stored := v.credential(); stored.Issuer != "https://gateway.example.com" || stored.IdP.Profile != "keycloak" {
				t.Errorf("stored for %q as %q", stored.Issuer, stored.IdP.Profile)
			}
		})
	}
}

func (v *vendorStage) namesTheFlag(err error, verbatim bool) {
	v.t.Helper()
	const flag = "--trust-issuer https://sso.example.com/realms/acme"
	if !strings.Contains(hintOf(err), flag) {
		v.t.Errorf("the hint is %q, want it to name %s", hintOf(err), flag)
	}
	if !verbatim && (!strings.Contains(v.lastPage(), flag) || !strings.Contains(v.said.String(), flag)) {
		v.t.Errorf("the page is %q and the notices are\n%s", v.lastPage(), v.said)
	}
}

// TestGatewayRedirect registers the documented redirect URI with a gateway, because the client it hands out was
// registered by an administrator.
func TestGatewayRedirect(t *testing.T) {
	s, err := New(withServer(Config{Callback: CallbackConfig{Path: "/cb"}}))
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.openForRegistration(serverMetadata{RegistrationEndpoint: "https://gateway.example.com/register", TokenEndpoint: "https://idp.example.com/token"})
	if err == nil {
		defer at.close()
	}
	if err == nil && at.uri != "http://127.0.0.1:17623/cb" || err != nil && !strings.Contains(err.Error(), "17623") {
		t.Errorf("landing %v, error %v", at, err) // or somebody else has the port
	}
	own, err := s.openForRegistration(serverMetadata{RegistrationEndpoint: "https://idp.example.com/register", TokenEndpoint: "https://idp.example.com/token"})
	if err != nil {
		t.Fatal(err)
	}
	defer own.close()
	if own.uri == "http://127.0.0.1:17623/cb" {
		t.Error("an identity provider of its own was asked to register the fixed port")
	}
}

// TestMixUpGetsNoFlag keeps a hint at --trust-issuer from an answer that claims to be from another host.
func TestMixUpGetsNoFlag(t *testing.T) {
	c := callback{issuer: "https://a.example", asked: "login.a.example"}
	for iss, want := range map[string]bool{
		"https://login.a.example":              true,
		"https://login.a.example/t":            true,
		"https://evil.example":                 false,
		"http://login.a.example":               false,
		"https://login.a.example:8443":         false,
		"https://login.a.example.evil.example": false,
	} {
		if got := c.gatewayHint(iss) != ""; got != want {
			t.Errorf("%s gets a hint: %v, want %v", iss, got, want)
		}
	}
	if got := flagValue("https://a.example/$(reboot)"); strings.Contains(got, "$") {
		t.Errorf("a hint to be pasted holds %q", got)
	}
}

// TestScopesInAHint: what a server calls a scope may be a command to a shell, and the hint is there to be pasted.
func TestScopesInAHint(t *testing.T) {
	for want, scopes := range map[string][]string{
		"mcp:admin https://a.example/files.read_all": {"mcp:admin", "https://a.example/files.read_all"},
		"what is missing": {"mcp", "$(reboot)"},
	} {
		s, err := New(Config{ServerURL: farServer, Store: tokenstore.NewMemory(), Scopes: []string{"other"}})
		if err != nil {
			t.Fatal(err)
		}
		err = s.mayStepUp(wanted{scopes: scopes}, held{}, Attempt{})
		if got := hintOf(err); got != "add "+want+" to --scope" {
			t.Errorf("%q: hint %q", scopes, got)
		}
		s.Close()
	}
}

// hintOf returns what an error says about itself that the user can do.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if !errors.As(err, &h) {
		return ""
	}
	return h.Hint()
}
