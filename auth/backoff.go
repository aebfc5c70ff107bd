package auth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// This file spaces out the attempts at a token endpoint that does not do its work. The pauses are those of one process:
// each has its own, with jitter, so that those of a machine do not come in step.

const (
	// firstPause doubles with each failure up to lastPause. Of each pause, a random part of a half is left out.
	firstPause, lastPause = time.Second, time.Minute
	// longestPause bounds what a server may ask for (Retry-After, RFC 9110 section 10.2.3).
	longestPause = 5 * time.Minute
	// patience is how long a request waits for a pause to end. With a longer one it fails at once, and says why.
	patience = 3 * time.Second
)

// backoff is what failures of the token endpoint have led to. The zero value lets everything through.
type backoff struct {
	failures    int
	from, until time.Time // of the pause
	cause       error
}

// after returns the backoff after another failure.
func (b backoff) after(err error, now time.Time) backoff {
	pause := min(firstPause<<min(b.failures, 10), lastPause)
	pause -= rand.N(pause / 2)
	var asked *retryLater
	if errors.As(err, &asked) {
		pause = max(pause, min(asked.pause(now), longestPause))
	}
	return backoff{b.failures + 1, now, now.Add(pause), err}
}

// left is how much of the pause is left. It is over when the clock was set back: by then the pause might be hours.
func (b backoff) left(now time.Time) time.Duration {
	if now.Before(b.from) {
		return 0
	}
	return max(0, b.until.Sub(now))
}

// hold says why there is no attempt now, and when there will be one.
func (b backoff) hold(now time.Time) error {
	return hint(fmt.Errorf("%w; the next try is in %v", b.cause, b.left(now).Round(time.Second)),
		"the sign-in is kept; try again then, or sign in anew with drawbridge login")
}

// awaitTurn returns when the token endpoint may be asked. While that is far off, it returns why. errors.Is tells an end of
// ctx.
func (s *Session) awaitTurn(ctx context.Context) error {
	for {
		b, now := s.view().backoff, s.now()
		left := b.left(now)
		switch {
		case left == 0:
			return nil
		case left > patience || errors.Is(b.cause, errNeedsHuman): // who is to be asked anyway need not wait
			return b.hold(now)
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return fmt.Errorf("%w; %w", b.cause, ctx.Err())
		}
	}
}

// backOff notes a failure of the token endpoint.
func (s *Session) backOff(err error) {
	s.update(func(st *state) { st.backoff = st.backoff.after(err, s.now()) })
}

// retryLater is an error of a server that says when to come back.
type retryLater struct {
	error
	after, date string // Retry-After and Date, as they came
}

func (r *retryLater) Unwrap() error { return r.error }

// later adds to err what the header says about another try.
func later(err error, h http.Header) error {
	if after := h.Get("Retry-After"); err != nil && after != "" {
		return &retryLater{err, after, h.Get("Date")}
	}
	return err
}

// pause reads Retry-After: seconds, or a date, which is compared with the server's own clock where that is known. What
// cannot be read asks for nothing.
func (r *retryLater) pause(now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(r.after, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(r.after)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(r.date); err == nil {
		now = date
	}
	return max(0, at.Sub(now))
}
