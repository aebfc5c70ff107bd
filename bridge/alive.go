package bridge

import (
	"net"
	"net/http"
	"syscall"
	"time"
)

// This file is about connections whose other end is gone without a word: a laptop that slept, a NAT or VPN that forgot, a
// machine that lost power. They are noticed within two minutes. A server that is only slow is not gone: the kernel of a
// stopped or busy process goes on acknowledging, and a minute without an answer to an HTTP/2 ping is no reason to give up.

const (
	// deadAfter is how long a connection may leave what was sent unacknowledged.
	deadAfter = 2 * time.Minute

	keepAliveIdle, keepAliveInterval, keepAliveCount = 30 * time.Second, 15 * time.Second, 6 // 30 s + 6 * 15 s
	pingAfter, pingLimit                             = 45 * time.Second, 75 * time.Second
)

// Dialer returns a dialer whose connections notice that the other end is gone, within two minutes. limit bounds
// dialling.
func Dialer(limit time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:         limit,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount},
		Control:         boundUnacknowledged,
	}
}

// HTTP2 returns settings for HTTP/2, whose connections are asked for a sign of life by ping: there may be a proxy that
// keeps the TCP connection open.
func HTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingLimit}
}

// boundUnacknowledged bounds how long sent data may stay unacknowledged. Keep-alive probes are not sent while data waits
// for an acknowledgement, and the kernel's own limit is about a quarter of an hour.
func boundUnacknowledged(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = setUserTimeout(fd, deadAfter) // where it cannot be set, the kernel's own limit stays
	})
}
