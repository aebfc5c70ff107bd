package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"drawbridge/internal/bench/script"
)

// This file has what is measured with many calls, or many bridges, at once.

func line100(id int) []byte { return script.Call(id, "json 100", 0) }

// throughput keeps calls in flight. The peers' own time is measured beside it, for 16.
func (s *stage) throughput(inFlight int, target, cpuTarget float64) measure {
	rate := fmt.Sprintf("calls, %d in flight", inFlight)
	cpu := fmt.Sprintf("processor time for 10,000 calls, %d in flight", inFlight)
	m := measure{name: fmt.Sprintf("throughput/%d", inFlight), rows: []row{{title: rate, unit: "per s", base: toDirect, target: target, atLeast: true}}}
	if measurable {
		m.rows = append(m.rows, row{title: cpu, unit: "s", base: toDirect, target: cpuTarget})
	}
	m.run = func(ctx context.Context, p *peer, put put) error {
		one, err := p.session(ctx, s.at.Plain)
		if err != nil {
			return err
		}
		if _, err := one.many(ctx, inFlight, 10*inFlight, time.Now(), line100); err != nil { // opens the connections
			return err
		}
		before, began := cpuSeconds(one.pid()), time.Now()
		took, err := one.many(ctx, inFlight, 10*inFlight, began.Add(s.budget(time.Second)), line100)
		if err != nil {
			return err
		}
		put(rate, float64(len(took))/time.Since(began).Seconds())
		put(cpu, (cpuSeconds(one.pid())-before)/float64(len(took))*10_000)
		return nil
	}
	return m
}

// sleepers shows whether calls wait for each other.
func (s *stage) sleepers() measure {
	title := "16 calls of 50 ms at once"
	return measure{"sleepers", []row{{title: title, unit: "ms", base: toDirect, target: 1.03}}, func(ctx context.Context, p *peer, put put) error {
		if p.isPipe() {
			return nil
		}
		one, err := p.session(ctx, s.at.Plain)
		if err != nil {
			return err
		}
		return s.burst(ctx, one, 16, func(id int) []byte { return script.Call(id, "sleep 50", 0) }, title, put)
	}}
}

func (s *stage) burst(ctx context.Context, one session, calls int, line func(int) []byte, title string, put put) error {
	began := time.Now()
	took, err := one.many(ctx, calls, calls, began, line)
	if err == nil && len(took) != calls {
		err = fmt.Errorf("%d answers to %d calls", len(took), calls)
	}
	put(title, milliseconds(time.Since(began)))
	return err
}

// far is a server with a round trip of 50 ms: what counts is how often the way is gone.
func (s *stage) far() measure {
	start, requests, connections, burst := "start to tools/list, TLS, 50 ms away", "requests until then", "connections until then", "32 calls at once, 50 ms away"
	return measure{"far", []row{{title: start, unit: "ms", base: toDirect, target: 1.03}, {title: requests, unit: "count", target: 4}, {title: connections, unit: "count", target: 1},
		{title: burst, unit: "ms", base: toDirect, target: 1.03}}, func(ctx context.Context, p *peer, put put) error {
		if p.isPipe() {
			return nil
		}
		r0, c0, err := s.counts(ctx)
		if err != nil {
			return err
		}
		one, err := p.start(s.at.Far)
		if err != nil {
			return err
		}
		defer one.close()
		_, listed, err := one.open(ctx)
		if err != nil {
			return err
		}
		r1, c1, err := s.counts(ctx)
		if err != nil {
			return err
		}
		put(start, milliseconds(listed))
		put(requests, float64(r1-r0))
		put(connections, float64(c1-c0))
		return s.burst(ctx, one, 32, line100, burst, put)
	}}
}

