package bridge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// silenceLimit is how long the GET stream may bring nothing, not even a comment, before it is opened anew: a proxy
	// may have lost the server without telling us, and a NAT or VPN the proxy.
	silenceLimit = 10 * time.Minute
	// maxRetry bounds what a server's retry field may ask for.
	maxRetry = 10 * time.Minute
	// longGap is how long there may be no GET stream before the client is told to ask again for its lists: their
	// changes may have been missed.
	longGap = 5 * time.Minute
)

var (
	// errNoStream says that the server offers no GET stream.
	errNoStream = errors.New("the server offers no GET stream")
	// errSilent ends a stream that brought nothing for silenceLimit.
	errSilent = errors.New("the stream brought nothing for ten minutes")
	// errIdle ends the stream of a client that made no request for idleLimit.
	errIdle = errors.New("the client is idle")
)

// listen keeps the GET stream of h open, on which the server sends what belongs to no request, as long as the session
// lasts and the client is not idle. It never starts a sign-in: refused, it waits until a request of the client went well.
func (p *pump) listen(h *handshake) {
	var at position
	lost := time.Now() // since when there is no stream
	for tries := 0; h.ctx.Err() == nil; tries++ {
		opened, err := p.listenOnce(h, &at, lost)
		p.cfg.Log.Debug("GET stream ended", "error", err)
		switch {
		case errors.Is(err, errNoStream):
			return
		case errors.As(err, new(sessionLost)):
			if p.checkSession(h) {
				return
			}
		case opened:
			if time.Since(lost) > maxBackoff || at.retry > 0 {
				tries = 0
			}
			lost = time.Now()
		}
		if p.rest(h.ctx, err, max(at.retry, backoff(tries))) != nil {
			return
		}
	}
}

// listenOnce opens the stream and delivers what it brings until it ends. opened says whether it stood.
func (p *pump) listenOnce(h *handshake, at *position, lost time.Time) (opened bool, _ error) {
	ctx, stop := context.WithCancelCause(h.ctx)
	defer stop(nil)
	defer p.sleep.listens(stop)()
	resp, err := p.up.send(ctx, exchange{method: http.MethodGet, link: h.link, lastID: at.lastID, attempt: Attempt{Operation: "listen", Background: true}})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !isEventStream(resp) {
		return false, p.streamRefusal(h, resp)
	}
	p.prove(h)
	if at.lastID == "" && time.Since(lost) > longGap {
		p.announceAll(h)
	}
	body := &heard{ReadCloser: resp.Body}
	body.note()
	resp.Body = body
	go p.supervise(ctx, body, stop)
	err = p.readEvents(resp, at, nil)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return true, err
}

// streamRefusal is an answer to GET that is no event stream. MCP 2025-11-25 transports: 405 where the server offers none.
// Some say it otherwise. 409 is said by servers that have not noticed yet that the stream before has ended.
func (p *pump) streamRefusal(h *handshake, resp *http.Response) error {
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusRequestTimeout, s == http.StatusConflict, s == http.StatusTooManyRequests, s >= 500:
		return p.httpFault(resp)
	}
	if err := p.sessionFault(h.link, resp); errors.As(err, new(sessionLost)) {
		return err
	}
	p.cfg.Log.Debug("no GET stream", "status", resp.StatusCode)
	return errNoStream
}

// checkSession asks whether a server that answers GET as if it had forgotten the session has, or only has no GET stream.
// It reports whether listening to h is over. A new session that no request of the client asked for starts no sign-in.
func (p *pump) checkSession(h *handshake) bool {
	ctx, cancel := context.WithTimeout(h.ctx, handshakeLimit)
	defer cancel()
	_, err := p.ask(ctx, h.link, "ping", nil)
	var own *serverError
	switch {
	case errors.As(err, new(sessionLost)):
		p.renewSession(h, true)
		return true
	case err == nil, errors.As(err, &own):
		p.cfg.Log.Debug("no GET stream", "error", "the session is fine without")
		return true
	}
	return false
}

// heard is a body that remembers when something came.
type heard struct {
	io.ReadCloser
	last atomic.Int64 // Unix time in nanoseconds
}

func (b *heard) note() { b.last.Store(time.Now().UnixNano()) }

// Read implements [io.Reader].
func (b *heard) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.note()
	return n, err
}

// supervise ends a stream that is silent for too long, or whose client is idle. It sleeps until one of the two can be.
func (p *pump) supervise(ctx context.Context, body *heard, stop context.CancelCauseFunc) {
	for {
		silent := time.Until(time.Unix(0, body.last.Load()).Add(silenceLimit))
		idle := time.Until(time.Unix(0, p.lastRequest.Load()).Add(idleLimit))
		switch {
		case silent <= 0:
			stop(errSilent)
			return
		case idle <= 0:
			stop(errIdle)
			return
		}
		if sleep(ctx, min(silent, idle)) != nil {
			return
		}
	}
}

// rest pauses between two streams: after a refusal until the client's next request went well, while the client is idle
// until it makes one.
func (p *pump) rest(ctx context.Context, err error, pause time.Duration) error {
	var f *fault
	refused := errors.As(err, &f) && (f.code == codeRefused || f.code == codeSignIn)
	if errors.Is(err, errSilent) || errors.Is(err, errSlept) {
		pause = 0
	}
	if !refused && !p.isIdle() {
		if err := sleep(ctx, pause); err != nil || !p.isIdle() {
			return err
		}
	}
	select { // a request that went well before says nothing
	case <-p.wake:
	default:
	}
	select {
	case <-p.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
