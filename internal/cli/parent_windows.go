package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// parentExit returns a channel that is closed when the process that started this one has ended; nil where that cannot be
// told. It costs a thread that sleeps.
func parentExit() <-chan struct{} {
	parent, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(os.Getppid()))
	if err != nil {
		return nil
	}
	gone := make(chan struct{})
	go func() {
		if _, err := windows.WaitForSingleObject(parent, windows.INFINITE); err == nil {
			close(gone)
		}
		_ = windows.CloseHandle(parent) // nothing waits for it any more
	}()
	return gone
}
