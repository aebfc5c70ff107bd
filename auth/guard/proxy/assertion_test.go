package proxy_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"drawbridge/auth/guard"
	"drawbridge/auth/guard/proxy"
	"drawbridge/internal/secret"
)

func pemOf(t *testing.T, key any) secret.Text {
	t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}

func edKey(t *testing.T) secret.Text {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(t, key)
}

func ecKey(t *testing.T, curve elliptic.Curve) secret.Text {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(t, key)
}

// TestAssertion: the server behind can verify who is calling, for a minute.
func TestAssertion(t *testing.T) {
	for name, key := range map[string]secret.Text{"EdDSA": edKey(t), "ES256": ecKey(t, elliptic.P256())} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1_800_000_000, 0)
			s, err := proxy.NewSigner(key, "https://mcp.example.com/mcp", "http://inner/mcp", func() time.Time { return now })
			if err != nil {
				t.Fatal(err)
			}
			var got string
			url := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = strings.Join(r.Header["Drawbridge-Identity"], "+") }),
				func(c *proxy.Config) { c.Signer = s })
			send(t, http.MethodPost, url, "ada", ping, "Drawbridge-Identity", "forged")
			parsed, err := jwt.ParseSigned(got, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(name)})
			if err != nil {
				t.Fatal(err)
			}
			var claims map[string]any
			if err := parsed.Claims(s.KeySet(), &claims); err != nil {
				t.Fatal(err)
			}
			if id, _ := claims["jti"].(string); len(id) < 20 {
				t.Errorf("jti %q", id)
			}
			delete(claims, "jti")
			want := map[string]any{
				"iss": "https://mcp.example.com/mcp", "aud": "http://inner/mcp", "sub": "ada", "idp": "static", "client_id": "ada", "groups": []any{"adas"},
				"iat": 1.8e9, "exp": 1.8e9 + 60,
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			if !s.KeySet().Keys[0].IsPublic() {
				t.Error("the key set holds the private key")
			}
		})
	}
}

func TestAssertionReuse(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, err := proxy.NewSigner(edKey(t), "i", "a", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	ask := func(id *guard.Identity) string {
		text, err := s.Assert(id)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	ada, bob := &guard.Identity{Subject: "ada"}, &guard.Identity{Subject: "bob"}
	first := ask(ada)
	now = now.Add(29 * time.Second)
	if ask(ada) != first {
		t.Error("a fresh assertion is not used again")
	}
	if ask(bob) == first {
		t.Error("bob is called ada")
	}
	now = now.Add(time.Second)
	if ask(ada) == first {
		t.Error("an old assertion is used again")
	}
}

func TestSignerRefuses(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]secret.Text{
		"no PEM": secret.New("CANARY"), "RSA": pemOf(t, weak), "P-384": ecKey(t, elliptic.P384()),
		"no key": secret.New("-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n"),
	} {
		if _, err := proxy.NewSigner(key, "i", "a", nil); err == nil || !strings.HasPrefix(err.Error(), "identity key: ") || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
