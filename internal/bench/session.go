package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"drawbridge/bridge/envelope"
)

// session is one MCP client's view of the server.
type session interface {
	// open shakes hands and lists tools. The times count from the start of the process, or from the first dial.
	open(ctx context.Context) (initialized, listed time.Duration, err error)
	// call sends a message and returns the answer to it, which is valid until the next call. Other messages go to note.
	call(ctx context.Context, id int, line []byte, note func()) ([]byte, error)
	// many keeps so many calls in flight until the time is up and at least min were answered. It returns how long each took.
	many(ctx context.Context, inFlight, min int, until time.Time, line func(id int) []byte) ([]time.Duration, error)
	// pid is the process whose time and memory the session takes.
	pid() int
	close()
}

// patience bounds one exchange.
const patience = time.Minute

// ids gives ids to calls; the handshake has 0 and 1.
type ids struct{ last int }

func (i *ids) next() int { i.last++; return i.last + 1 }

// check fails unless line is a result of at least size bytes.
func check(line []byte, size int) error {
	head := line[:min(len(line), 200)]
	if len(line) < size || !bytes.Contains(head, []byte(`"result"`)) && !bytes.Contains(line[max(0, len(line)-200):], []byte(`"jsonrpc"`)) {
		return fmt.Errorf("wrong answer of %d bytes: %.200q", len(line), head)
	}
	return nil
}

// idOf returns the id of a message if it is an answer with a number for an id, else -1.
func idOf(line []byte) int {
	// Answers begin or end with their id, whoever wrote them; what is between may be long.
	head, tail := line[:min(len(line), 120)], line[max(0, len(line)-40):]
	if bytes.Contains(head, []byte(`"method":`)) {
		return -1
	}
	for _, part := range [][]byte{head, tail} {
		if _, after, found := bytes.Cut(part, []byte(`"id":`)); found {
			return number(after)
		}
	}
	return -1
}

func number(b []byte) int {
	n, digits := 0, 0
	for ; digits < len(b) && b[digits] >= '0' && b[digits] <= '9'; digits++ {
		n = n*10 + int(b[digits]-'0')
	}
	if digits == 0 {
		return -1
	}
	return n
}

// quantile returns the value below which the part q of values lies.
func quantile[T ~int64 | ~float64](values []T, q float64) T {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[int(q*float64(len(sorted)-1))]
}

// listed fails unless line is a list of tools.
func listed(line []byte) error {
	m, err := envelope.Parse(bytes.Clone(line))
	if err != nil {
		return err
	}
	if _, found := envelope.Member(m.Result, "tools"); !found {
		return fmt.Errorf("no list of tools: %.200q", line)
	}
	return nil
}
