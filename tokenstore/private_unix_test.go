//go:build unix

package tokenstore

import (
	"errors"
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

// TestSharedDirectory: in a directory that others can write, only the sticky bit keeps them from replacing ours.
func TestSharedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tmp")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[os.FileMode]bool{
		0o777 | os.ModeSticky: true, 0o775 | os.ModeSticky: true, 0o755: true, 0o700: true, 0o777: false, 0o775: false, 0o757: false,
	} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := checkShared(dir); (err == nil) != good || !good && hintOf(err) == "" {
			t.Errorf("%v: error %v, hint %q", mode, err, hintOf(err))
		}
	}
	if err := checkShared(filepath.Join(dir, "missing")); err == nil || hintOf(err) == "" {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// TestSquattedLocks: where the directory of the locks was removed, another user may put one that they can write, or a link.
// Then there is no lock, with an error that says what to do.
func TestSquattedLocks(t *testing.T) {
	root := filepath.Join(t.TempDir(), "drawbridge-1")
	l := &locks{parent: root, dir: filepath.Join(root, "keychain")}
	squat := map[string]func() error{
		"a link": func() error { return os.Symlink(t.TempDir(), root) },
		"a directory that others can write": func() error {
			return errors.Join(os.MkdirAll(l.dir, 0o777), os.Chmod(root, 0o777), os.Chmod(l.dir, 0o777))
		},
		"a link in it": func() error { return errors.Join(os.Mkdir(root, 0o700), os.Symlink(t.TempDir(), l.dir)) },
	}
	for name, put := range squat {
		unlock, err := soon(t, l)
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if err := errors.Join(os.RemoveAll(root), put()); err != nil {
			t.Fatal(err)
		}
		if _, err := soon(t, l); err == nil || hintOf(err) == "" {
			t.Errorf("%s: error %v, hint %q", name, err, hintOf(err))
		}
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
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
	if err := (&locks{dir: filepath.Dir(f.Path())}).poll(t.Context(), f); err != nil || !isCurrent(f) {
		t.Errorf("the lock was taken on a file that is gone, error %v", err)
	}
}
