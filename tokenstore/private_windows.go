package tokenstore

import (
	"fmt"
	"io/fs"
	"os"
)

// makePrivate creates a directory. It inherits the access list of the user's profile, which is private by default.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("private directory: %w", err)
	}
	return nil
}

// checkKeyMode has nothing to check: mode bits say nothing about Windows access lists.
func checkKeyMode(fs.FileInfo) error { return nil }

// syncDir has nothing to do: Windows cannot flush a directory, and NTFS journals the rename.
func syncDir(string) error { return nil }
