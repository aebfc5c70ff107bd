package bridge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge/envelope"
)

// This file carries the client's messages that get no answer: notifications, and responses to requests of the server.

const (
	// postLimit bounds how long a message without an answer is offered to the server in one session, all tries together.
	postLimit = 30 * time.Second

	// maxNotes and maxNoteBytes bound what waits while the server takes no notifications. The reader of standard input
	// must not wait for it, because it also sees pings, cancellations and the end of input.
	maxNotes, maxNoteBytes = 4096, 16 << 20
)

// noteQueue holds the client's notifications until they are posted, one after the other, because their order means
// something (progress, roots).
type noteQueue struct {
	mu      sync.Mutex
	waiting []note
	size    int
	full    bool          // the last one found no place
	more    chan struct{} // 1-buffered
}

// note is a message on its way to the server.
type note struct {
	raw []byte
	// in is the session that the message belongs to; nil if it means the same in any session.
	in *handshake
}

// add puts n at the end; false if there is no place. A list_changed that already waits says the same.
func (q *noteQueue) add(n note, m envelope.Message) (ok, lost bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if strings.HasSuffix(m.Method, "list_changed") && q.has(n.raw) {
		return false, false
	}
	if len(q.waiting) >= maxNotes || q.size+len(n.raw) > maxNoteBytes && q.size > 0 {
		first := !q.full
		q.full = true
		return false, first
	}
	q.waiting, q.size, q.full = append(q.waiting, n), q.size+len(n.raw), false
	select {
	case q.more <- struct{}{}:
	default:
	}
	return true, false
}

func (q *noteQueue) has(raw []byte) bool {
	for _, w := range q.waiting {
		if string(w.raw) == string(raw) {
			return true
		}
	}
	return false
}

// next takes the first; false if there is none.
func (q *noteQueue) next() (note, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return note{}, false
	}
	n := q.waiting[0]
	q.waiting, q.size = q.waiting[1:], q.size-len(n.raw)
	return n, true
}

// queueNote hands m to postNotes. It must not wait, because it runs in the reader's goroutine. What finds no place is
// refused loudly: the log says so, and the client, once until there is place again.
func (p *pump) queueNote(m envelope.Message) {
	n := note{raw: m.Raw}
	if m.Method == "notifications/progress" {
		n.in = p.session.peek()
	}
	p.posting.Add(1)
	ok, lost := p.notes.add(n, m)
	if ok {
		return
	}
	p.posting.Done()
	if lost {
		p.cfg.Log.Warn("message lost", "what", "notification", "error", "too many wait for the server")
		p.soon([]byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"warning","logger":"drawbridge",` +
			`"data":"notifications are lost: too many wait for the server, which takes none"}}`))
	}
}

// postNotes posts notifications one after the other.
func (p *pump) postNotes() {
	for {
		select {
		case <-p.notes.more:
		case <-p.life.Done():
		}
		for n, ok := p.notes.next(); ok; n, ok = p.notes.next() { // at the end each fails at once
			p.post(p.life, n, "notification") // however long the session takes: what waits behind n is bounded
			p.posting.Done()
		}
		if p.life.Err() != nil {
			return
		}
	}
}

// postSoon is post for a message that waits in a goroutine of its own, and therefore not for long.
func (p *pump) postSoon(n note, what string) {
	ctx, cancel := context.WithTimeout(p.life, postLimit)
	defer cancel()
	p.post(ctx, n, what)
}

// post sends a message that gets no answer, once the server can take it, which it waits for until ctx ends. A failure is
// nobody's to answer; it is logged.
func (p *pump) post(ctx context.Context, n note, what string) {
	err := p.postInSession(ctx, n)
	for tries := 1; errors.As(err, new(sessionLost)) && tries <= sessionTries; tries++ {
		err = p.postInSession(ctx, n)
	}
	if err != nil {
		p.cfg.Log.Warn("message lost", "what", what, "error", err)
	}
}

// postInSession sends n in the session that stands. If the server forgot that, a new one is opened.
func (p *pump) postInSession(ctx context.Context, n note) error {
	h, err := p.session.opened(ctx, p.closing)
	switch {
	case err != nil:
		return err
	case n.in != nil && n.in != h:
		return errSessionEnded
	}
	ctx, cancel := context.WithTimeout(ctx, postLimit)
	defer cancel()
	err = p.postTo(ctx, h.link, n.raw)
	if errors.As(err, new(sessionLost)) {
		p.renewSession(h, true)
	}
	return err
}

// postTo sends a message without an answer in the session of link, and again after a fault that passes: it has no side
// effects that count.
func (p *pump) postTo(ctx context.Context, link link, raw []byte) error {
	for tries := 0; ; tries++ {
		err := p.postOnce(ctx, link, raw)
		if err == nil || !worthPosting(err) || sleep(ctx, backoff(tries)) != nil {
			return err
		}
	}
}

func worthPosting(err error) bool {
	var f *fault
	return errors.As(err, &f) && !errors.As(err, new(sessionLost)) &&
		(f.code == codeUnknown || f.code == codeUnreachable || f.status == http.StatusTooManyRequests || f.status >= 500)
}

func (p *pump) postOnce(ctx context.Context, link link, raw []byte) error {
	resp, err := p.up.send(ctx, exchange{method: http.MethodPost, body: raw, link: link, attempt: Attempt{Operation: "notification", Background: true}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return p.sessionFault(link, resp)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
	return nil
}
