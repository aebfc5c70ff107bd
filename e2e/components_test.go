//go:build e2e

package e2e

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

// TestComponents signs in without drawbridge: a client in this test, the browser, the identity provider, the server. When
// it passes and others fail, the fault is drawbridge's; when it fails, look at the components first.
func TestComponents(t *testing.T) {
	ctx := within(t)
	p := startIDP(t)
	s := startServer(t, p)
	l := newLaptop(t)

	codes := make(chan string, 1)
	callback := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			codes <- r.FormValue("code")
		}
		_, _ = w.Write([]byte("<title>fine</title>done"))
	}))
	t.Cleanup(callback.Close)
	config := register(t, p, callback.URL+"/callback")
	verifier := oauth2.GenerateVerifier()
	resource := oauth2.SetAuthURLParam("resource", s.url)
	link := config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier), resource)
	if out, err := openBrowser(t, l, link); err != nil {
		t.Fatalf("browser: %v\n%s\n%s", err, out, l.read(t, "human.log"))
	}
	want := []visit{{Opened: p.Issuer + "/auth", Landed: callback.URL + "/callback", Status: 200, Title: "fine", Text: "done"}}
	if diff := cmp.Diff(want, l.visits(t, 1)); diff != "" {
		t.Fatalf("visits (-want +got):\n%s", diff)
	}

	token, err := config.Exchange(ctx, <-codes, oauth2.VerifierOption(verifier), resource)
	if err != nil {
		t.Fatal("code exchange refused") // the error text holds the answer's body
	}
	if got := connect(t, s.url, token.AccessToken); got.User != "ada" {
		t.Errorf("caller = %+v, want ada", got)
	}
	if token.RefreshToken == "" {
		t.Error("no refresh token")
	}
	for _, secret := range []string{token.AccessToken, token.RefreshToken} {
		if !holds([]byte(strings.Join(p.issued(t), "\n")), []string{secret}) {
			t.Error("a token is missing from the list of what was issued")
		}
	}
	p.disable(t, "ada")
	_, err = config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	if refused := (*oauth2.RetrieveError)(nil); !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
		t.Error("refresh of a disabled account: not refused with invalid_grant")
	}
	keychainWorks(t, l)
}

func register(t *testing.T, p *idp, redirect string) *oauth2.Config {
	t.Helper()
	client, err := oauthex.RegisterClient(within(t), p.Issuer+"/reg", &oauthex.ClientRegistrationMetadata{
		RedirectURIs: []string{redirect}, ApplicationType: "native", TokenEndpointAuthMethod: "none",
		GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
	}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	return &oauth2.Config{
		ClientID: client.ClientID, RedirectURL: redirect, Scopes: []string{scope},
		Endpoint: oauth2.Endpoint{AuthURL: p.Issuer + "/auth", TokenURL: p.Issuer + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
}

func openBrowser(t *testing.T, l *laptop, link string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(within(t), l.browserCommand(), link)
	cmd.Env = l.env()
	return cmd.CombinedOutput()
}

// connect calls whoami over HTTP with a token.
func connect(t *testing.T, serverURL, token string) caller {
	t.Helper()
	web := &http.Client{Transport: &oauth2.Transport{Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})}}
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
	session, err := client.Connect(within(t), &mcp.StreamableClientTransport{Endpoint: serverURL, HTTPClient: web}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	return whoami(t, session)
}

// keychainWorks stores a secret the way any program would, and sees that the search for leaks reads the keychain but
// does not find the secret on disk, where it is encrypted.
func keychainWorks(t *testing.T, l *laptop) {
	t.Helper()
	const secret = "a secret of at least twenty bytes"
	cmd := exec.CommandContext(within(t), "secret-tool", "store", "--label", "try", "service", "drawbridge")
	cmd.Env, cmd.Stdin = l.env(), strings.NewReader(secret)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("secret-tool store: %v: %s", err, out)
	}
	if !holds([]byte(l.keychain(t)), []string{secret}) {
		t.Error("the keychain does not hold what was stored")
	}
	if found := leaks([]string{secret}, l.files(t)); found != nil {
		t.Errorf("the keychain keeps its items in the clear: %q", found)
	}
	planted := filepath.Join(l.dir("cache"), "planted")
	if err := os.WriteFile(planted, []byte("x"+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{planted}, leaks([]string{secret}, l.files(t))); diff != "" {
		t.Errorf("files with a secret in the clear (-want +got):\n%s", diff)
	}
}
