//go:build unix

package stdio

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Poll returns f read and written through the runtime's poller, so that waiting for it takes no thread, and a function
// that puts f back as it was. It fails for what is no pipe and no socket: terminals are shared with other programs,
// which would be surprised. Nothing but the returned file may be used until restore is called.
func Poll(f *os.File) (polled *os.File, restore func(), err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) == 0 {
		return nil, nil, errors.New("neither a pipe nor a socket")
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var was int
	var failed error
	if err := raw.Control(func(fd uintptr) { polled, was, failed = poll(int(fd), f.Name()) }); err != nil {
		return nil, nil, err
	}
	restore = func() {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetNonblock(int(fd), was&unix.O_NONBLOCK != 0) }) // best effort: the process is ending
	}
	return polled, restore, failed
}

func poll(fd int, name string) (polled *os.File, flags int, err error) {
	flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, 0, err
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	// The flag belongs to this end of the pipe, not to the descriptor: other processes that hold it see it too.
	if err := unix.SetNonblock(own, true); err != nil {
		_ = unix.Close(own) // it was only just made
		return nil, 0, err
	}
	return os.NewFile(uintptr(own), name), flags, nil
}
