package tokenstore

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// soon takes a lock that is free.
func soon(t *testing.T, l *locks) (func(), error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return l.named(ctx, "x")
}

// TestLockDirectoryIsMadeAnew: cleaners remove the directory of the locks under a process that lives long. The next lock is
// a lock again, shared with a process that starts only then.
func TestLockDirectoryIsMadeAnew(t *testing.T) {
	root := filepath.Join(t.TempDir(), "drawbridge-1")
	old := &locks{parent: root, dir: filepath.Join(root, "keychain")}
	if err := old.prepare(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		unlock, err := soon(t, old)
		if err != nil {
			t.Fatal(err)
		}
		later := &locks{parent: root, dir: filepath.Join(root, "keychain")}
		wait, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
		if _, err := later.named(wait, "x"); err == nil {
			t.Error("two hold one lock")
		}
		cancel()
		unlock()
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHeldLockLooksNew: cleaners of /tmp remove what is old, and a lock file may be: it is written to never.
func TestHeldLockLooksNew(t *testing.T) {
	l := &locks{dir: t.TempDir()}
	take := func() {
		t.Helper()
		unlock, err := soon(t, l)
		if err != nil {
			t.Fatal(err)
		}
		unlock()
	}
	take()
	files, err := filepath.Glob(filepath.Join(l.dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("lock files %q, %v", files, err)
	}
	long := time.Now().Add(-30 * 24 * time.Hour)
	if err := os.Chtimes(files[0], long, long); err != nil {
		t.Fatal(err)
	}
	take()
	if info, err := os.Stat(files[0]); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("the file is as old as before: %v, %v", info.ModTime(), err)
	}
}
