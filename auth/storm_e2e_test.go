//go:build e2e && linux

package auth

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// stormBus activates no services, so that nothing runs but what the test starts.
const stormBus = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`

// stormKeyring starts an unlocked keyring, waits until it answers, and becomes the test.
const stormKeyring = `echo test | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null &&
until dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \
	org.freedesktop.DBus.Peer.Ping >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 200 ] || exit 9; sleep 0.05; done
exec "$0" "$@"`

// TestStormOnKeyring is TestStorm with GNOME keyring as the store. It needs the Debian packages dbus and gnome-keyring.
func TestStormOnKeyring(t *testing.T) {
	dir, err := os.MkdirTemp("", "storm") // short: sockets live in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bus := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(bus, []byte(stormBus), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "dbus-run-session", "--config-file="+bus, "--", "sh", "-c", stormKeyring,
		self, "-test.run=^TestStorm$", "-test.v", "-storm.store=keychain")
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "XDG_DATA_HOME="+dir, "DISPLAY=", "WAYLAND_DISPLAY=")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
