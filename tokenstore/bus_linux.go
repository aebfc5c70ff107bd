package tokenstore

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

const (
	keychainLocation = "keychain of the desktop (Secret Service)"
	keychainItem     = largeItem
)

const busVariable = "DBUS_SESSION_BUS_ADDRESS"

// reachable reports whether there is a session bus. It must say no exactly where the D-Bus library would find none,
// because that library then runs dbus-launch, which leaves a daemon behind for every start of ours. The library reads
// the variable, then looks at the two files below, so a stripped environment is no obstacle on a machine with systemd.
func reachable(sessionBus string) error {
	if sessionBus != "" && sessionBus != "autolaunch:" {
		return nil
	}
	// The library asks for the current user in this way too; where it gets an error, it launches.
	u, err := user.Current()
	if err != nil {
		return errors.New("no session bus: " + busVariable + " is not set, and the user is not in the user database")
	}
	return busIn(filepath.Join("/run/user", u.Uid))
}

func busIn(runtime string) error {
	if info, err := os.Stat(filepath.Join(runtime, "bus")); err == nil && info.Mode()&os.ModeSocket != 0 {
		return nil
	}
	address, err := os.ReadFile(filepath.Join(runtime, "dbus-session"))
	if err == nil && strings.HasPrefix(string(address), busVariable+"=") {
		return nil
	}
	return errors.New("no session bus: " + busVariable + " is not set, and " + filepath.Join(runtime, "bus") + " does not exist")
}
