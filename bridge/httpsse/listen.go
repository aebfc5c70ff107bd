package httpsse

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// maxNotes and maxNoteBytes bound what is kept while nobody listens: until the handshake is over, or while a client is idle.
const maxNotes, maxNoteBytes = 1000, 8 << 20

// note is a message of the server that answers nothing.
type note struct {
	raw  []byte
	done chan struct{} // closed when it was dealt with
}

// note hands a message to the listener and waits until it was dealt with; without a listener it is kept.
func (s *session) note(raw []byte) {
	n := &note{raw, make(chan struct{})}
	s.mu.Lock()
	l := s.listener
	s.notes = append(s.notes, n)
	for s.kept += len(raw); l == nil && len(s.notes) > 1 && (len(s.notes) > maxNotes || s.kept > maxNoteBytes); {
		s.shift()
		s.client.cfg.Log.Warn("message lost", "what", "the server's", "error", "too many wait, and nobody listens")
	}
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	if l == nil {
		return
	}
	select {
	case <-n.done:
	case <-l.gone:
	case <-s.ctx.Done():
	}
}

// listener is the body of the answer to a GET: an event stream of what the server sends beside answers. One goroutine reads
// it; coming back for more, it has dealt with what it got.
type listener struct {
	s    *session
	ctx  context.Context // of the GET
	text []byte          // what is left of the current message
	cur  *note           // nil at the beginning

	gone  chan struct{} // closed by leave
	leave func()
}

// listen answers a GET. A listener that was there before ends.
func (s *session) listen(req *http.Request) *http.Response {
	l := &listener{s: s, ctx: req.Context(), gone: make(chan struct{})}
	l.leave = sync.OnceFunc(func() { close(l.gone) })
	s.mu.Lock()
	before := s.listener
	s.listener = l
	s.mu.Unlock()
	if before != nil {
		before.leave()
	}
	return answer(req, http.StatusOK, "text/event-stream", l)
}

// Read implements [io.Reader].
func (l *listener) Read(p []byte) (int, error) {
	for len(l.text) == 0 {
		if l.cur != nil {
			close(l.cur.done)
			l.cur = nil
		}
		if l.cur = l.next(); l.cur != nil {
			l.text = lines(l.cur.raw)
			break
		}
		select {
		case <-l.s.more:
		case <-l.s.ctx.Done():
			return 0, io.EOF
		case <-l.gone:
			return 0, io.EOF
		case <-l.ctx.Done():
			return 0, l.ctx.Err()
		}
	}
	n := copy(p, l.text)
	l.text = l.text[n:]
	return n, nil
}

// next takes the oldest message; nil if there is none, or another listener has come.
func (l *listener) next() *note {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.s.listener != l || len(l.s.notes) == 0 {
		return nil
	}
	return l.s.shift()
}

// shift takes the oldest message. s.mu is held.
func (s *session) shift() *note {
	n := s.notes[0]
	s.notes, s.kept = s.notes[1:], s.kept-len(n.raw)
	return n
}

// Close implements [io.Closer].
func (l *listener) Close() error {
	l.s.mu.Lock()
	if l.s.listener == l {
		l.s.listener = nil
	}
	l.s.mu.Unlock()
	l.leave()
	return nil
}
