//go:build unix

package auth

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// roleVariable makes the test binary play another process. roleArgument is what it gets to know.
const (
	roleVariable = "AUTH_TEST_ROLE"
	roleArgument = "AUTH_TEST_ARGUMENT"
)

var roles = map[string]func(argument string) error{
	"worker": workInStorm,
	"once":   callOnce,
	"lock":   holdKeychainLock,
}

// Of TestStorm. The full form is -storm.expiries=1000.
var (
	stormSeed     = flag.Uint64("storm.seed", 1, "seed of the schedule of TestStorm, which is repeatable as far as processes are")
	stormExpiries = flag.Int("storm.expiries", 60, "how many tokens expire in TestStorm")
	stormStore    = flag.String("storm.store", "file", "the store that the processes of TestStorm share: file or keychain")
)

func TestMain(m *testing.M) {
	play, ok := roles[os.Getenv(roleVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := play(os.Getenv(roleArgument)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// as returns the test binary in another role. It ends when its standard input does.
func as(t *testing.T, role, argument string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, roleArgument+"="+argument)
	cmd.Stderr = os.Stderr
	return cmd
}
