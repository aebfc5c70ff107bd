package tokenstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drawbridge/internal/secret"
)

// newFiles returns an empty file store and its options.
func newFiles(t *testing.T) (*files, Options) {
	t.Helper()
	o := Options{Kind: "file", Dir: filepath.Join(t.TempDir(), "items"), KeyFile: filepath.Join(t.TempDir(), "key")}
	if err := CreateKeyFile(o.KeyFile); err != nil {
		t.Fatal(err)
	}
	return reopen(t, o), o
}

func reopen(t *testing.T, o Options) *files {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*files)
}

func TestFilesOutliveTheProcessAndShowNothing(t *testing.T) {
	s, o := newFiles(t)
	name := NewName("credential", "a")
	mustSave(t, s, name, "CANARY")
	wantItem(t, reopen(t, o), name, "CANARY")
	wantNames(t, reopen(t, o), name)
	walk(t, o.Dir, func(path string, content []byte) {
		if strings.Contains(string(content), "CANARY") || strings.Contains(path, "CANARY") {
			t.Errorf("%s shows the secret", path)
		}
	})
}

func walk(t *testing.T, dir string, visit func(path string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		visit(path, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnotherKey opens a store with a key that is not the one it was written with: nothing is read, changed or removed.
func TestAnotherKey(t *testing.T) {
	s, o := newFiles(t)
	name := NewName("credential", "a")
	mustSave(t, s, name, "x")
	right := o.KeyFile
	o.KeyFile = filepath.Join(t.TempDir(), "other")
	if err := CreateKeyFile(o.KeyFile); err != nil {
		t.Fatal(err)
	}
	wrong := reopen(t, o)
	_, loadErr := wrong.Load(t.Context(), name)
	for step, err := range map[string]error{
		"load": loadErr, "save": wrong.Save(t.Context(), name, secret.New("y")), "delete": wrong.Delete(t.Context(), name),
	} {
		if err == nil || hintOf(err) == "" || errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s with another key: %v, hint %q", step, err, hintOf(err))
		}
	}
	o.KeyFile = right
	wantItem(t, reopen(t, o), name, "x")
}

func TestSealedFileRefused(t *testing.T) {
	name, other := NewName("credential", "a"), NewName("credential", "b")
	tampers := map[string]struct {
		change func(string) string
		want   error
	}{
		"empty":      {func(string) string { return "" }, ErrDamaged},
		"plain":      {func(string) string { return `{"access_token":"x"}` }, ErrDamaged},
		"cut":        {func(s string) string { return s[:len(s)-1] }, ErrDamaged},
		"one bit":    {func(s string) string { return s[:len(s)-1] + string(s[len(s)-1]^1) }, ErrDamaged},
		"no body":    {func(s string) string { return s[:strings.Index(s, "\n")+1] }, ErrDamaged},
		"no key id":  {func(s string) string { return "drawbridge-sealed 1\n" }, ErrDamaged},
		"no number":  {func(s string) string { return "drawbridge-sealed x y\n" }, ErrDamaged},
		"new format": {func(s string) string { return strings.Replace(s, " 1 ", " 2 ", 1) }, ErrNewer},
	}
	for kind, tamper := range tampers {
		t.Run(kind, func(t *testing.T) {
			s, _ := newFiles(t)
			mustSave(t, s, name, "x")
			rewrite(t, s.path(name), s.path(name), tamper.change)
			if _, err := s.Load(t.Context(), name); !errors.Is(err, tamper.want) || hintOf(err) == "" {
				t.Errorf("load: %v, want %v with a hint", err, tamper.want)
			}
			saved := s.Save(t.Context(), name, secret.New("y"))
			if tamper.want == ErrNewer != errors.Is(saved, ErrNewer) {
				t.Errorf("save over it: %v", saved)
			}
		})
	}
	t.Run("swapped", func(t *testing.T) {
		s, _ := newFiles(t)
		mustSave(t, s, name, "x")
		rewrite(t, s.path(name), s.path(other), func(s string) string { return s })
		if _, err := s.Load(t.Context(), other); !errors.Is(err, ErrDamaged) {
			t.Errorf("an item under another name: %v, want ErrDamaged", err)
		}
	})
}

func rewrite(t *testing.T, from, to string, change func(string) string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte(change(string(content))), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLeftoversOfACrashGo(t *testing.T) {
	s, o := newFiles(t)
	temp := filepath.Join(o.Dir, strings.Replace(tempPattern, "*", "123", 1))
	if err := os.WriteFile(temp, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantNames(t, s)
	mustSave(t, s, NewName("credential", "a"), "x")
	if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("leftover: %v", err)
	}
}

func TestKeyFileIsNeverReplaced(t *testing.T) {
	_, o := newFiles(t)
	before, _ := os.ReadFile(o.KeyFile)
	if err := CreateKeyFile(o.KeyFile); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second key file: %v, want ErrExist", err)
	}
	if after, _ := os.ReadFile(o.KeyFile); len(after) != keySize || string(after) != string(before) {
		t.Error("the key changed")
	}
}

func TestOpenFilesRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", strings.Repeat("k", keySize))
	items := filepath.Join(dir, "items")
	for kind, o := range map[string]Options{
		"no key":      {Dir: items},
		"no dir":      {KeyFile: good},
		"missing key": {Dir: items, KeyFile: filepath.Join(dir, "none")},
		"short key":   {Dir: items, KeyFile: write("short", "k")},
		"long key":    {Dir: items, KeyFile: write("long", strings.Repeat("k", keySize+1))},
		"key inside":  {Dir: dir, KeyFile: good},
		"dir is file": {Dir: write("file", ""), KeyFile: good},
	} {
		o.Kind = "file"
		if s, err := Open(o); err == nil || s != nil {
			t.Errorf("%s: opened", kind)
		} else if strings.Contains(err.Error(), "kkk") {
			t.Errorf("%s: the error shows the key: %v", kind, err)
		}
	}
}

func FuzzOpenSealed(f *testing.F) {
	key, err := newSealKey([]byte(strings.Repeat("k", keySize)))
	if err != nil {
		f.Fatal(err)
	}
	name := NewName("credential", "a")
	f.Add(key.seal(name, "hello"))
	f.Add([]byte("drawbridge-sealed 1 \n"))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if text, err := key.open(name, sealed); err == nil && text != "hello" {
			t.Errorf("forged %q", text)
		}
	})
}
