package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"drawbridge/internal/bench/script"
)

// child is a session through a process that speaks MCP on its standard streams.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   *script.Lines
	began   time.Time
	stderr  tail
	ids     ids
	writing sync.WaitGroup
}

func startChild(argv, environment []string) (*child, error) {
	c := &child{cmd: exec.Command(argv[0], argv[1:]...)}
	c.cmd.Env, c.cmd.Stderr = environment, &c.stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.lines, c.began = script.NewLines(out), time.Now()
	return c, c.cmd.Start()
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// grace is how long a child may take to end.
const grace = 300 * time.Millisecond

func (c *child) close() {
	_ = c.in.Close() // it may be gone
	kill := time.AfterFunc(grace, func() { _ = c.cmd.Process.Kill() })
	_ = c.cmd.Wait() // how it ended is of no interest
	kill.Stop()
	c.writing.Wait()
}

// guard kills the child when f takes too long, which ends f.
func (c *child) guard(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })()
	if err := f(); err != nil {
		return fmt.Errorf("%w (%v); it said %q", err, context.Cause(ctx), c.stderr.String())
	}
	return nil
}

func (c *child) send(line []byte) error {
	_, err := c.in.Write(append(line, '\n'))
	return err
}

// answer returns the next line that answers id.
func (c *child) answer(id int, note func()) ([]byte, error) {
	for {
		line, err := c.lines.Next()
		switch {
		case err != nil:
			return nil, fmt.Errorf("read the answer: %w", err)
		case idOf(line) == id:
			return line, nil
		case note != nil:
			note()
		}
	}
}

func (c *child) open(ctx context.Context) (initialized, ready time.Duration, err error) {
	err = c.guard(ctx, func() error {
		if err := c.send([]byte(script.Initialize)); err != nil {
			return err
		}
		if _, err := c.answer(0, nil); err != nil {
			return err
		}
		initialized = time.Since(c.began)
		if err := c.send([]byte(script.Initialized + "\n" + script.ListTools)); err != nil {
			return err
		}
		line, err := c.answer(1, nil)
		if err != nil {
			return err
		}
		ready = time.Since(c.began)
		return listed(line)
	})
	return initialized, ready, err
}

func (c *child) call(ctx context.Context, id int, line []byte, note func()) (answer []byte, err error) {
	err = c.guard(ctx, func() error {
		if len(line) < 32<<10 {
			err = c.send(line)
		} else { // a child may answer while it still reads
			c.writing.Go(func() { _ = c.send(line) }) // a failure shows at the read
		}
		if err == nil {
			answer, err = c.answer(id, note)
		}
		return err
	})
	return answer, err
}

func (c *child) many(ctx context.Context, inFlight, least int, until time.Time, line func(int) []byte) (took []time.Duration, err error) {
	sent := map[int]time.Time{}
	send := func() error {
		id := c.ids.next() + 1<<20 // apart from those of single calls
		sent[id] = time.Now()
		return c.send(line(id))
	}
	err = c.guard(ctx, func() error {
		for range inFlight {
			if err := send(); err != nil {
				return err
			}
		}
		for len(sent) > 0 {
			answer, err := c.lines.Next()
			if err != nil {
				return err
			}
			at, known := sent[idOf(answer)]
			if !known {
				continue
			}
			if err := check(answer, 0); err != nil {
				return err
			}
			delete(sent, idOf(answer))
			took = append(took, time.Since(at))
			if len(took)+len(sent) < least || time.Now().Before(until) {
				if err := send(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return took, err
}

// tail keeps the end of what was written.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	t.buf = t.buf[max(0, len(t.buf)-500):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
