package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// withDefaults fills every zero field, the port included: the redirect URI that an administrator registers.
func (c CallbackConfig) withDefaults() CallbackConfig {
	c = c.named()
	if c.Port == 0 {
		c.Port = DefaultCallbackPort
	}
	return c
}

// named fills host and path and leaves the port open.
func (c CallbackConfig) named() CallbackConfig {
	if c.Host == "" {
		c.Host = DefaultCallbackHost
	}
	if c.Path == "" {
		c.Path = DefaultCallbackPath
	}
	return c
}

// check refuses what is not a loopback redirect (RFC 8252 section 7.3).
func (c CallbackConfig) check() error {
	c = c.named()
	switch {
	case c.Host != "localhost" && c.Host != "127.0.0.1" && c.Host != "::1":
		return fmt.Errorf("callback host %q: want 127.0.0.1, localhost or ::1", c.Host)
	case c.Port < 0 || c.Port > 65535:
		return fmt.Errorf("callback port %d: want 1 to 65535", c.Port)
	case !strings.HasPrefix(c.Path, "/") || c.Path != (&url.URL{Path: c.Path}).EscapedPath():
		return fmt.Errorf("callback path %q: want a plain path such as /callback", c.Path)
	}
	return nil
}

// uri is the redirect URI; a port that is not zero takes the place of c's.
func (c CallbackConfig) uri(port int) string {
	if port == 0 {
		port = c.Port
	}
	return "http://" + net.JoinHostPort(c.Host, strconv.Itoa(port)) + c.Path
}

// admits reports whether a remembered redirect URI is one that this configuration could have made.
func (c CallbackConfig) admits(redirectURI string) bool {
	made, err := parseCallback(redirectURI)
	if err != nil {
		return false
	}
	if c.Port == 0 {
		made.Port = 0
	}
	return made == c.named()
}

// landing is an open port on loopback, and the redirect URI that leads to it. It is open before any URL names it.
type landing struct {
	uri       string
	listeners []net.Listener
}

// portTries bounds the search for a port that is free on both loopback addresses.
const portTries = 10

// openLanding listens where c says, on any free port when c's is zero.
func openLanding(c CallbackConfig) (*landing, error) { return openLandingBy(net.Listen, c) }

type listenFunc func(network, address string) (net.Listener, error)

func openLandingBy(listen listenFunc, c CallbackConfig) (*landing, error) {
	c = c.named()
	tries := 1
	if c.Port == 0 {
		tries = portTries // what is free on one address may be taken on the other
	}
	for {
		l, err := listenAll(listen, c, loopbacks(c.Host))
		if tries--; err == nil || tries == 0 {
			return l, err
		}
	}
}

// loopbacks lists the addresses that a browser may try for host. Those of localhost are both taken: on an address left
// open, another program could wait for the answer.
func loopbacks(host string) []string {
	if host != "localhost" {
		return []string{host}
	}
	if ln, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = ln.Close() // it only had to open
		return []string{"127.0.0.1", "::1"}
	}
	return []string{"127.0.0.1"} // no IPv6 on this machine
}

// listenAll listens on one port of all addresses.
func listenAll(listen listenFunc, c CallbackConfig, addresses []string) (*landing, error) {
	l := &landing{}
	for _, address := range addresses {
		ln, err := listen("tcp", net.JoinHostPort(address, strconv.Itoa(c.Port)))
		if err != nil {
			l.close()
			return nil, busy(c, err)
		}
		l.listeners = append(l.listeners, ln)
		c.Port = ln.Addr().(*net.TCPAddr).Port
	}
	l.uri = c.uri(0)
	return l, nil
}

func openLandingAt(redirectURI string) (*landing, error) {
	c, err := parseCallback(redirectURI)
	if err != nil {
		return nil, err
	}
	return openLanding(c)
}

// busy passes: servers that share a registered client share its port, and it is free when the other sign-in has ended. One that
// is not ours to take stays so.
func busy(c CallbackConfig, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	err = fmt.Errorf("listen for the sign-in at %s: %w", c.uri(0), err)
	if !errors.Is(err, fs.ErrPermission) {
		err = passing{busyPort{err, c}}
	}
	return hint(err,
		"another sign-in may be under way: finish it, or choose another registered port with --callback-port")
}

// busyPort says that the port of at is taken.
type busyPort struct {
	error
	at CallbackConfig
}

func (b busyPort) Unwrap() error { return b.error }

// awaitFree reports whether the port became free before the end of ctx.
func (b busyPort) awaitFree(ctx context.Context) bool {
	tick := time.NewTicker(portPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if l, err := openLanding(b.at); err == nil {
			l.close()
			return true
		}
	}
}

// close frees the port.
func (l *landing) close() {
	for _, ln := range l.listeners {
		_ = ln.Close() // already closed by the server's end in the usual case
	}
}
