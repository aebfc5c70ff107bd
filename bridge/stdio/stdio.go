// Package stdio frames JSON-RPC messages as lines, the stdio transport of MCP.
package stdio

import (
	"bytes"
	"errors"
	"io"

	"drawbridge/bridge/bulk"
)

// ErrTooLong means that a line was longer than the reader's limit. The line is skipped; reading can go on.
var ErrTooLong = errors.New("message too long")

var byteOrderMark = []byte("\xef\xbb\xbf")

// Reader reads lines. It is not safe for concurrent use.
type Reader struct {
	src   io.Reader
	pool  *bulk.Pool
	limit int
	began bool

	buf        []byte
	start, end int   // unread bytes are buf[start:end]
	err        error // of src
}

// NewReader returns a Reader that refuses lines longer than limit bytes. Memory for long lines comes from pool, whose
// Limit is at least limit and the size of one read more.
func NewReader(src io.Reader, limit int, pool *bulk.Pool) *Reader {
	return &Reader{src: src, pool: pool, limit: limit, buf: make([]byte, bulk.Small)}
}

// Next returns the next line that is not blank, without the white space around it. A last line without an end counts. At the end it returns io.EOF;
// ErrTooLong does not end the stream.
func (r *Reader) Next() (bulk.Text, error) {
	for {
		line, err := r.line()
		if err != nil {
			return bulk.Text{}, err
		}
		line.Bytes = r.trim(line.Bytes)
		if len(line.Bytes) == 0 {
			line.Lent.Release()
			continue
		}
		if line.Lent == nil {
			line.Bytes = bytes.Clone(line.Bytes)
		}
		return line, nil
	}
}

func (r *Reader) trim(line []byte) []byte {
	if !r.began && len(line) > 0 {
		r.began = true
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	return bytes.Trim(line, " \t\r\n")
}

// line returns the next line. If it is not lent, it is valid until the next call.
func (r *Reader) line() (bulk.Text, error) {
	for scanned := 0; ; {
		unread := r.buf[r.start:r.end]
		if i := bytes.IndexByte(unread[scanned:], '\n'); i >= 0 {
			r.start += scanned + i + 1
			return r.short(unread[:scanned+i])
		}
		scanned = len(unread)
		switch {
		case r.err == io.EOF && len(unread) > 0: // the last line has no end
			r.start = r.end
			return r.short(unread)
		case r.err != nil:
			return bulk.Text{}, r.err
		case len(unread) == len(r.buf):
			return r.long()
		}
		r.fill()
	}
}

func (r *Reader) short(text []byte) (bulk.Text, error) {
	if len(text) > r.limit {
		return bulk.Text{}, ErrTooLong
	}
	return bulk.Text{Bytes: text}, nil
}

// fill reads behind the unread bytes, which it moves to the front.
func (r *Reader) fill() {
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	r.err = err
}

// long reads a line that does not fit into the buffer, which is full.
func (r *Reader) long() (bulk.Text, error) {
	lent := r.pool.Borrow()
	used := copy(r.room(lent, 0), r.buf)
	r.start, r.end = 0, 0
	for used <= r.limit && r.err == nil {
		n, err := r.src.Read(r.room(lent, used))
		r.err = err
		read := lent.Bytes(used + n)[used:]
		if i := bytes.IndexByte(read, '\n'); i >= 0 {
			r.end = copy(r.buf, read[i+1:])
			return r.lend(lent, used+i)
		}
		used += n
	}
	if used > r.limit {
		lent.Release()
		return bulk.Text{}, r.skip()
	}
	if r.err != io.EOF {
		lent.Release()
		return bulk.Text{}, r.err
	}
	return r.lend(lent, used)
}

// room is where the next part of a long line goes. It is no larger than the buffer, which takes what follows the line.
func (r *Reader) room(lent *bulk.Buffer, used int) []byte {
	room := lent.Room(used)
	return room[:min(len(room), len(r.buf))]
}

func (r *Reader) lend(lent *bulk.Buffer, length int) (bulk.Text, error) {
	if length > r.limit {
		lent.Release()
		return bulk.Text{}, ErrTooLong
	}
	return bulk.Text{Bytes: lent.Bytes(length), Lent: lent}, nil
}

// skip reads to the end of a line that is too long.
func (r *Reader) skip() error {
	for r.err == nil {
		r.start, r.end = 0, 0
		r.fill()
		if i := bytes.IndexByte(r.buf[:r.end], '\n'); i >= 0 {
			r.start = i + 1
			return ErrTooLong
		}
	}
	r.start, r.end = 0, 0
	if r.err != io.EOF {
		return r.err
	}
	return ErrTooLong
}
