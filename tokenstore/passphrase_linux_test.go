package tokenstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drawbridge/internal/secret"
)

// shelf is the kernel keyring of a test.
type shelf map[string][]byte

func (s shelf) get(id string) ([]byte, bool)    { key, ok := s[id]; return key, ok }
func (s shelf) put(id string, key []byte) error { s[id] = key; return nil }

// person answers questions for a passphrase, and counts them.
type person struct {
	types []string
	asked []bool // whether each question was for a new one
}

func (p *person) ask(first bool) (secret.Text, error) {
	p.asked = append(p.asked, first)
	if len(p.types) == 0 {
		return secret.Text{}, errors.New("the person went away")
	}
	typed := p.types[0]
	p.types = p.types[1:]
	return secret.New(typed), nil
}

// phrased opens the file store in dir as a process does that has this person in front of it, or nobody.
func phrased(t *testing.T, dir string, kept shelf, p *person) Store {
	t.Helper()
	o := Options{Kind: "file", Dir: dir}
	if p != nil {
		o.Passphrase = p.ask
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	f := s.(*files)
	f.key = &lazyKey{ask: (&unlocking{dir, o.Passphrase, f.locks, kept}).key}
	return f
}

const phrase = "CANARY correct horse"

// TestPassphrase: it is chosen once, asked for when the key is not kept any more, and neither it nor the key is in a file. A
// process that has nobody to ask works while the key is kept, and says what to do when it is not.
func TestPassphrase(t *testing.T) {
	dir, kept, name := filepath.Join(t.TempDir(), "items"), shelf{}, NewName("credential", "a")
	chooser := &person{types: []string{phrase}}
	mustSave(t, phrased(t, dir, kept, chooser), name, "x")
	if len(chooser.asked) != 1 || !chooser.asked[0] || len(kept) != 1 {
		t.Fatalf("asked %v, %d keys are kept", chooser.asked, len(kept))
	}
	wantItem(t, phrased(t, dir, kept, nil), name, "x") // a bridge
	walk(t, dir, func(path string, content []byte) {
		for _, key := range kept {
			if strings.Contains(string(content), "CANARY") || strings.Contains(string(content), string(key)) {
				t.Errorf("%s shows the passphrase or the key", path)
			}
		}
	})

	clear(kept) // the time is over
	_, err := phrased(t, dir, kept, nil).Load(t.Context(), name)
	if !errors.Is(err, ErrUnavailable) || hintOf(err) != hintUnlock {
		t.Errorf("nobody to ask: %v, hint %q", err, hintOf(err))
	}
	typist := &person{types: []string{"wrong", "CANARY wrong too", phrase}}
	wantItem(t, phrased(t, dir, kept, typist), name, "x")
	if len(typist.asked) != 3 || typist.asked[0] {
		t.Errorf("asked %v", typist.asked)
	}
	wantItem(t, phrased(t, dir, kept, nil), name, "x")
}

func TestPassphraseRefused(t *testing.T) {
	name := NewName("credential", "a")
	chosen := func(t *testing.T, dir string) {
		mustSave(t, phrased(t, dir, shelf{}, &person{types: []string{phrase}}), name, "x")
	}
	write := func(text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, passphraseFile), []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, c := range map[string]struct {
		before func(*testing.T, string)
		types  []string
		err    string
	}{
		"wrong three times": {chosen, []string{"a", "b", "CANARY c", phrase}, "not the passphrase"},
		"short":             {nil, []string{"CANARY short"[:minPassphrase-1]}, "too short"},
		"nobody types":      {nil, nil, "went away"},
		"items of another key": {func(t *testing.T, dir string) {
			keyFile := filepath.Join(t.TempDir(), "key")
			if err := CreateKeyFile(keyFile); err != nil {
				t.Fatal(err)
			}
			mustSave(t, reopen(t, Options{Kind: "file", Dir: dir, KeyFile: keyFile}), name, "x")
		}, []string{phrase}, "no passphrase was chosen"},
		"damaged":    {write("drawbridge-passphrase 1 AAAA\n"), []string{phrase}, "damaged"},
		"empty":      {write(""), []string{phrase}, "damaged"},
		"short salt": {write("drawbridge-passphrase 1 AAAA 0123456789abcdef\n"), []string{phrase}, "damaged"},
		"newer":      {write("drawbridge-passphrase 2 AAAA BBBB CCCC\n"), []string{phrase}, "newer version"},
	} {
		t.Run(what, func(t *testing.T) {
			dir, kept := filepath.Join(t.TempDir(), "items"), shelf{}
			if c.before != nil {
				c.before(t, dir)
			}
			_, err := phrased(t, dir, kept, &person{types: c.types}).Load(t.Context(), name)
			if err == nil || !strings.Contains(err.Error(), c.err) || hintOf(err) == "" || strings.Contains(err.Error(), "CANARY") || len(kept) > 0 {
				t.Errorf("load: %v, hint %q, %d keys are kept", err, hintOf(err), len(kept))
			}
		})
	}
}

// TestPassphraseNeedsAPerson: where nobody ever chose one and nobody can be asked, the store does not open, and the error
// names the flags.
func TestPassphraseNeedsAPerson(t *testing.T) {
	_, err := Open(Options{Kind: "file", Dir: t.TempDir()})
	if err == nil || !strings.Contains(hintOf(err), "--token-store-key-file") || !strings.Contains(hintOf(err), "--token-store-key-command") {
		t.Errorf("open: %v, hint %q", err, hintOf(err))
	}
}
