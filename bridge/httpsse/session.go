package httpsse

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"drawbridge/bridge/envelope"
	"drawbridge/bridge/sse"
)

// session is a stream and what waits for it. One goroutine reads the stream and hands each message to whom it is for; it goes
// on when that one has dealt with it, so that what a client gets has the order of the stream, and a client that does not
// read holds the server up instead of filling memory.
type session struct {
	client *Client
	id     string
	to     *url.URL

	begun time.Time

	ctx context.Context // life of the stream; cancelled by end
	end context.CancelFunc

	mu       sync.Mutex
	over     error // why the stream ended; nil before
	waiting  map[string]*waiter
	notes    []*note // what is for the listener
	kept     int     // bytes in notes
	listener *listener
	more     chan struct{} // 1-buffered: notes has become longer
}

// waiter is a request that waits for its answer.
type waiter struct {
	id     []byte        // JSON text
	answer chan []byte   // 1-buffered
	left   chan struct{} // closed when the answer was dealt with, or is not wanted any more
	leave  func()        // closes left
}

func newWaiter(id []byte) *waiter {
	w := &waiter{id: id, answer: make(chan []byte, 1), left: make(chan struct{})}
	w.leave = sync.OnceFunc(func() { close(w.left) })
	return w
}

// start begins to read a stream.
func (c *Client) start(ctx context.Context, cancel context.CancelFunc, resp *http.Response, r *sse.Reader, to *url.URL) *session {
	c.mu.Lock()
	c.count++
	id := sessionPrefix + strconv.Itoa(c.count)
	c.mu.Unlock()
	s := &session{client: c, id: id, to: to, begun: time.Now(), ctx: ctx, end: cancel, waiting: map[string]*waiter{}, more: make(chan struct{}, 1)}
	go s.read(resp, r)
	return s
}

func (s *session) read(resp *http.Response, r *sse.Reader) {
	defer resp.Body.Close()
	defer r.Close()
	for {
		e, err := r.Next()
		if err != nil {
			s.finish(err)
			return
		}
		if e.Name == "message" && len(e.Data) > 0 {
			s.route(bytes.Clone(e.Data)) // the reader uses the memory again
		}
	}
}

// finish notes why the stream ended, then lets everybody know.
func (s *session) finish(err error) {
	s.client.cfg.Log.Debug("event stream ended", "session", s.id)
	s.mu.Lock()
	s.over = ErrStreamEnded
	if err != io.EOF && s.ctx.Err() == nil {
		s.over = fmt.Errorf("%w: %w", ErrStreamEnded, err)
	}
	s.mu.Unlock()
	s.client.ended(time.Since(s.begun) < briefSession)
	s.end()
}

func (s *session) isOver() bool { return s.ctx.Err() != nil }

// failure is why requests under way fail.
func (s *session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over == nil {
		return ErrStreamEnded
	}
	return s.over
}

// route hands a message, or each of a batch (MCP 2025-03-26), to whom it is for.
func (s *session) route(raw []byte) {
	parts := [][]byte{raw}
	if envelope.IsBatch(raw) {
		if split, err := envelope.Split(raw); err == nil {
			parts = split
		}
	}
	for _, part := range parts {
		m, err := envelope.Parse(part)
		if err != nil || m.Kind() != envelope.Response {
			s.note(part) // what is no message is for the one above to judge
			continue
		}
		w := s.take(m.ID)
		if w == nil {
			s.client.cfg.Log.Debug("late answer dropped")
			continue
		}
		w.answer <- part
		select {
		case <-w.left:
		case <-s.ctx.Done():
		}
	}
}

// take returns the request that an answer is for, and takes it out; nil if none waits. Big numbers do not survive every
// server, and an error may come without an id.
func (s *session) take(id []byte) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiting[string(id)]
	if w == nil {
		w = s.similar(id)
	}
	if w != nil {
		delete(s.waiting, string(w.id))
	}
	return w
}

// similar finds the one request that an answer with a changed id can only be for. s.mu is held.
func (s *session) similar(id []byte) (found *waiter) {
	missing := id == nil || string(id) == "null"
	for _, w := range s.waiting {
		if missing || envelope.SameID(id, w.id) {
			if found != nil {
				return nil
			}
			found = w
		}
	}
	return found
}

