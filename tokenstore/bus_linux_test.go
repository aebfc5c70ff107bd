package tokenstore

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestBusIsLookedForWhereTheLibraryLooks(t *testing.T) {
	for kind, c := range map[string]struct {
		make func(dir string) error
		want bool
	}{
		"nothing": {func(string) error { return nil }, false},
		"socket": {func(dir string) error {
			l, err := net.Listen("unix", filepath.Join(dir, "bus"))
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		}, true},
		"file": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "bus"), nil, 0o600) }, false},
		"session file": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "dbus-session"), []byte("DBUS_SESSION_BUS_ADDRESS=unix:abstract=/x\n"), 0o600)
		}, true},
		"other session file": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "dbus-session"), []byte("unix:abstract=/x\n"), 0o600)
		}, false},
	} {
		dir, err := os.MkdirTemp("", "bus") // short: a socket's path has 108 bytes at most
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := c.make(dir); err != nil {
			t.Fatal(err)
		}
		if err := busIn(dir); (err == nil) != c.want {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := reachable("unix:path=/x"); err != nil {
		t.Errorf("the variable is set: %v", err)
	}
}
