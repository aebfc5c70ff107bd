package clientconfig

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Backups are the files as they were before each change, in one directory that only its owner can read: client
// configurations hold keys of other servers.
type Backups struct{ Dir string }

// maxBackups is how many are kept of one file.
const maxBackups = 10

// absent ends the name of a backup of a file that did not exist.
const absent = ".absent"

// prefix begins the names of a file's backups.
func prefix(path string) string {
	sum := sha256.Sum256([]byte(path))
	return strings.TrimPrefix(filepath.Base(path), ".") + "." + hex.EncodeToString(sum[:4]) + "."
}

// names returns the backups of a file, newest first.
func (b Backups) names(path string) (names []string, err error) {
	entries, err := os.ReadDir(b.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix(path)) && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, err
}

// each shows the backups of a file, newest first, until one is what the caller looked for.
func (b Backups) each(path string, found func(content []byte, existed bool) bool) error {
	names, err := b.names(path)
	if err != nil {
		return fmt.Errorf("read backups: %w", err)
	}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(b.Dir, name))
		if err != nil {
			return fmt.Errorf("read backup: %w", err)
		}
		if found(content, !strings.HasSuffix(name, absent)) {
			return nil
		}
	}
	return nil
}

// keep stores a file as it is, and lets the oldest go. It returns the path of the copy, or "" where there is no file.
func (b Backups) keep(f *file) (string, error) {
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return "", fmt.Errorf("back up %s: %w", f.path, err)
	}
	names, err := b.names(f.path)
	if err != nil {
		return "", fmt.Errorf("back up %s: %w", f.path, err)
	}
	name := prefix(f.path) + time.Now().UTC().Format("20060102T150405.000000000")
	if !f.exists {
		name += absent
	}
	path := filepath.Join(b.Dir, name)
	if err := os.WriteFile(path, f.raw, 0o600); err != nil {
		return "", fmt.Errorf("back up %s: %w", f.path, err)
	}
	for i := maxBackups - 1; i < len(names); i++ {
		_ = os.Remove(filepath.Join(b.Dir, names[i])) // the next change tries again
	}
	if !f.exists {
		return "", nil
	}
	return path, nil
}
