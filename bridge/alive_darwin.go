package bridge

import (
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout sets TCP_RXT_CONNDROPTIME, in seconds: netinet/tcp.h, "time after which tcp retransmissions will be
// stopped and the connection will be dropped".
func setUserTimeout(fd uintptr, d time.Duration) error {
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RXT_CONNDROPTIME, int(d.Seconds()))
}
