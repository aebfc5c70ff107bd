package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"drawbridge/auth/guard"
)

// limits bound what one person may do with this instance; the instances of a guard do not know of each other.
type limits struct {
	Body          size    `yaml:"body"`
	Rate          float64 `yaml:"rate"`       // calls a second of one subject
	Burst         int     `yaml:"burst"`      // that may come at once
	Concurrent    int     `yaml:"concurrent"` // requests and streams of one subject
	MaxConcurrent int     `yaml:"max_concurrent"`
}

// Defaults: more than a person with a few agents needs, less than what hurts.
const (
	defaultRate       = 50
	defaultBurst      = 100
	defaultConcurrent = 64
)

func (l limits) withDefaults() (limits, error) {
	if l.Rate == 0 {
		l.Rate = defaultRate
	}
	if l.Burst == 0 {
		l.Burst = max(defaultBurst, int(2*l.Rate))
	}
	if l.Concurrent == 0 {
		l.Concurrent = defaultConcurrent
	}
	if l.Rate < 0 || l.Burst < 0 || l.Concurrent < 0 || l.MaxConcurrent < 0 {
		return l, errors.New("limits: want numbers above zero")
	}
	return l, nil
}

// subject is who a limit is for.
type subject struct{ issuer, id string }

func subjectOf(id *guard.Identity) subject { return subject{id.Issuer, id.Subject} }

// quota counts what subjects do.
type quota struct {
	limits limits
	now    func() time.Time

	mu    sync.Mutex
	rates map[subject]*rate.Limiter // guarded by mu
	open  map[subject]int           // guarded by mu
}

func newQuota(l limits) *quota {
	return &quota{limits: l, now: time.Now, rates: map[subject]*rate.Limiter{}, open: map[subject]int{}}
}

// sweepAt is how many subjects are remembered before those are forgotten who have been quiet.
const sweepAt = 10_000

// authorize returns a policy that first looks at how much a subject asks for.
func (q *quota) authorize(next guard.Authorizer) guard.Authorizer {
	return func(ctx context.Context, r *guard.Request) guard.Decision {
		if wait := q.reserve(subjectOf(r.Identity)); wait > 0 {
			return guard.Decision{Outcome: guard.Busy, Reason: "too many requests", RetryAfter: wait}
		}
		return next(ctx, r)
	}
}

// reserve takes one call from a subject's quota, or says when there will be one.
func (q *quota) reserve(who subject) time.Duration {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	limiter := q.rates[who]
	if limiter == nil {
		if len(q.rates) >= sweepAt {
			q.sweep(now)
		}
		limiter = rate.NewLimiter(rate.Limit(q.limits.Rate), q.limits.Burst)
		q.rates[who] = limiter
	}
	reservation := limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// sweep forgets who has a full quota: a new limiter would be the same.
func (q *quota) sweep(now time.Time) {
	for who, limiter := range q.rates {
		if limiter.TokensAt(now) >= float64(q.limits.Burst) {
			delete(q.rates, who)
		}
	}
}

// admitter is a [guard.Config.Admit].
type admitter = func(*guard.Identity) (leave func(), d guard.Decision)

// admit takes a place among the requests that a subject may have under way.
func (q *quota) admit(id *guard.Identity) (leave func(), d guard.Decision) {
	who := subjectOf(id)
	if !q.enter(who) {
		return nil, guard.Decision{Outcome: guard.Busy, Reason: "too many requests of yours are under way", RetryAfter: time.Second}
	}
	return func() { q.leave(who) }, guard.Decision{Outcome: guard.Allow}
}

func (q *quota) enter(who subject) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open[who] >= q.limits.Concurrent {
		return false
	}
	q.open[who]++
	return true
}

func (q *quota) leave(who subject) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open[who]--; q.open[who] == 0 {
		delete(q.open, who)
	}
}
