//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
)

// needle is the length of the pieces of a secret that are searched for: long enough to be no coincidence, short enough
// that a secret split into chunks is still found.
const needle = 20

// pieces returns non-overlapping parts of a secret, each in the clear and as the base64 text that contains it. The first
// two segments of a JWT are public; its signature is what makes it worth stealing.
func pieces(secret string) (found []string) {
	rest := secret[strings.LastIndexByte(secret, '.')+1:]
	for len(rest) >= needle {
		found = append(found, rest[:needle])
		for shift := range 3 {
			inner := base64.StdEncoding.EncodeToString([]byte(rest[shift:needle]))
			found = append(found, strings.TrimRight(inner[:len(inner)-4], "="))
		}
		rest = rest[needle:]
	}
	return found
}

// leaks returns the names of the texts that hold a piece of one of the secrets.
func leaks(secrets []string, texts map[string][]byte) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if holds(texts[name], secrets) {
			names = append(names, name)
		}
	}
	return names
}

func holds(text []byte, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(secret string) bool {
		return slices.ContainsFunc(pieces(secret), func(piece string) bool { return bytes.Contains(text, []byte(piece)) })
	})
}

// noLeaks fails the test if anything the identity provider handed out is in a file of the laptop or in the logs.
func noLeaks(t *testing.T, p *idp, l *laptop, logs ...string) {
	t.Helper()
	texts := l.files(t)
	for _, log := range logs {
		texts["a log on standard error: "+log[:min(len(log), 80)]] = []byte(log)
	}
	secrets := p.issued(t)
	if len(secrets) == 0 {
		t.Error("nothing was issued, so nothing could be looked for")
	}
	for _, name := range leaks(secrets, texts) {
		t.Errorf("a token, code or client secret is in %s", name)
	}
}

// TestLeaks makes sure that the search finds what it is for.
func TestLeaks(t *testing.T) {
	opaque := "qL3vT0kZ9xW2mB7nR5cJ8dF1gH4sA6pEyUiO"
	jwt := "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ." + opaque
	for name, test := range map[string]struct {
		secret, text string
		want         bool
	}{
		"whole":          {opaque, "token=" + opaque, true},
		"JWT":            {jwt, "Bearer " + jwt, true},
		"first chunk":    {opaque, "…" + opaque[:25], true},
		"base64":         {opaque, base64.StdEncoding.EncodeToString([]byte("{" + opaque)), true},
		"base64, off 1":  {opaque, base64.StdEncoding.EncodeToString([]byte("{\"" + opaque)), true},
		"base64, off 2":  {opaque, base64.StdEncoding.EncodeToString([]byte("{\"a" + opaque)), true},
		"only the head":  {jwt, "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.", false},
		"something else": {opaque, "nothing to see", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := len(leaks([]string{test.secret}, map[string][]byte{"file": []byte(test.text)})) > 0
			if got != test.want {
				t.Errorf("found = %v, want %v", got, test.want)
			}
		})
	}
}
