package tokenstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// roleVariable makes the test binary play another process. Its value is the role and its arguments.
const roleVariable = "TOKENSTORE_TEST_ROLE"

var roles = map[string]func(args []string) error{
	"increment": incrementUnderLock,
	"hold":      holdLock,
}

func TestMain(m *testing.M) {
	role, args, _ := strings.Cut(os.Getenv(roleVariable), " ")
	play, ok := roles[role]
	if !ok {
		os.Exit(m.Run())
	}
	if err := play(strings.Fields(args)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// as returns the test binary in another role.
func as(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role+" "+strings.Join(args, " "))
	cmd.Stderr = os.Stderr
	return cmd
}

const (
	processes  = 8
	increments = 25
)

// TestLockBetweenProcesses has processes add to a number in a file, which loses counts unless they take turns, while
// another one is killed with the lock in its hand.
func TestLockBetweenProcesses(t *testing.T) {
	dir := t.TempDir()
	holder := as(t, "hold", dir)
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("holder said %q, error %v", line, err)
	}

	var wg sync.WaitGroup
	for range processes {
		cmd := as(t, "increment", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("increment: %v", err)
			}
		})
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	wg.Wait()
	if n, err := readNumber(dir); err != nil || n != processes*increments {
		t.Errorf("counted %d, error %v; want %d", n, err, processes*increments)
	}
}

func incrementUnderLock(args []string) error {
	l := locks{dir: args[0]}
	for range increments {
		unlock, err := l.named(context.Background(), "counter")
		if err != nil {
			return err
		}
		n, err := readNumber(args[0])
		if err != nil {
			return err
		}
		if err := os.WriteFile(numberFile(args[0]), []byte(strconv.Itoa(n+1)), 0o600); err != nil {
			return err
		}
		unlock()
	}
	return nil
}

func holdLock(args []string) error {
	l := locks{dir: args[0]}
	if _, err := l.named(context.Background(), "counter"); err != nil {
		return err
	}
	fmt.Println("held")
	<-time.After(time.Hour) // it is killed long before; without a timer the runtime may call it a deadlock
	return nil
}

func numberFile(dir string) string { return filepath.Join(dir, "number") }

func readNumber(dir string) (int, error) {
	text, err := os.ReadFile(numberFile(dir))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}
