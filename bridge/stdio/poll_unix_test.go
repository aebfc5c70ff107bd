//go:build unix

package stdio_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"drawbridge/bridge/stdio"
)

func nonblocking(t *testing.T, f *os.File) bool {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	flags := 0
	if err := raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_NONBLOCK != 0
}

// pipe returns a pipe whose ends block, as those that a client starts a program with.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() {
		_ = r.Close() // the test may have
		_ = w.Close()
	})
	return r, w
}

// TestPoll: a polled pipe can be waited for and is left as it was.
func TestPoll(t *testing.T) {
	r, w := pipe(t)
	in, restoreIn, err := stdio.Poll(r)
	if err != nil {
		t.Fatal(err)
	}
	out, restoreOut, err := stdio.Poll(w)
	if err != nil {
		t.Fatal(err)
	}
	if !nonblocking(t, r) || !nonblocking(t, w) {
		t.Error("the runtime cannot poll a pipe that blocks")
	}
	got := make(chan string)
	go func() {
		text, _ := io.ReadAll(in)
		got <- string(text)
	}()
	big := string(make([]byte, 1<<20)) // more than a pipe holds
	if _, err := io.WriteString(out, big); err != nil {
		t.Error(err)
	}
	_ = out.Close()
	_ = w.Close()
	if text := <-got; text != big {
		t.Errorf("%d bytes arrived, want %d", len(text), len(big))
	}
	restoreIn()
	if nonblocking(t, r) {
		t.Error("the pipe was not restored")
	}
	restoreOut() // of a closed file: no harm done
}

// TestPollKeepsTheFlag: a pipe that did not block before does not after.
func TestPollKeepsTheFlag(t *testing.T) {
	r, _ := pipe(t)
	_, restore, err := stdio.Poll(r)
	if err != nil {
		t.Fatal(err)
	}
	_, restoreAgain, err := stdio.Poll(r)
	if err != nil {
		t.Fatal(err)
	}
	if restoreAgain(); !nonblocking(t, r) {
		t.Error("the second restore cleared the flag that it found set")
	}
	if restore(); nonblocking(t, r) {
		t.Error("the first restore did not clear the flag that it found clear")
	}
}

func TestPollRefuses(t *testing.T) {
	regular, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, f := range []*os.File{regular, null} {
		if _, _, err := stdio.Poll(f); err == nil {
			t.Errorf("%s is polled", f.Name())
		}
	}
}
