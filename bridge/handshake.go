package bridge

import (
	"bytes"
	"context"
	"sync"
	"time"

	"drawbridge/bridge/envelope"
)

// handshakeLimit bounds one exchange of initialize with the server, not counting the wait for a human.
const handshakeLimit = 30 * time.Second

// link is what later requests of an MCP session carry. Its zero value is no session.
type link struct {
	sessionID string // Mcp-Session-Id
	version   string // MCP-Protocol-Version: what the server's InitializeResult said
}

// handshake opens a session with the server, in as many tries as it takes, and is the session itself when it stands.
type handshake struct {
	init  envelope.Message // the client's own initialize
	done  chan struct{}    // closed when the server answered initialize, or never will
	open  chan struct{}    // closed when requests may go: the server also has notifications/initialized, or it failed
	again chan struct{}    // 1-buffered; asks for the next try at once

	mu sync.Mutex
	at progress // until done; guarded by mu

	renewed bool // it replaces a session that the server forgot
	proved  sync.Once
	unasked bool // no request of the client brought it about: it starts no sign-in

	greeted <-chan struct{} // closed when the client has its answer to initialize: nothing else is answered before

	ctx  context.Context // session lifetime; cancelled when it is replaced and with the bridge
	stop context.CancelFunc

	told bool // the server has notifications/initialized, or takes none; set before open is closed, constant after

	// Set before done is closed, constant after.
	answer envelope.Message
	link   link
	err    error
	owner  string // whom the server spoke to when initialize left; "" if the answer is not to be kept
}

// failed reports whether h ended without a session.
func (h *handshake) failed() bool {
	select {
	case <-h.done:
		return h.err != nil
	default:
		return false
	}
}

// isOpen reports whether requests may go.
func (h *handshake) isOpen() bool {
	select {
	case <-h.open:
		return h.outcome() == nil
	default:
		return false
	}
}

// outcome is what became of h, once open is closed. A session that ended before the server was told that the client is
// initialized never took a request: who waited for it may go to the next.
func (h *handshake) outcome() error {
	if h.err == nil && !h.told {
		return sessionLost{errSessionEnded}
	}
	return h.err
}

// session owns the current handshake and what a new one needs.
type session struct {
	mu      sync.Mutex
	pump    *pump
	init    *envelope.Message // the client's initialize; nil before
	current *handshake        // nil before init
	greeted chan struct{}     // of the client's last initialize
	level   []byte            // params of the client's last logging/setLevel; nil if none

	ready     chan struct{} // closed when the client finished its side: initialized, or a request that implies it
	readyOnce sync.Once

	initialized     chan struct{} // closed when the client said so: from then on it may be asked something
	initializedOnce sync.Once
}

func (s *session) setReady() { s.readyOnce.Do(func() { close(s.ready) }) }

func (s *session) setInitialized() {
	s.initializedOnce.Do(func() { close(s.initialized) })
	s.setReady()
}

// begin starts a handshake with the client's initialize. An earlier session ends. The caller closes greeted when the
// client has its answer.
func (s *session) begin(p *pump, init envelope.Message) (h *handshake, greeted chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pump, s.init, s.greeted = p, &init, make(chan struct{})
	replaced := s.current
	p.subs.clear()
	h = s.replace()
	if replaced != nil {
		go p.endSession(replaced)
	}
	go p.shake(h)
	return h, s.greeted
}

// replace puts a handshake in the place of the current one. s.mu is held; the caller has it shaken.
func (s *session) replace() *handshake {
	if s.current != nil {
		s.current.stop()
	}
	h := &handshake{init: *s.init, done: make(chan struct{}), open: make(chan struct{}), again: make(chan struct{}, 1), greeted: s.greeted}
	h.move(trying, nil)
	h.ctx, h.stop = context.WithCancel(s.pump.life)
	s.current = h
	return h
}

// ensure returns the current handshake, a new one if the last failed, or nil if the client never sent initialize.
// unasked says that no request of the client needs it.
func (s *session) ensure(unasked bool) *handshake {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.failed() {
		renewed := s.current.renewed
		h := s.replace()
		h.renewed, h.unasked = renewed, unasked
		go s.pump.shake(h)
	}
	return s.current
}

// renew replaces lost, unless somebody did already.
func (s *session) renew(lost *handshake, unasked bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != lost {
		return false
	}
	h := s.replace()
	h.renewed, h.unasked = true, unasked
	go s.pump.shake(h)
	return true
}

// stands reports whether requests may go.
func (s *session) stands() bool {
	h := s.peek()
	return h != nil && h.isOpen()
}

// peek returns the current handshake, or nil.
func (s *session) peek() *handshake {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// clientParams returns the params of the client's initialize; nil before.
func (s *session) clientParams() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.init == nil {
		return nil
	}
	return s.init.Params
}

// opened waits until the current handshake is open, after the close of closing not for a server that is away. A client that
// never sent initialize gets one without a session.
func (s *session) opened(ctx context.Context, closing <-chan struct{}) (*handshake, error) {
	h := s.ensure(true)
	if h == nil {
		return &handshake{}, nil
	}
	for {
		at := h.progress()
		if closing == nil && at.err != nil && !h.isDone() {
			return nil, at.err
		}
		select {
		case <-h.open:
			return h, h.outcome()
		case <-h.stirs(at):
		case <-closing:
			closing = nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// link returns the link of the current session, zero if there is none.
func (s *session) link() link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.failed() {
		return link{}
	}
	select {
	case <-s.current.done:
		return s.current.link
	default:
		return link{}
	}
}

// setLevel keeps the log level the client asked for, to repeat it in a new session.
func (s *session) setLevel(params []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level = bytes.Clone(params)
}

func (s *session) logLevel() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.level
}
