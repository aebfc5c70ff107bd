// Package sse reads server-sent event streams (WHATWG HTML section 9.2), as MCP's Streamable HTTP uses them.
package sse

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"
)

// ErrTooLong means that an event is larger than the reader's limit.
var ErrTooLong = errors.New("event too long")

const bufferSize = 32 << 10

var byteOrderMark = []byte("\xef\xbb\xbf")

// Event is one dispatched event.
type Event struct {
	// ID is the last event id the stream has set so far.
	ID string
	// Name is the event's type; "message" where the stream gives none.
	Name string
	// Data is the data lines, joined by newlines. It is the caller's to keep. A priming event has none.
	Data []byte
}

// Reader reads events. It is not safe for concurrent use.
type Reader struct {
	src   io.Reader
	limit int

	buf        []byte
	start, end int  // unread bytes are buf[start:end]
	began      bool // the byte order mark, if any, is behind us
	skipLF     bool // the last line ended in CR: a following LF belongs to it

	lastID string
	retry  time.Duration
}

// NewReader returns a Reader that fails with ErrTooLong on events larger than limit bytes.
func NewReader(src io.Reader, limit int) *Reader {
	return &Reader{src: src, limit: limit, buf: make([]byte, bufferSize)}
}

// LastID returns the last event id seen, to resume with.
func (r *Reader) LastID() string { return r.lastID }

// Retry returns the reconnection time the stream asked for; 0 if it did not.
func (r *Reader) Retry() time.Duration { return r.retry }

// Buffered reports whether bytes that were already received wait to be read.
func (r *Reader) Buffered() bool { return r.start < r.end }

// Next returns the next event. At the end of the stream it returns the error of the source (io.EOF for a clean end);
// an event that the end cuts is dropped, as the specification says.
func (r *Reader) Next() (Event, error) {
	var e Event
	var seen, hasData bool
	for {
		line, err := r.line()
		if err != nil {
			return Event{}, err
		}
		if len(line) == 0 {
			if !seen {
				continue
			}
			return r.dispatch(e), nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			if len(e.Data)+len(value) > r.limit {
				return Event{}, ErrTooLong
			}
			if hasData {
				e.Data = append(e.Data, '\n')
			}
			e.Data = append(e.Data, value...)
			seen, hasData = true, true
		case "event":
			e.Name = string(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				r.lastID = string(value)
				seen = true
			}
		case "retry":
			r.setRetry(value)
		}
	}
}

func (r *Reader) dispatch(e Event) Event {
	e.ID = r.lastID
	if e.Name == "" {
		e.Name = "message"
	}
	return e
}

func (r *Reader) setRetry(value []byte) {
	if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
		r.retry = time.Duration(ms) * time.Millisecond
	}
}

// line returns the next line without its end (LF, CRLF or CR). It is valid until the next call.
func (r *Reader) line() ([]byte, error) {
	scanned := 0
	for {
		if i := lineEnd(r.buf[r.start+scanned : r.end]); i >= 0 {
			return r.take(scanned + i), nil
		}
		scanned = r.end - r.start
		if scanned > r.limit {
			return nil, ErrTooLong
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
		if r.start > 0 { // a byte order mark was dropped from the front
			scanned = 0
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

func (r *Reader) take(length int) []byte {
	line := r.buf[r.start : r.start+length]
	r.skipLF = r.buf[r.start+length] == '\r'
	r.start += length + 1
	r.dropLF()
	return line
}

// dropLF drops the LF of a CRLF. It may arrive later than the CR, and waiting for it would hold the line back.
func (r *Reader) dropLF() {
	if r.skipLF && r.start < r.end {
		if r.buf[r.start] == '\n' {
			r.start++
		}
		r.skipLF = false
	}
}

func (r *Reader) fill() error {
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.end == len(r.buf) {
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	r.dropLF()
	r.dropMark()
	if n > 0 {
		return nil
	}
	return err
}

func (r *Reader) dropMark() {
	have := r.buf[r.start:r.end]
	if r.began || len(have) < len(byteOrderMark) && bytes.HasPrefix(byteOrderMark, have) {
		return
	}
	r.began = true
	if bytes.HasPrefix(have, byteOrderMark) {
		r.start += len(byteOrderMark)
	}
}
