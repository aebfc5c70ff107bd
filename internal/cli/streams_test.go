//go:build unix

package cli

import (
	"log/slog"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStreamsAreRestored: standard input and output that are one socket block afterwards as before. Restored in the order
// they were changed, they did not.
func TestStreamsAreRestored(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	in, other := os.NewFile(uintptr(fds[0]), "in"), os.NewFile(uintptr(fds[1]), "other")
	defer in.Close()
	defer other.Close()
	second, err := unix.Dup(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	out := os.NewFile(uintptr(second), "out")
	defer out.Close()

	s := openStreams(Env{Stdin: in, Stdout: out, Stderr: os.Stderr, LookupEnv: func(string) (string, bool) { return "", false }}, slog.New(slog.DiscardHandler))
	if !nonblocking(t, fds[0]) {
		t.Error("the socket is not polled")
	}
	s.close()
	if nonblocking(t, fds[0]) {
		t.Error("the socket was not restored")
	}
}

// TestStreamsLeaveDiagnosticsAlone: what standard error shares with another stream stays as it is.
func TestStreamsLeaveDiagnosticsAlone(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, other := os.NewFile(uintptr(fds[0]), "all"), os.NewFile(uintptr(fds[1]), "other")
	defer f.Close()
	defer other.Close()
	s := openStreams(Env{Stdin: f, Stdout: f, Stderr: f, LookupEnv: func(string) (string, bool) { return "", false }}, slog.New(slog.DiscardHandler))
	defer s.close()
	if nonblocking(t, fds[0]) {
		t.Error("standard error refuses what a full socket has no place for")
	}
}

func nonblocking(t *testing.T, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_NONBLOCK != 0
}
