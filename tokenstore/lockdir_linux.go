package tokenstore

import (
	"fmt"
	"os"
)

// lockRoot returns the directory for the locks of this user. It is in /tmp, which every process has from its start to its
// end: /run/user comes with a login and goes with the last logout, a home may be mounted later, and the user database is
// not always a file. That others may write there is why the directory is checked for every lock.
func lockRoot() (string, error) {
	if err := checkShared("/tmp"); err != nil {
		return "", err
	}
	return fmt.Sprintf("/tmp/drawbridge-%d", os.Geteuid()), nil
}
