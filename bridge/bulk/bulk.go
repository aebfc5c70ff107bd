// Package bulk lends memory for messages that are too big to copy.
//
// Most messages are small, and belong to the garbage collector. A big one whose length is not known is read into memory
// that is reserved at the greatest size and that the system fills in page by page as it is used: nothing is copied to
// grow, and no second copy is ever in memory. Memory that was given back is lent again, so that megabytes a call cost
// neither page faults nor collections.
//
// Who borrows gives back, and reads nothing after that. In builds with the race detector everything is lent, and what
// is given back is overwritten, so that every test notices a reader that comes too late.
package bulk

import (
	"bytes"
	"sync"
	"sync/atomic"
)

const (
	// keptSize is how much memory a pool keeps to lend again, and keptBuffers in how many pieces.
	keptSize, keptBuffers = 16 << 20, 16
	// firstSize is what a buffer begins with where memory cannot be reserved.
	firstSize = 2 * Small
)

// Text is bytes that may be in lent memory.
type Text struct {
	// Bytes are the reader's to keep, unless Lent is set.
	Bytes []byte
	// Lent is the memory that Bytes is in, which the reader releases; nil where there is nothing to release.
	Lent *Buffer
}

// Own returns the bytes as the caller's own, and gives back what was lent.
func (t Text) Own() []byte {
	if t.Lent == nil {
		return t.Bytes
	}
	defer t.Lent.Release()
	return bytes.Clone(t.Bytes)
}

// scratchSize is the size of a Scratch: enough for most messages, and no more, because every call on its way may have one.
const scratchSize = min(16<<10, Small)

// Scratch is a piece of memory to begin with.
type Scratch struct {
	Bytes []byte
	pool  *Pool
}

// Scratch lends a small piece of memory.
func (p *Pool) Scratch() *Scratch {
	if s, ok := p.scratch.Get().(*Scratch); ok {
		return s
	}
	return &Scratch{make([]byte, scratchSize), p}
}

// Release gives it back.
func (s *Scratch) Release() {
	if checked {
		clear(s.Bytes)
		return
	}
	s.pool.scratch.Put(s)
}

// Pool lends buffers. It is safe for concurrent use.
type Pool struct {
	// Limit is the size of the largest buffer, in bytes.
	Limit int

	mu   sync.Mutex // guards free and kept
	free []*Buffer
	kept int // bytes of memory in use by free

	scratch sync.Pool
}

// Buffer is memory that somebody holds.
type Buffer struct {
	pool     *Pool
	mem      []byte
	reserved bool // mem is as large as it can be, and goes back to the system by unreserve
	used     int  // how much of mem was ever written to
	holders  atomic.Int32
}

// Borrow returns a buffer with one holder.
func (p *Pool) Borrow() *Buffer {
	b := p.take()
	if b == nil {
		b = &Buffer{pool: p}
		if mem, err := reserve(p.Limit); err == nil {
			b.mem, b.reserved = mem, true
		} else {
			b.mem = make([]byte, min(firstSize, p.Limit))
		}
	}
	b.holders.Store(1)
	return b
}

func (p *Pool) take() *Buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return nil
	}
	b := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.kept -= b.used
	return b
}

// Room returns the memory behind the first n bytes; it is empty when the pool's limit is reached. Slices of the buffer
// from before are of no use any more.
func (b *Buffer) Room(n int) []byte {
	if n == len(b.mem) && n < b.pool.Limit {
		mem := make([]byte, min(2*n, b.pool.Limit))
		copy(mem, b.mem)
		b.mem = mem
	}
	return b.mem[n:]
}

// Bytes returns the first n bytes, which is as much as was written.
func (b *Buffer) Bytes(n int) []byte {
	b.used = max(b.used, n)
	return b.mem[:n]
}

// Hold makes the caller one more holder. Only a holder may call it.
func (b *Buffer) Hold() { b.holders.Add(1) }

// Release ends what Borrow or Hold began. The last holder gives the memory back. A nil Buffer needs none of it.
func (b *Buffer) Release() {
	if b == nil || b.holders.Add(-1) > 0 {
		return
	}
	if checked {
		clear(b.mem)
	}
	if !b.pool.keep(b) && b.reserved {
		unreserve(b.mem)
	}
}

func (p *Pool) keep(b *Buffer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if checked || p.kept+b.used > keptSize || len(p.free) == keptBuffers {
		return false
	}
	p.free = append(p.free, b)
	p.kept += b.used
	return true
}