// closer is a distant server that closes connections on which nothing happens.
func (s *stage) closer() measure {
	title := "call after the server closed the idle connection, 50 ms away"
	return measure{"closer", []row{{title: title, unit: "ms", base: toDirect, target: 0.4}}, func(ctx context.Context, p *peer, put put) error {
		if p.isPipe() {
			return nil
		}
		one, err := p.opened(ctx, s.at.Closer)
		if err != nil {
			return err
		}
		defer one.close()
		time.Sleep(idleConnection + 2*time.Second) // servers of HTTP/2 wait a second after they said goodbye
		began := time.Now()
		answer, err := one.call(ctx, 2, line100(2), nil)
		if err != nil {
			return err
		}
		put(title, milliseconds(time.Since(began)))
		return check(answer, 100)
	}}
}

// settle is how long a process gets to come to rest.
const settle = 500 * time.Millisecond

func (s *stage) idle() measure {
	memory, cpu := "memory, idle", "processor time, idle"
	return s.ofProcess("idle", []row{{title: memory, unit: "MB", target: 10}, {title: cpu, unit: "ms per s"}}, func(ctx context.Context, one session, put put) error {
		time.Sleep(settle)
		before := cpuSeconds(one.pid())
		put(memory, resident(one.pid()))
		time.Sleep(s.budget(time.Second))
		put(cpu, (cpuSeconds(one.pid())-before)*1000/s.budget(time.Second).Seconds())
		return nil
	})
}

func (s *stage) load() measure {
	title := "memory, peak with 64 calls of 10 KB in flight"
	return s.ofProcess("memory/load", []row{{title: title, unit: "MB", target: 22}}, func(ctx context.Context, one session, put put) error {
		_, err := one.many(ctx, 64, 640, time.Now().Add(s.budget(time.Second)), func(id int) []byte { return script.Call(id, "json 10240", 0) })
		put(title, peak(one.pid()))
		return err
	})
}

func (s *stage) big() measure {
	title := "memory, peak after results of 10 MB"
	return s.ofProcess("memory/big", []row{{title: title, unit: "MB", target: 30}}, func(ctx context.Context, one session, put put) error {
		for id := 2; id < 8; id++ {
			tool := []string{"json", "sse"}[id%2]
			if _, err := one.call(ctx, id, script.Call(id, fmt.Sprintf("%s %d", tool, 10<<20), 0), nil); err != nil {
				return err
			}
		}
		put(title, peak(one.pid()))
		return nil
	})
}

// ofProcess measures a process of its own; direct has none.
func (s *stage) ofProcess(name string, rows []row, run func(context.Context, session, put) error) measure {
	return measure{name, rows, func(ctx context.Context, p *peer, put put) error {
		if p.name == nameDirect || !measurable {
			return nil
		}
		one, err := p.opened(ctx, s.at.Plain)
		if err != nil {
			return err
		}
		defer one.close()
		return run(ctx, one, put)
	}}
}

// together starts a fleet: an editor with many servers, or many editors.
func (s *stage) together() measure {
	ready, memory := fmt.Sprintf("%d started at once, until all are ready", s.fleet), fmt.Sprintf("memory of %d, shared parts counted once", s.fleet)
	return measure{"fleet", []row{{title: ready, unit: "ms", target: 200}, {title: memory, unit: "MB", target: 100}}, func(ctx context.Context, p *peer, put put) error {
		if p.name == nameDirect {
			return nil
		}
		all := make([]session, s.fleet)
		defer func() { closeAll(all) }()
		began := time.Now()
		err := each(s.fleet, func(i int) (err error) {
			all[i], err = p.opened(ctx, s.at.Plain)
			return err
		})
		put(ready, milliseconds(time.Since(began)))
		var sum float64
		for _, one := range all {
			if one != nil {
				sum += share(one.pid())
			}
		}
		if measurable {
			put(memory, sum)
		}
		return err
	}}
}

func (s *stage) binary() measure {
	title := "size of the program"
	return measure{"size", []row{{title: title, unit: "MB", target: 13}}, func(_ context.Context, p *peer, put put) error {
		if p.name != nameBridge {
			return nil
		}
		info, err := os.Stat(s.program)
		if err == nil {
			put(title, float64(info.Size())/1e6)
		}
		return err
	}}
}
