package bridge

import (
	"bytes"
	"context"
	"sync"

	"drawbridge/bridge/bulk"
	"drawbridge/bridge/envelope"
)

// call is a request of the client that is owed exactly one answer.
type call struct {
	envelope.Message
	ctx    context.Context // ends with the call's HTTP exchange; cancelled by cancel or with the bridge
	cancel context.CancelFunc
	batch  *batch       // nil outside batches
	lent   *bulk.Buffer // the memory of a big request, until its exchange is over; else nil

	streamed bool // its answer is an event stream; belongs to the goroutine that reads it

	sent  bool                    // the server may have it; guarded by calls.mu
	owner string                  // of what the server says to a list, "" if it is not to be kept; guarded by calls.mu
	in    *handshake              // the session it was last sent in; guarded by calls.mu
	stop  context.CancelCauseFunc // ends that exchange; guarded by calls.mu
}

// mayHave reports whether m, which came in the answer to c and has an id that no request waits under, is for c. On an event
// stream a result with quite another id is not: servers that replay too much when a stream is resumed send results of
// other requests.
func (c *call) mayHave(m envelope.Message) bool {
	return !c.streamed || m.Error != nil || m.ID == nil || string(m.ID) == "null" || envelope.SameID(m.ID, c.ID)
}

// calls holds the requests that wait for their answer.
type calls struct {
	mu   sync.Mutex
	open map[string]*call // by the id's JSON text
	due  sync.WaitGroup   // counts open
}

// add registers c; false if the client used the id of a request that still waits.
func (t *calls) add(c *call) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[string]*call{}
	}
	if t.open[string(c.ID)] != nil {
		return false
	}
	t.open[string(c.ID)] = c
	t.due.Add(1)
	return true
}

// find returns the call that waits under id, or nil.
func (t *calls) find(id []byte) *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[string(id)]
}

// settle takes c out; false if it is not owed an answer any more. The caller writes the answer, then calls due.Done.
func (t *calls) settle(c *call) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[string(c.ID)] != c {
		return false
	}
	delete(t.open, string(c.ID))
	return true
}

// markSent notes that c leaves for the server in h. stop ends that exchange.
func (t *calls) markSent(c *call, h *handshake, stop context.CancelCauseFunc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.sent, c.in, c.stop = true, h, stop
}

// abandon ends the exchanges that are still under way in a lost session.
func (t *calls) abandon(lost *handshake) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.open {
		if c.in == lost {
			c.stop(errSessionEnded)
		}
	}
}

func (t *calls) wasSent(c *call) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.sent
}

func (t *calls) setOwner(c *call, owner string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.owner = owner
}

func (t *calls) ownerOf(c *call) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.owner
}

// batch collects the answers to a JSON-RPC batch (MCP 2025-03-26), which go out as one array.
type batch struct {
	mu      sync.Mutex
	missing int
	answers [][]byte
	write   func([]byte)
}

// add takes one answer, or nil for a request that gets none, and writes the array when it is complete.
func (b *batch) add(answer []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if answer != nil {
		b.answers = append(b.answers, bytes.Clone(answer)) // it may be in lent memory
	}
	if b.missing--; b.missing == 0 && len(b.answers) > 0 {
		b.write(append(append([]byte("["), bytes.Join(b.answers, []byte(","))...), ']'))
	}
}

// answer gives c its answer; false if it was answered or cancelled before.
func (p *pump) answer(c *call, message []byte) bool { return p.answerBy(c, message, p.write) }

// answerSoon is answer for the reader's goroutine.
func (p *pump) answerSoon(c *call, message []byte) {
	p.answerBy(c, message, p.soon)
	c.cancel()
}

func (p *pump) answerBy(c *call, message []byte, write func([]byte)) bool {
	if !p.calls.settle(c) {
		return false
	}
	defer p.calls.due.Done()
	if c.batch != nil {
		c.batch.add(message)
		return true
	}
	write(message)
	return true
}

// result answers c with a result of our own making.
func (p *pump) result(c *call, result []byte) bool { return p.answer(c, resultMessage(c.ID, result)) }

// drop ends c without an answer, because the client cancelled it.
func (p *pump) drop(c *call) bool {
	if !p.calls.settle(c) {
		return false
	}
	defer p.calls.due.Done()
	if c.batch != nil {
		c.batch.add(nil)
	}
	return true
}
