package clientconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// Errors of files.
var (
	// ErrReadOnly is why a file is not written: its permissions do not let its owner write it.
	ErrReadOnly = errors.New("the file is read-only")

	// ErrConcurrent is why a file is not written: somebody else changed it since it was read.
	ErrConcurrent = errors.New("another program changed the file meanwhile")
)

// maxFile is the longest file that is read, in bytes. Claude Code's grows to some megabytes.
const maxFile = 256 << 20

// byteOrderMark is what some editors of Windows put in front of UTF-8.
var byteOrderMark = []byte("\uFEFF")

// file is a configuration file as it was read.
type file struct {
	path   string // as it is named
	target string // what is read and replaced: links stay
	exists bool
	mode   fs.FileMode
	raw    []byte
}

// open reads a file. One that does not exist is empty.
func open(path string) (*file, error) {
	f := &file{path: path, target: path, mode: 0o600}
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("%s: the link leads to a file that does not exist", path)
		}
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	f.target, f.exists = target, true
	info, err := os.Stat(target)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	f.mode = info.Mode().Perm()
	f.raw, err = os.ReadFile(target)
	return f, err
}

// text returns the content without a byte order mark.
func (f *file) text() ([]byte, error) {
	text := bytes.TrimPrefix(f.raw, byteOrderMark)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return nil, badText(text, i, errors.New("this is not UTF-8"))
		}
		i += size
	}
	return text, nil
}

// withMark puts back the byte order mark that the file began with.
func (f *file) withMark(text []byte) []byte {
	if bytes.HasPrefix(f.raw, byteOrderMark) {
		return append(bytes.Clone(byteOrderMark), text...)
	}
	return text
}

// writable refuses a file that its owner keeps from being written: replacing it would get around that.
func (f *file) writable() error {
	if f.exists && f.mode&0o200 == 0 {
		return fmt.Errorf("%s: %w", f.path, ErrReadOnly)
	}
	return nil
}

// replace writes the file anew: a second file is written and takes the name of the first, so that nobody sees half of it.
func (f *file) replace(content []byte) error {
	dir := filepath.Dir(f.target)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, "."+filepath.Base(f.target)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // nothing is there after the rename
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Chmod(f.mode), f.keepOwner(temp), temp.Sync(), temp.Close())
	if err == nil {
		err = f.unchanged()
	}
	if err == nil {
		err = os.Rename(temp.Name(), f.target)
	}
	return err
}

// remove deletes the file.
func (f *file) remove() error {
	if err := f.unchanged(); err != nil {
		return err
	}
	return os.Remove(f.target)
}

// unchanged looks once more at what is about to be replaced.
func (f *file) unchanged() error {
	now, err := os.ReadFile(f.target)
	if errors.Is(err, fs.ErrNotExist) && !f.exists {
		return nil
	}
	if err != nil || !f.exists || !bytes.Equal(now, f.raw) {
		return fmt.Errorf("%s: %w", f.path, errors.Join(ErrConcurrent, err))
	}
	return nil
}
