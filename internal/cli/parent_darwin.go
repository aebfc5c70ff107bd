package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// parentExit returns a channel that is closed when the process that started this one has ended; nil where that cannot be
// told. It costs a thread that sleeps.
func parentExit() <-chan struct{} {
	parent := os.Getppid()
	queue, err := unix.Kqueue()
	if err != nil || parent <= 1 {
		return nil
	}
	var watch unix.Kevent_t
	unix.SetKevent(&watch, parent, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	watch.Fflags = unix.NOTE_EXIT
	gone := make(chan struct{})
	go func() {
		defer unix.Close(queue)
		for {
			n, err := unix.Kevent(queue, []unix.Kevent_t{watch}, make([]unix.Kevent_t, 1), nil)
			if err == unix.EINTR {
				continue
			}
			if err == nil && n > 0 {
				close(gone)
			}
			return
		}
	}()
	return gone
}
