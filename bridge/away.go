package bridge

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// This file is about servers that are not there at the moment: the VPN is down, the laptop just woke up, the server is
// being deployed. The handshake goes on trying by itself, and requests learn meanwhile what is wrong.

const (
	// freshTry is how young the failure of a try is for another request to make do with it.
	freshTry = time.Second
	// idleLimit is how long after the client's last request the server is still tried. A bridge that nobody uses must
	// be silent: it would keep a session at the identity provider alive that is meant to time out.
	idleLimit = 30 * time.Minute
)

// stage is where a handshake stands until the server answered it.
type stage int

const (
	// trying: the server is being asked.
	trying stage = iota
	// human: a person has to sign in first.
	human
	// away: the last try failed for a reason that passes. Another follows.
	away
)

// progress is how far a handshake got.
type progress struct {
	stage stage
	since time.Time
	err   error         // why the last try failed; nil while none did, and when a person is needed
	moved chan struct{} // closed when the stage ends
}

// progress returns how far h got.
func (h *handshake) progress() progress {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

// move begins a stage. err is why the last try failed.
func (h *handshake) move(to stage, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at.moved != nil {
		close(h.at.moved)
	}
	h.at = progress{to, time.Now(), err, make(chan struct{})}
}

// hurry has the next try made now, on behalf of a request. It reports whether the request is to wait for that, or false
// when a try has only just failed.
func (h *handshake) hurry() bool {
	at := h.progress()
	if at.stage != away {
		return true
	}
	if time.Since(at.since) < freshTry {
		return false
	}
	select {
	case h.again <- struct{}{}:
	default: // somebody else was first
	}
	return true
}

// passing is an error that says of itself whether waiting may cure it, as those of an [Authorizer] may.
type passing interface{ Passing() bool }

// passes reports whether err may be gone at another try, with nothing changed but the time. What is certain not to pass
// (an address that is not the endpoint's, a certificate that is not trusted, the server's own refusal) is the user's
// to cure, and is told at once.
func passes(err error) bool {
	var own *serverError
	var f *fault
	if errors.As(err, &own) || !errors.As(err, &f) {
		return false
	}
	switch f.kind {
	case "unreachable", "outcome_unknown":
		return true
	case "proxy":
		var proxy *ProxyError
		return !errors.As(f.cause, &proxy) || proxy.Err != nil || passingStatus(proxy.Status)
	case "http_status":
		return passingStatus(f.status)
	}
	var p passing
	return errors.As(f.cause, &p) && p.Passing()
}

func passingStatus(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// asked notes a request of the client.
func (p *pump) asked() { p.lastRequest.Store(time.Now().UnixNano()) }

// isIdle reports whether the client made no request for idleLimit.
func (p *pump) isIdle() bool { return time.Since(time.Unix(0, p.lastRequest.Load())) >= idleLimit }

// untilRetry pauses before the next try of h after err, at most until a request hurries it. While the client is idle,
// only a request ends the pause.
func (p *pump) untilRetry(h *handshake, tries int, err error) error {
	length := backoff(tries)
	var f *fault
	if errors.As(err, &f) && f.retryAfter != nil {
		length = min(max(length, *f.retryAfter), maxBackoff)
	}
	pause := time.NewTimer(length)
	defer pause.Stop()
	for {
		select {
		case <-h.again:
			return nil
		case <-h.ctx.Done():
			return h.ctx.Err()
		case <-pause.C:
			if !p.isIdle() {
				return nil
			}
		}
	}
}

// openWithin waits for h within the budget, and not for a human. A try that fails meanwhile ends the wait.
func (p *pump) openWithin(c *call, h *handshake, budget time.Duration) error {
	began, patient, over := time.Now(), h.hurry(), after(c.ctx, budget)
	for {
		at := h.progress()
		switch {
		case h.isDone():
		case at.stage == human:
			return p.pendingFault(at)
		case at.stage == away && (!patient || !at.since.Before(began)):
			return at.err
		}
		select {
		case <-h.open:
			return h.outcome()
		case <-h.stirs(at):
		case <-over:
			return p.notYet(h)
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// openForOperation waits for h. Where it needs a human, it shows the sign-in and waits CallWait. A server that is known
// to be away is waited for as long as the budget: it may just be coming back.
func (p *pump) openForOperation(c *call, h *handshake) error {
	h.hurry()
	over, patience := after(c.ctx, p.cfg.CallWait), after(c.ctx, p.cfg.StartupBudget)
	closing, pulse := p.closing, time.NewTicker(freshTry)
	defer pulse.Stop()
	for impatient := false; ; {
		at := h.progress()
		switch {
		case h.isDone():
		case at.stage == human:
			return p.openAfterSignIn(c, h, over)
		case at.err != nil && impatient:
			return at.err
		}
		select {
		case <-h.open:
			return h.outcome()
		case <-h.stirs(at):
		case <-pulse.C:
			h.hurry()
		case <-patience:
			impatient, patience = true, nil
		case <-closing:
			impatient, closing = true, nil
		case <-over:
			return p.notYet(h)
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// openAfterSignIn shows the sign-in and waits for h.
func (p *pump) openAfterSignIn(c *call, h *handshake, over <-chan struct{}) error {
	declined := p.show()
	select {
	case <-h.open:
		return h.outcome()
	case <-declined:
		return p.declinedFault()
	case <-over:
	case <-p.closing:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	return p.pendingFault(h.progress())
}

// stirs returns a channel that is closed when h gets on from at.
func (h *handshake) stirs(at progress) <-chan struct{} {
	if h.isDone() {
		return nil // only open is left to come
	}
	return at.moved
}

// isDone reports whether the server answered initialize, or h failed for good.
func (h *handshake) isDone() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// notYet says what is known of a server whose handshake does not stand in time.
func (p *pump) notYet(h *handshake) error {
	if at := h.progress(); at.err != nil {
		return at.err
	}
	return &fault{code: codeUnreachable, kind: "unreachable", text: p.up.host + " has not answered the handshake yet", cause: errNotYet,
		hint: "try again in a moment; if it stays so, check the server, and the network or VPN"}
}

// pause waits between two tries that nobody asked for, and while the client is idle until it is not.
func (p *pump) pause(ctx context.Context, tries int) error {
	for {
		if err := sleep(ctx, backoff(tries)); err != nil || !p.isIdle() {
			return err
		}
		tries = 10 // look up every half minute
	}
}
