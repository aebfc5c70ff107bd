//go:build unix

package tokenstore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gofrs/flock"
)

func TestPrivateDirectories(t *testing.T) {
	base := t.TempDir()
	at := func(name string) string { return filepath.Join(base, name) }
	mkdir := func(name string, mode os.FileMode) {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	mkdir("mine", 0o700)
	mkdir("loose", 0o755)
	if err := os.Symlink(at("mine"), at("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{"new": true, "mine": true, "loose": false, "link": false, "file": false} {
		if err := makePrivate(at(name)); (err == nil) != good || !good && hintOf(err) == "" {
			t.Errorf("%s: error %v, hint %q", name, err, hintOf(err))
		}
	}
	if err := makePrivate(filepath.Join(base, "a", "b")); err == nil {
		t.Error("made a directory in one that is not there")
	}
}

func TestFileModes(t *testing.T) {
	s, o := newFiles(t)
	name := NewName("credential", "a")
	mustSave(t, s, name, "x")
	for path, want := range map[string]os.FileMode{o.Dir: 0o700, o.KeyFile: 0o600, s.path(name): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, error %v; want mode %04o", path, info.Mode(), err, want)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(o.KeyFile, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(o); err == nil || hintOf(err) == "" {
			t.Errorf("key file with mode %04o: error %v", mode, err)
		}
	}
}

// TestLockOnRemovedFile removes a lock file behind the holder of its handle, as cleaners of /tmp do (Windows does not let them): a lock on a file
// that is no longer there does not count.
func TestLockOnRemovedFile(t *testing.T) {
	f := flock.New(filepath.Join(t.TempDir(), "x.lock"))
	if ok, err := f.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer f.Unlock()
	if !isCurrent(f) {
		t.Error("a lock on a file that is there does not count")
	}
	if err := os.Rename(f.Path(), f.Path()+".gone"); err != nil {
		t.Fatal(err)
	}
	if isCurrent(f) {
		t.Error("a lock on a file that is gone counts")
	}
	if err := os.WriteFile(f.Path(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if isCurrent(f) {
		t.Error("a lock on a file that was replaced counts")
	}
	if err := poll(t.Context(), f); err != nil || !isCurrent(f) {
		t.Errorf("the lock was taken on a file that is gone, error %v", err)
	}
}
