package main_test

import (
	"bytes"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
)

// canary is in every secret of the demo's identity provider.
const canary = "CANARY"

// needle is the length of the pieces of a secret that are searched for: too long for a coincidence, short enough that a
// secret cut into chunks is found.
const needle = 20

// pieces returns parts of a secret, each in the clear and as the base64 text that contains it. The first two segments of
// a JWT tell nothing that is worth stealing; its signature is searched for.
func pieces(secret string) (found []string) {
	rest := secret[strings.LastIndexByte(secret, '.')+1:]
	if len(rest) < needle {
		return []string{secret}
	}
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

// leaks returns the names of the texts that hold a piece of one of the secrets, or the canary.
func leaks(secrets []string, texts map[string][]byte) (names []string) {
	sought := []string{canary}
	for _, s := range secrets {
		sought = append(sought, pieces(s)...)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		text := texts[name]
		if slices.ContainsFunc(sought, func(s string) bool { return bytes.Contains(text, []byte(s)) }) {
			names = append(names, name)
		}
	}
	return names
}

// TestLeaks makes sure that the search finds what it is for.
func TestLeaks(t *testing.T) {
	opaque := "qL3vT0kZ9xW2mB7nR5cJ8dF1gH4sA6pEyUiO"
	jwt := "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ." + opaque
	for name, test := range map[string]struct {
		secret, text string
		want         bool
	}{
		"whole":         {opaque, "token=" + opaque, true},
		"JWT":           {jwt, "Bearer " + jwt, true},
		"first chunk":   {opaque, "..." + opaque[:25], true},
		"base64":        {opaque, base64.StdEncoding.EncodeToString([]byte("{" + opaque)), true},
		"base64, off 1": {opaque, base64.StdEncoding.EncodeToString([]byte("{\"" + opaque)), true},
		"base64, off 2": {opaque, base64.StdEncoding.EncodeToString([]byte("{\"a" + opaque)), true},
		"short":         {"hunter2", "Basic hunter2", true},
		"unknown":       {opaque, "a CANARY that nobody listed", true},
		"only the head": {jwt, "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.", false},
		"other text":    {opaque, "nothing to see", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := len(leaks([]string{test.secret}, map[string][]byte{"file": []byte(test.text)})) > 0
			if got != test.want {
				t.Errorf("found = %v, want %v", got, test.want)
			}
		})
	}
}
