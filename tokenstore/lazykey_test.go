package tokenstore

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/internal/secret"
)

func TestParseKey(t *testing.T) {
	key := "\xff\xfe\xfd0123456789 CANARY 0123456789\x00"
	want, err := parseKey(secret.New(key))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"hex": hex.EncodeToString([]byte(key)), "hex line": strings.ToUpper(hex.EncodeToString([]byte(key))) + "\r\n",
		"base64": base64.StdEncoding.EncodeToString([]byte(key)), "base64 line": base64.StdEncoding.EncodeToString([]byte(key)) + "\n",
		"base64url": base64.RawURLEncoding.EncodeToString([]byte(key)),
	} {
		if got, err := parseKey(secret.New(text)); err != nil || got.id != want.id {
			t.Errorf("%s: another key, error %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "short": key[1:], "long": key + "x", "words": "CANARY correct horse battery staple and so on",
		"short hex": hex.EncodeToString([]byte(key[1:])), "long base64": base64.StdEncoding.EncodeToString([]byte(key + "x")),
	} {
		if _, err := parseKey(secret.New(text)); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("0123456789abcdef0123456789abcdef")
	f.Add(strings.Repeat("ab", 32) + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := parseKey(secret.New(text)); err == nil && key.aead == nil {
			t.Error("no key and no error")
		}
	})
}

// TestKeyIsAskedForOnce: opening the store asks for nothing, parallel accesses ask once, and a store that was written with
// the key from a file opens with the same key from elsewhere.
func TestKeyIsAskedForOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "items")
	var asked atomic.Int32
	s := reopen(t, Options{Kind: "file", Dir: dir, Key: func() (secret.Text, error) {
		asked.Add(1)
		return secret.New(strings.Repeat("ab", keySize)), nil
	}})
	if n := asked.Load(); n != 0 {
		t.Fatalf("opening the store asked %d times", n)
	}
	name := NewName("credential", "a")
	mustSave(t, s, name, "CANARY")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if text, err := s.Load(t.Context(), name); err != nil || text.Reveal() != "CANARY" {
				t.Errorf("load: %v", err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestKeyThatCannotBeHad: the caller may leave, the question goes on; a refusal is not repeated at once.
func TestKeyThatCannotBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, refusal := 0, errors.New("the human closed the window")
		l := &lazyKey{ask: func() (secret.Text, error) {
			asked++
			time.Sleep(20 * time.Second)
			return secret.Text{}, refusal
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.get(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnavailable) || hintOf(err) == "" {
			t.Errorf("impatient caller: %v", err)
		}
		for range 3 {
			if _, err := l.get(t.Context()); !errors.Is(err, refusal) || !errors.Is(err, ErrUnavailable) || hintOf(err) == "" {
				t.Errorf("patient caller: %v", err)
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		time.Sleep(keyRetry)
		_, _ = l.get(t.Context()) // counts
		if asked != 2 {
			t.Errorf("asked %d times after a pause", asked)
		}
	})
}
