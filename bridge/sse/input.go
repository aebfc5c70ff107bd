package sse

import (
	"bytes"
	"io"

	"drawbridge/bridge/bulk"
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// input cuts a stream into lines and keeps the data of the event that is being read.
//
//	buf:  | kept data |   read, of no use   | unread |   room   |
//	      from        to                    next     end
//
// Data stays where it was read; a second data line moves down behind the first. An event that does not fit moves into
// lent memory, and the stream moves back when it is over.
type input struct {
	src   io.Reader
	limit int
	pool  *bulk.Pool

	small *bulk.Scratch // what a stream begins with
	lent  *bulk.Buffer  // nil while buf is small
	buf   []byte

	from, to  int  // the data kept is buf[from:to]
	has       bool // there is data, perhaps empty
	next, end int  // unread bytes are buf[next:end]

	began  bool // the byte order mark, if any, is behind us
	skipLF bool // the last line ended in CR: a following LF belongs to it
}

func newInput(src io.Reader, limit int, pool *bulk.Pool) input {
	small := pool.Scratch()
	return input{src: src, limit: limit, pool: pool, small: small, buf: small.Bytes}
}

// close gives memory back.
func (r *input) close() {
	r.lent.Release()
	r.small.Release()
	r.lent, r.small, r.buf = nil, nil, nil
}

// forget ends the event whose data was kept.
func (r *input) forget() { r.has, r.from, r.to = false, 0, 0 }

func (r *input) data() []byte { return r.buf[r.from:r.to:r.to] }

// keep adds value, a part of the line that was read last, to the data. False: it is too much.
func (r *input) keep(value []byte) bool {
	at := r.offset(value)
	if !r.has {
		r.has, r.from, r.to = true, at, at+len(value)
		return len(value) <= r.limit
	}
	r.buf[r.to] = '\n'
	r.to += 1 + copy(r.buf[r.to+1:], value)
	return r.to-r.from <= r.limit
}

// offset returns where part, a slice of buf, begins.
func (r *input) offset(part []byte) int { return cap(r.buf) - cap(part) }

// line returns the next line without its end (LF, CRLF or CR). It is valid until the next call.
func (r *input) line() ([]byte, error) {
	scanned := 0
	for {
		if i := lineEnd(r.buf[r.next+scanned : r.end]); i >= 0 {
			return r.take(scanned + i), nil
		}
		scanned = r.end - r.next
		if scanned > r.limit {
			return nil, ErrTooLong
		}
		dropped, err := r.fill()
		if err != nil {
			return nil, err
		}
		scanned = max(0, scanned-dropped)
	}
}

// dropLine reads to the end of a line of any length, and drops it. No data is kept.
func (r *input) dropLine() error {
	for {
		if i := lineEnd(r.buf[r.next:r.end]); i >= 0 {
			r.take(i)
			return nil
		}
		r.next = r.end
		if _, err := r.fill(); err != nil {
			return err
		}
	}
}

// lineEnd returns the index of the first CR or LF, or -1.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf >= 0 {
		b = b[:lf]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

func (r *input) take(length int) []byte {
	line := r.buf[r.next : r.next+length]
	r.skipLF = r.buf[r.next+length] == '\r'
	r.next += length + 1
	r.dropLF()
	return line
}

// dropLF drops the LF of a CRLF. It may arrive later than the CR, and waiting for it would hold the line back.
func (r *input) dropLF() {
	if r.skipLF && r.next < r.end {
		if r.buf[r.next] == '\n' {
			r.next++
		}
		r.skipLF = false
	}
}

// fill reads more. It returns how many of the unread bytes it dropped.
func (r *input) fill() (dropped int, err error) {
	r.makeRoom()
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if r.lent != nil {
		r.lent.Bytes(r.end)
	}
	before := r.next
	r.dropLF()
	r.dropMark()
	if n > 0 {
		err = nil
	}
	return r.next - before, err
}

// makeRoom moves what counts to the front, or into a larger buffer.
func (r *input) makeRoom() {
	if !r.has && r.next == r.end {
		r.next, r.end = 0, 0
		r.shrink()
	}
	if r.end < len(r.buf) {
		return
	}
	switch {
	case r.from+(r.next-r.to) > len(r.buf)/4: // what counts no more
		r.moveTo(r.buf)
	case r.lent == nil:
		r.lent = r.pool.Borrow()
		r.moveTo(r.lent.Room(0))
	default:
		r.lent.Room(r.end) // may be elsewhere
		r.buf = r.lent.Room(0)
	}
}

// shrink goes back to the small buffer.
func (r *input) shrink() {
	if r.lent != nil {
		r.lent.Release()
		r.lent, r.buf = nil, r.small.Bytes
	}
}

// moveTo moves the data and the unread bytes to the front of buf, which may be the one they are in.
func (r *input) moveTo(buf []byte) {
	kept := copy(buf, r.buf[r.from:r.to])
	unread := copy(buf[kept:], r.buf[r.next:r.end])
	r.buf, r.from, r.to, r.next, r.end = buf, 0, kept, kept, kept+unread
}

func (r *input) dropMark() {
	have := r.buf[r.next:r.end]
	if r.began || len(have) < len(byteOrderMark) && bytes.HasPrefix(byteOrderMark, have) {
		return
	}
	r.began = true
	if bytes.HasPrefix(have, byteOrderMark) {
		r.next += len(byteOrderMark)
	}
}
