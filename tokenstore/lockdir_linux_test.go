package tokenstore

import (
	"fmt"
	"os"
	"testing"
)

// TestLockPlaceIsFixed: neither a variable nor what exists at the moment moves the locks of a user; whoever starts before the
// user logs in and who starts after must mean the same ones. (That processes do is TestLockIgnoresEnvironment in auth.)
func TestLockPlaceIsFixed(t *testing.T) {
	for _, name := range []string{"TMPDIR", "HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	want := fmt.Sprintf("/tmp/drawbridge-%d", os.Geteuid())
	if got, err := lockRoot(); got != want || err != nil {
		t.Errorf("locks are in %q, %v; want %q", got, err, want)
	}
}
