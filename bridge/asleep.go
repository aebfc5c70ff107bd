package bridge

import (
	"context"
	"errors"
	"sync"
	"time"
)

// This file notices that the machine slept. Its connections are dead then, and nobody has said so: a request that is sent
// on one of them is lost, and a call that is lost has an unknown outcome.

// sleptAtLeast is how much more the clock on the wall must have gone on than the one that stops during sleep.
const sleptAtLeast = 20 * time.Second

// instant is a moment on two clocks.
type instant struct {
	wall   time.Time
	awake  time.Duration // stands still while the machine sleeps (Linux, macOS; on Windows nothing is noticed)
	passed bool          // it is one; the zero value is none
}

// clock returns a function that reads both clocks.
func clock() func() instant {
	began := time.Now()
	return func() instant {
		now := time.Now()
		return instant{now.Round(0), now.Sub(began), true} // Round takes off the reading of the other clock
	}
}

// sleptSince reports whether the machine slept between last and now. A clock that was set counts as sleep: it costs new
// connections.
func (now instant) sleptSince(last instant) bool {
	return last.passed && now.wall.Sub(last.wall)-(now.awake-last.awake) >= sleptAtLeast
}

// errSlept ends a stream that the machine slept over.
var errSlept = errors.New("the machine slept")

// sleeper knows when the client's last request was, and the GET stream.
type sleeper struct {
	mu     sync.Mutex
	last   instant
	stream *listening // nil if there is none
}

// listening is a GET stream that stands, or is being opened.
type listening struct {
	stop  context.CancelCauseFunc
	ended chan struct{}
}

// listens notes that there is a GET stream; the caller calls done when it has ended.
func (s *sleeper) listens(stop context.CancelCauseFunc) (done func()) {
	l := &listening{stop, make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream = l
	return func() { close(l.ended) }
}

// endLimit bounds how long the end of a dead stream is waited for. A connection that still carries it is not idle.
const endLimit = time.Second

// noticeSleep gives up the connections of before, if the machine slept since the client's last request. Requests that
// come at the same time wait for that.
func (p *pump) noticeSleep() {
	s := &p.sleep
	s.mu.Lock()
	defer s.mu.Unlock()
	now := p.cfg.clock()
	slept := now.sleptSince(s.last)
	s.last = now
	if !slept {
		return
	}
	p.cfg.Log.Info("the machine slept; making new connections")
	if s.stream != nil {
		s.stream.stop(errSlept)
		limit := time.NewTimer(endLimit)
		defer limit.Stop()
		select {
		case <-s.stream.ended:
		case <-limit.C:
		}
	}
	p.cfg.HTTP.CloseIdleConnections()
}
