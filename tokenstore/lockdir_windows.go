package tokenstore

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// lockRoot returns the directory for the locks of this user. The system names it, as LOCALAPPDATA may be unset.
func lockRoot() (string, error) {
	local, err := windows.KnownFolderPath(windows.FOLDERID_LocalAppData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		return "", fmt.Errorf("directory for locks: %w", err)
	}
	return filepath.Join(local, "drawbridge", "locks"), nil
}
