package tokenstore

import (
	"fmt"
	"os"
)

// lockRoot returns the directory for the locks of this user. The run-time directory is preferred because nothing cleans
// it while the user is logged in, and because whoever shares a session bus shares it too.
func lockRoot() (string, error) {
	uid := os.Geteuid()
	runtime := fmt.Sprintf("/run/user/%d", uid)
	dir := fmt.Sprintf("/tmp/drawbridge-%d", uid)
	if checkPrivate(runtime) == nil {
		dir = runtime + "/drawbridge"
	}
	return dir, makePrivate(dir)
}