// post sends a message to the endpoint. The answer to a request is what the stream brings.
func (s *session) post(req *http.Request, body []byte, m envelope.Message) (*http.Response, error) {
	w := newWaiter(m.ID)
	if m.Kind() != envelope.Request {
		w.answer = nil
	} else {
		s.mu.Lock()
		s.waiting[string(m.ID)] = w
		s.mu.Unlock()
	}
	ctx, cancel, stop := detached(req)
	out := make(chan posted, 1)
	go func() {
		resp, err := s.send(ctx, req, body)
		out <- posted{resp, err, true}
	}()
	raw, p := s.await(req, w, out)
	if raw == nil {
		s.forget(w)
		return p.end(req, cancel, stop)
	}
	stop()
	go func() { // the rest of a POST that the stream was quicker than
		defer cancel()
		defer time.AfterFunc(postLimit, cancel).Stop()
		if !p.known {
			p = <-out
		}
		discard(p.resp)
	}()
	return answer(req, http.StatusOK, "application/json", &closing{io.NopCloser(bytes.NewReader(raw)), w.leave}), nil
}

// posted is the outcome of a POST.
type posted struct {
	resp  *http.Response
	err   error
	known bool // it is there, and nobody need wait for it
}

// await waits for the answer to a request on the stream, or for that to the POST where there will be none on the stream. The
// stream may be quicker than the POST, with a server that accepts a request when it is done with it.
func (s *session) await(req *http.Request, w *waiter, out <-chan posted) (raw []byte, p posted) {
	over, late := s.ctx.Done(), (<-chan time.Time)(nil)
	for {
		select {
		case raw := <-w.answer:
			return raw, p
		case p = <-out:
			if p.err != nil || p.resp.StatusCode >= 300 || w.answer == nil {
				return w.quick(), p
			}
			go finish(p.resp)
			if p.resp, out = nil, nil; over == nil {
				return w.quick(), p.left(out, s.failure())
			}
		case <-over:
			if out == nil {
				return w.quick(), p.left(out, s.failure())
			}
			over, late = nil, time.After(overLimit) // a server that has gone refuses the POST too, which then did not run
		case <-late:
			return w.quick(), p.left(out, s.failure())
		case <-req.Context().Done():
			return w.quick(), p.left(out, req.Context().Err())
		}
	}
}

// quick returns the answer that came at the same time as the reason to give up; nil if there is none.
func (w *waiter) quick() []byte {
	select {
	case raw := <-w.answer:
		return raw
	default:
		return nil
	}
}

// finish reads what an accepted POST says, so that its connection is used again. It does not matter.
func finish(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxRefusal)
	discard(resp)
}

// left gives a POST up because of err. Its context has ended, or does in a moment.
func (p posted) left(out <-chan posted, err error) posted {
	if !p.known {
		go func() { discard((<-out).resp) }()
	}
	return posted{err: err, known: true}
}

// end is the answer to a POST that the stream brings none for: it failed, or it was no request.
func (p posted) end(req *http.Request, cancel context.CancelFunc, stop func() bool) (*http.Response, error) {
	switch {
	case p.err != nil:
		cancel()
		return nil, p.err
	case p.resp.StatusCode >= 300:
		p.resp.Body = &closing{p.resp.Body, cancel}
		return p.resp, nil
	}
	stop()
	go func() {
		defer cancel()
		defer time.AfterFunc(postLimit, cancel).Stop()
		finish(p.resp)
	}()
	return answer(req, http.StatusAccepted, "", http.NoBody), nil
}

func (s *session) forget(w *waiter) {
	s.mu.Lock()
	if s.waiting[string(w.id)] == w {
		delete(s.waiting, string(w.id))
	}
	s.mu.Unlock()
	w.leave()
}

func (s *session) send(ctx context.Context, req *http.Request, body []byte) (*http.Response, error) {
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, s.to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header = own(req.Header)
	return s.client.cfg.Do(out)
}

// closing calls a function when a body is closed.
type closing struct {
	io.ReadCloser
	closed func()
}

// Close implements [io.Closer].
func (c *closing) Close() error {
	defer c.closed()
	return c.ReadCloser.Close()
}
