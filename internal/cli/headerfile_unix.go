//go:build unix

package cli

import "io/fs"

// othersMayRead reports whether other users of the machine can read a file.
func othersMayRead(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
