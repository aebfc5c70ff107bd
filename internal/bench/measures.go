package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"drawbridge/internal/bench/script"
)

// put takes a figure.
type put = func(title string, value float64)

// measures are all there is to measure, less what was not asked for.
func (s *stage) measures() (chosen []measure) {
	all := []measure{s.start(), s.idle(), s.latency("json", 100, latencyTarget{p50: 2.2, p99: 1.5, base: toDirect}), s.tls(),
		s.latency("json", 10<<10, latencyTarget{p50: 2.3, base: toDirect}), s.latency("json", 1<<20, latencyTarget{p50: 1.1, base: toBoth}),
		s.latency("json", 10<<20, latencyTarget{p50: 1.1, base: toBoth}), s.argument(), s.latency("sse", 100, latencyTarget{base: toDirect}),
		s.latency("sse", 1<<20, latencyTarget{p50: 2.2, base: toDirect}), s.latency("sse", 10<<20, latencyTarget{p50: 1.9, base: toDirect}),
		s.notes(), s.throughput(1, 0, 0), s.throughput(16, 0.72, 1.15), s.throughput(64, 0.8, 0), s.sleepers(), s.far(), s.closer(),
		s.load(), s.big(), s.together(), s.binary()}
	for _, m := range all {
		if s.only.MatchString(m.name) {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }
func microseconds(d time.Duration) float64 { return float64(d) / 1e3 }

// startsPerRound is how many starts one round's figure is the median of.
const startsPerRound = 5

// start is from exec to the first answers.
func (s *stage) start() measure {
	hello, list := "start to initialize", "start to tools/list, sign-in in the store"
	return measure{"start", []row{{title: hello, unit: "ms", base: toPipe}, {title: list, unit: "ms", base: toPipe, target: 8}},
		func(ctx context.Context, p *peer, put put) error {
			for range startsPerRound {
				one, err := p.start(s.at.Plain)
				if err != nil {
					return err
				}
				initialized, listed, err := one.open(ctx)
				one.close()
				if err != nil {
					return err
				}
				put(hello, milliseconds(initialized))
				put(list, milliseconds(listed))
			}
			return nil
		}}
}

type latencyTarget struct {
	p50, p99 float64
	base     base
}

// latency is of calls one after the other, all processes on one processor.
func (s *stage) latency(kind string, bytes int, t latencyTarget) measure {
	form := map[string]string{"json": "result of ", "sse": "SSE answer of "}[kind] + size(bytes)
	p50, p99 := form+", p50", form+", p99"
	m := measure{name: "latency/" + kind + "/" + slug(size(bytes)), rows: []row{{title: p50, unit: "µs", base: t.base, target: t.p50}}}
	if t.p99 > 0 {
		m.rows = append(m.rows, row{title: p99, unit: "µs", base: t.base, target: t.p99})
	}
	m.run = func(ctx context.Context, p *peer, put put) error {
		if p.isPipe() && kind == "sse" {
			return nil // it has no streams
		}
		took, err := s.sequence(ctx, p, s.at.Plain, fmt.Sprintf("%s %d", kind, bytes), 0, bytes)
		if err != nil {
			return err
		}
		put(p50, microseconds(quantile(took, 0.5)))
		if t.p99 > 0 {
			put(p99, microseconds(quantile(took, 0.99)))
		}
		return nil
	}
	return m
}

func (s *stage) tls() measure {
	title := "result of 100 B over TLS, p50"
	return measure{"latency/tls", []row{{title: title, unit: "µs", base: toDirect, target: 1.35}}, func(ctx context.Context, p *peer, put put) error {
		if p.isPipe() {
			return nil
		}
		took, err := s.sequence(ctx, p, s.at.TLS, "json 100", 0, 100)
		if err == nil {
			put(title, microseconds(quantile(took, 0.5)))
		}
		return err
	}}
}

func (s *stage) argument() measure {
	title := "argument of 1 MB, p50"
	return measure{"latency/argument", []row{{title: title, unit: "µs", base: toBoth, target: 1.15}}, func(ctx context.Context, p *peer, put put) error {
		took, err := s.sequence(ctx, p, s.at.Plain, "json 100", 1<<20, 100)
		if err == nil {
			put(title, microseconds(quantile(took, 0.5)))
		}
		return err
	}}
}

// leastCalls is how many calls a median is of, at least.
const leastCalls = 5

// sequence makes calls one after the other for about a second and returns how long each took.
func (s *stage) sequence(ctx context.Context, p *peer, url, tool string, argument, answer int) (took []time.Duration, err error) {
	one, err := p.session(ctx, url)
	if err != nil {
		return nil, err
	}
	var numbers ids
	call := func() (time.Duration, error) {
		id := numbers.next()
		line := script.Call(id, tool, argument)
		began := time.Now()
		got, err := one.call(ctx, id, line, nil)
		took := time.Since(began)
		if err == nil {
			err = check(got, answer)
		}
		return took, err
	}
	for warm := time.Now(); time.Since(warm) < s.budget(700*time.Millisecond) || took == nil; {
		first, err := call()
		if err != nil {
			return nil, err
		}
		took = []time.Duration{first}
	}
	defer pin(os.Getpid(), s.server.Process.Pid, one.pid())()
	took = took[:0]
	for end := time.Now().Add(s.budget(time.Second)); len(took) < leastCalls || time.Now().Before(end); {
		t, err := call()
		if err != nil {
			return nil, err
		}
		took = append(took, t)
	}
	return took, nil
}

// notes counts notifications on the stream of a call.
func (s *stage) notes() measure {
	title, count := "notifications on a call", max(100, int(20_000*s.scale))
	return measure{"notifications", []row{{title: title, unit: "per s", base: toDirect, target: 0.9, atLeast: true}}, func(ctx context.Context, p *peer, put put) error {
		if p.isPipe() {
			return nil
		}
		one, err := p.session(ctx, s.at.Plain)
		if err != nil {
			return err
		}
		for id := 2; id < 5; id++ {
			got := 0
			began := time.Now()
			if _, err := one.call(ctx, id, script.Call(id, fmt.Sprintf("notes %d", count), 0), func() { got++ }); err != nil {
				return err
			}
			if got != count {
				return fmt.Errorf("%d of %d notifications arrived", got, count)
			}
			put(title, float64(count)/time.Since(began).Seconds())
		}
		return nil
	}}
}
