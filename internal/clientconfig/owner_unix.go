//go:build unix

package clientconfig

import (
	"os"
	"syscall"
)

// keepOwner gives the new file to the owner of the old one, which matters to root: the client must be able to write it.
func (f *file) keepOwner(temp *os.File) error {
	info, err := os.Stat(f.target)
	if err != nil {
		return nil // there is no old one
	}
	old, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(old.Uid) == os.Geteuid() {
		return nil
	}
	return temp.Chown(int(old.Uid), int(old.Gid))
}
