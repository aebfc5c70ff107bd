package bridge

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// This file decides which requests are sent again. A tool call must not run twice: an operation that may have side
// effects is sent again only where the server cannot have executed it. Lists, reads, gets and completions may be
// executed twice, so they are also sent again when their answer was lost.

const (
	// retryAfterBound is how long a request waits for what Retry-After asks, all pauses together.
	retryAfterBound = 20 * time.Second
	// lostGrace is how long requests of a lost session still wait for their answer: most get the same refusal a moment
	// later, and a refused request is sent again.
	lostGrace = 5 * time.Second

	sessionTries = 2 // how often a request opens a new session
	cutTries     = 2 // how often a request without side effects is sent again after its answer was lost
	dialTries    = 2 // how often a request is sent again to a server that refuses or cuts new connections, because it restarts
)

// repeatable reports whether a request of method may be executed twice.
func repeatable(method string) bool {
	switch method {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list",
		"resources/read", "prompts/get", "completion/complete":
		return true
	}
	return false
}

// errSessionEnded is the cause that ends the exchange of a request whose session is over.
var errSessionEnded = errors.New("the server forgot the session of this request")

// resends counts why a request was sent again.
type resends struct {
	began                 time.Time
	sessions, cuts, dials int
	waited                time.Duration // for Retry-After
}

// again reports whether c, which failed with err in h, is to be sent again, and after which pause.
func (p *pump) again(c *call, h *handshake, err error, r *resends) (time.Duration, bool) {
	var f *fault
	switch {
	case errors.As(err, new(sessionLost)):
		if r.sessions++; r.sessions > sessionTries {
			return 0, false
		}
		p.renewSession(h, false)
		return 0, true
	case !errors.As(err, &f):
		return 0, false
	case h.unasked && h.failed() && (f.code == codeRefused || f.code == codeSignIn):
		r.sessions++ // the next handshake is c's, which may bring about a sign-in
		return 0, r.sessions <= sessionTries
	case f.unsent && h.isOpen():
		r.dials++
		return backoff(r.dials - 1), r.dials <= dialTries
	case !repeatable(c.Method):
		return 0, false
	case f.retryAfter != nil:
		return *f.retryAfter, p.worthWaiting(*f.retryAfter, r)
	case f.code == codeUnknown && f.status == 0:
		r.cuts++
		return backoff(r.cuts - 1), r.cuts <= cutTries
	}
	return 0, false
}

// worthWaiting reports whether a request may pause for as long as Retry-After asks: within the bound, and within the
// time that clients leave a request.
func (p *pump) worthWaiting(pause time.Duration, r *resends) bool {
	r.waited += max(pause, time.Second) // so that "0" ends too
	return r.waited <= retryAfterBound && time.Since(r.began)+pause <= p.cfg.CallWait
}

// hold pauses before c is sent again. Nobody waits after the end of input.
func (p *pump) hold(c *call, pause time.Duration) error {
	if pause == 0 {
		return c.ctx.Err()
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.closing:
		return errClosing
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

var errClosing = errors.New("the client has closed its side")

// renewSession opens a new session in place of the lost one, unless somebody did already. Requests that are still under
// way in the lost one get a little time, then their outcome is unknown. unasked says that no request of the client needs
// the session yet.
func (p *pump) renewSession(lost *handshake, unasked bool) {
	if !p.session.renew(lost, unasked) {
		return
	}
	p.cfg.Log.Info("the server forgot the session; opening a new one")
	time.AfterFunc(lostGrace, func() { p.calls.abandon(lost) })
	p.withdraw(lost)
}

// retryAfter returns what an answer's Retry-After asks for (RFC 9110 section 10.2.3), nil if nothing sensible.
func retryAfter(resp *http.Response) *time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return nil
	}
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		d := time.Duration(seconds) * time.Second
		return &d
	}
	if at, err := http.ParseTime(value); err == nil {
		d := max(time.Until(at), 0)
		return &d
	}
	return nil
}

const firstBackoff, maxBackoff = time.Second, 30 * time.Second

// backoff is a pause that doubles with each try, up to maxBackoff, with jitter so that many bridges do not step together.
func backoff(tries int) time.Duration {
	d := min(firstBackoff<<min(tries, 10), maxBackoff)
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
