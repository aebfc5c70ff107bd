//go:build unix

package clientconfig

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLink: a link to a file kept elsewhere stays one, and so do the file's permissions.
func TestLink(t *testing.T) {
	d := newDesk(t, "zed")
	target := filepath.Join(d.machine.Home, "dotfiles", "zed.json")
	put(t, target, "{}\n")
	if err := errors.Join(os.Chmod(target, 0o640), os.MkdirAll(filepath.Dir(d.path), 0o700), os.Symlink(target, d.path)); err != nil {
		t.Fatal(err)
	}
	d.add(example)
	if to, err := os.Readlink(d.path); err != nil || to != target {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	info, err := os.Stat(target)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file has the mode %o, %v", info.Mode().Perm(), err)
	}
	d.remove(example)
	d.wants("{}\n")
	if err := os.Remove(target); err != nil {
		t.Fatal(err)
	}
	if _, err := d.client.Add(d.machine, User, example); err == nil || !strings.Contains(err.Error(), "the link leads to a file that does not exist") {
		t.Errorf("add through a link to nothing: %v", err)
	}
}
