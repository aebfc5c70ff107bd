package bridge_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drawbridge/bridge"
)

// TestDialerNoticesDeadPeers: the options that end a connection whose other end is gone are set on the socket.
func TestDialerNoticesDeadPeers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := bridge.Dialer(5*time.Second).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name               string
		level, opt, wanted int
	}{
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 6},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 120_000},
	} {
		if err := raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), tt.level, tt.opt); got != tt.wanted || err != nil {
				t.Errorf("%s = %d, %v, want %d", tt.name, got, err, tt.wanted)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
