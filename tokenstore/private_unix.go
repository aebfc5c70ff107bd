//go:build unix

package tokenstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// makePrivate creates a directory that only this user may enter, or makes sure that it is one.
func makePrivate(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("private directory: %w", err)
	}
	return checkPrivate(dir)
}

// checkShared refuses a directory in which other users could replace what is ours.
func checkShared(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &hinted{fmt.Errorf("shared directory: %w", err), "have the administrator make it, with mode 1777; or use --token-store file or memory"}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	ours := ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
	if !ours || info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return &hinted{
			fmt.Errorf("shared directory %q: want one of root whose entries only their owners can replace, got %v", dir, info.Mode()),
			fmt.Sprintf("have the administrator run chmod 1777 %s", dir),
		}
	}
	return nil
}

// checkPrivate refuses what another user may have put there: a link, a directory of theirs, one they can write.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("private directory: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return &hinted{
			fmt.Errorf("private directory %q: want a directory of user %d with mode 0700, got %v", dir, os.Geteuid(), info.Mode()),
			fmt.Sprintf("remove %s, or make it yours alone (chmod 700)", dir),
		}
	}
	return nil
}

// checkKeyMode refuses a key that other users can read.
func checkKeyMode(info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return &hinted{
			fmt.Errorf("key file: mode %04o lets other users at it", mode),
			"run chmod 600 on the key file",
		}
	}
	return nil
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
