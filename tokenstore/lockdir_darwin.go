package tokenstore

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// lockRoot returns the directory for the locks of this user, in the home directory that the user database names: HOME
// may be unset or point elsewhere.
func lockRoot() (string, error) {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return "", fmt.Errorf("home directory for locks: %w", err)
	}
	caches := filepath.Join(u.HomeDir, "Library", "Caches")
	if err := os.MkdirAll(caches, 0o700); err != nil {
		return "", fmt.Errorf("directory for locks: %w", err)
	}
	return filepath.Join(caches, "drawbridge-locks"), nil
}
