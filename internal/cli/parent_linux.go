package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// parentExit returns a channel that is closed when the process that started this one has ended; nil where that cannot be
// told. It costs no thread and no timer.
func parentExit() <-chan struct{} {
	parent := os.Getppid()
	fd, err := unix.PidfdOpen(parent, unix.PIDFD_NONBLOCK)
	if err != nil || parent <= 1 {
		return nil // a kernel before 5.10, or a parent that is none
	}
	file := os.NewFile(uintptr(fd), "parent")
	raw, err := file.SyscallConn()
	if err != nil || os.Getppid() != parent { // it went before it was watched
		_ = file.Close()
		return nil
	}
	gone := make(chan struct{})
	go func() {
		defer file.Close()
		ended := false
		// The runtime calls this once, and again when the descriptor can be read, as that of a process that has ended can.
		err := raw.Read(func(fd uintptr) bool {
			ended = readable(int(fd))
			return ended
		})
		if err == nil && ended {
			close(gone)
		}
	}()
	return gone
}

func readable(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}
