package bridge

import (
	"time"

	"golang.org/x/sys/windows"
)

// tcpMaxRT is TCP_MAXRT of ws2ipdef.h.
const tcpMaxRT = 5

// setUserTimeout sets TCP_MAXRT, in seconds.
func setUserTimeout(fd uintptr, d time.Duration) error {
	return windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_TCP, tcpMaxRT, int(d.Seconds()))
}
