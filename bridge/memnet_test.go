package bridge_test

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// This file is a network in memory, for tests with a synthetic clock. Unlike net.Pipe it buffers, so that a writer never
// holds a lock while it waits, which would stop the clock; and it can end a connection as TCP does, by FIN or by RST.

// network accepts what its dial function connects.
type network struct {
	mu    sync.Mutex
	down  bool // dialling is refused
	conns []*memConn
	queue chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newNetwork() *network {
	return &network{queue: make(chan net.Conn, 1000), done: make(chan struct{})}
}

// dial is a DialContext.
func (n *network) dial(context.Context, string, string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, &net.OpError{Op: "dial", Net: "mem", Err: syscall.ECONNREFUSED}
	}
	near, far := newMemPair()
	n.conns = append(n.conns, far)
	n.queue <- far
	return near, nil
}

// setDown makes dialling fail, or work again. Going down resets every connection, as the end of a process does.
func (n *network) setDown(down bool) {
	n.mu.Lock()
	n.down = down
	n.mu.Unlock()
	if down {
		n.cutAll()
	}
}

// cutAll resets every connection.
func (n *network) cutAll() {
	n.mu.Lock()
	conns := n.conns
	n.conns = nil
	n.mu.Unlock()
	for _, c := range conns {
		c.reset()
	}
}

// freeze stops every connection that stands, as SIGSTOP does to a server and the loss of a network to everybody; false
// lets them go on.
func (n *network) freeze(frozen bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.in.update(func() { c.in.frozen = frozen })
		c.out.update(func() { c.out.frozen = frozen })
	}
}

// Accept implements [net.Listener].
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.queue:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (n *network) Close() error {
	n.once.Do(func() { close(n.done) })
	n.setDown(true) // or a dial that comes late would leave a connection to nobody
	return nil
}

// Addr implements [net.Listener].
func (n *network) Addr() net.Addr { return memAddr{} }

type memAddr struct{}

func (memAddr) Network() string { return "mem" }
func (memAddr) String() string  { return "mem" }

// direction carries the bytes of one side to the other.
type direction struct {
	mu       sync.Mutex
	buf      []byte
	err      error // what a reader gets when buf is empty
	frozen   bool  // what is on its way does not arrive
	deadline time.Time
	changed  chan struct{} // closed and replaced on every change
}

func (d *direction) update(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *direction) end(err error, drop bool) {
	d.update(func() {
		if d.err == nil {
			d.err = err
		}
		if drop {
			d.buf, d.err = nil, err
		}
	})
}

func (d *direction) read(b []byte) (int, error) {
	for {
		d.mu.Lock()
		n, err, changed, deadline := 0, d.err, d.changed, d.deadline
		if d.frozen {
			err = nil
		} else {
			n = copy(b, d.buf)
		}
		d.buf = d.buf[n:]
		d.mu.Unlock()
		if n > 0 || len(b) == 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		if !awaitChange(changed, deadline) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// awaitChange reports whether changed was closed before the deadline, zero for none.
func awaitChange(changed <-chan struct{}, deadline time.Time) bool {
	if deadline.IsZero() {
		<-changed
		return true
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-changed:
		return true
	case <-t.C:
		return false
	}
}

// memConn is one side of a connection.
type memConn struct {
	in, out *direction
	once    sync.Once
	gone    chan struct{} // closed when the other side closed or the connection was reset
	other   *memConn
}

func newMemPair() (near, far *memConn) {
	a, b := &direction{changed: make(chan struct{})}, &direction{changed: make(chan struct{})}
	near, far = &memConn{in: a, out: b, gone: make(chan struct{})}, &memConn{in: b, out: a, gone: make(chan struct{})}
	near.other, far.other = far, near
	return near, far
}

func (c *memConn) leave() { c.once.Do(func() { close(c.gone) }) }

// Read implements [net.Conn].
func (c *memConn) Read(b []byte) (int, error) { return c.in.read(b) }

// Write implements [net.Conn]. It never waits.
func (c *memConn) Write(b []byte) (int, error) {
	c.out.mu.Lock()
	err := c.out.err
	c.out.mu.Unlock()
	if err != nil {
		return 0, &net.OpError{Op: "write", Net: "mem", Err: syscall.EPIPE}
	}
	c.out.update(func() { c.out.buf = append(c.out.buf, b...) })
	return len(b), nil
}

// Close implements [net.Conn]: the other side reads what is on its way, then the end.
func (c *memConn) Close() error {
	c.out.end(io.EOF, false)
	c.in.update(func() { c.in.frozen = false }) // one's own end needs no network
	c.in.end(net.ErrClosed, true)
	c.other.leave()
	return nil
}

// reset ends the connection for both sides at once; what is on its way is lost.
func (c *memConn) reset() {
	err := &net.OpError{Op: "read", Net: "mem", Err: syscall.ECONNRESET}
	c.out.end(err, true)
	c.in.end(err, true)
	c.leave()
	c.other.leave()
}

// LocalAddr implements [net.Conn].
func (c *memConn) LocalAddr() net.Addr { return memAddr{} }

// RemoteAddr implements [net.Conn].
func (c *memConn) RemoteAddr() net.Addr { return memAddr{} }

// SetDeadline implements [net.Conn].
func (c *memConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements [net.Conn].
func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.update(func() { c.in.deadline = t })
	return nil
}

// SetWriteDeadline implements [net.Conn]. Writing never waits.
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }
