package auth

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClientDocument(t *testing.T) {
	const at = "https://example.com/oauth/drawbridge.json"
	want := ClientDocument{
		ClientID: at, ClientName: "Acme Drawbridge", ApplicationType: "native", RedirectURIs: []string{"http://localhost:8400/callback"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"}, AuthMethod: "none",
	}
	got, err := NewClientDocument(at, "Acme Drawbridge", CallbackConfig{Host: "localhost", Port: 8400})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	got, err = NewClientDocument(at, "", CallbackConfig{})
	want.ClientName, want.RedirectURIs = "Drawbridge", []string{"http://127.0.0.1:17623/callback"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("defaults: error %v (-want +got):\n%s", err, diff)
	}
}

func TestClientDocumentURLs(t *testing.T) {
	for at, want := range map[string]bool{
		"https://example.com/c": true, "https://example.com:8443/oauth/c.json": true, "https://example.com/c/": true,
		"http://example.com/c": false, "http://127.0.0.1/c": false, "https://example.com": false, "https://example.com/": false,
		"https://example.com/c#x": false, "https://example.com/c?x=1": false, "https://example.com/c?": false,
		"https://ada@example.com/c": false, "https://example.com/a/../c": false, "https://example.com/./c": false,
		"https://example.com/%2e%2e/c": false, "https:///c": false, "https:c": false, "example.com/c": false, "": false,
		"https://example.com/a b": false, "HTTPS://example.com/c": false, "https://example.com/\n": false,
	} {
		if _, err := NewClientDocument(at, "", CallbackConfig{}); (err == nil) != want {
			t.Errorf("%q: %v", at, err)
		}
	}
	if _, err := NewClientDocument("https://example.com/c", "", CallbackConfig{Host: "example.com"}); err == nil {
		t.Error("a callback host that is not loopback is accepted")
	}
}
