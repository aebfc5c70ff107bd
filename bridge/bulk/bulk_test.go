package bulk_test

import (
	"bytes"
	"sync"
	"testing"

	"drawbridge/bridge/bulk"
)

const limit = 1 << 20

// fill writes n bytes c into b, in pieces as a reader would.
func fill(b *bulk.Buffer, n int, c byte) []byte {
	for used := 0; used < n; {
		room := b.Room(used)
		piece := room[:min(len(room), n-used, 10_000)]
		for i := range piece {
			piece[i] = c
		}
		used += len(piece)
	}
	return b.Bytes(n)
}

func TestBuffer(t *testing.T) {
	p := &bulk.Pool{Limit: limit}
	b := p.Borrow()
	if got := fill(b, limit, 'x'); len(got) != limit || bytes.Count(got, []byte("x")) != limit {
		t.Errorf("%d bytes, %d of them as written; want %d", len(got), bytes.Count(got, []byte("x")), limit)
	}
	if room := b.Room(limit); len(room) != 0 {
		t.Errorf("there is room for %d bytes behind the limit", len(room))
	}
	b.Release()
	(*bulk.Buffer)(nil).Release()
}

// TestHold: memory is not lent again before its last holder is done.
func TestHold(t *testing.T) {
	p := &bulk.Pool{Limit: limit}
	first := p.Borrow()
	got := fill(first, 100, 'a')
	first.Hold()
	first.Release()
	second := p.Borrow()
	fill(second, 100, 'b')
	if want := bytes.Repeat([]byte("a"), 100); !bytes.Equal(got, want) {
		t.Errorf("a held buffer changed to %q", got)
	}
	first.Release()
	second.Release()
}

// TestConcurrent: nobody gets what another holds.
func TestConcurrent(t *testing.T) {
	p := &bulk.Pool{Limit: limit}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 20 {
				b := p.Borrow()
				if got, want := fill(b, 5000+i, byte('a'+i)), bytes.Repeat([]byte{byte('a' + i)}, 5000+i); !bytes.Equal(got, want) {
					t.Errorf("buffer %d holds what others wrote", i)
				}
				b.Release()
			}
		})
	}
	all.Wait()
}

func BenchmarkBorrow(b *testing.B) {
	p := &bulk.Pool{Limit: 64 << 20}
	b.ReportAllocs()
	for b.Loop() {
		buf := p.Borrow()
		buf.Room(0)[0] = 1
		buf.Bytes(1)
		buf.Release()
	}
}
