package cli

import "io/fs"

// othersMayRead does not know: on Windows modes say nothing, and the user's profile is private.
func othersMayRead(fs.FileInfo) bool { return false }
