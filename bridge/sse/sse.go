// Package sse reads server-sent event streams (WHATWG HTML section 9.2), as MCP's Streamable HTTP uses them.
package sse

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"

	"drawbridge/bridge/bulk"
)

// ErrTooLong means that an event is larger than the reader's limit. It is stepped over, and its id counts; reading can go on.
var ErrTooLong = errors.New("event too long")

// Event is one dispatched event.
type Event struct {
	// ID is the last event id the stream has set so far.
	ID string
	// Name is the event's type; "message" where the stream gives none.
	Name string
	// Data is the data lines, joined by newlines. It is valid until the next event is read. A priming event has none.
	Data []byte
}

// Reader reads events. It is not safe for concurrent use.
type Reader struct {
	input

	lastID string // of the last event that was read to its end
	nextID string // that and the ids after it
	over   bool   // the rest of an event that was too long is to be skipped
	retry  time.Duration
}

// NewReader returns a Reader that fails with ErrTooLong on events larger than limit bytes. Memory for large ones comes
// from pool, whose Limit is at least three times limit. The caller closes the Reader.
func NewReader(src io.Reader, limit int, pool *bulk.Pool) *Reader {
	return &Reader{input: newInput(src, limit, pool)}
}

// Close gives memory back. It does not close the source. The Reader must not be used after it.
func (r *Reader) Close() { r.close() }

// LastID returns the id of the last whole event, to resume with: one that the end of the stream cuts was not seen (WHATWG
// HTML section 9.2.6).
func (r *Reader) LastID() string { return r.lastID }

// Retry returns the reconnection time the stream asked for; 0 if it did not.
func (r *Reader) Retry() time.Duration { return r.retry }

// Next returns the next event. At the end of the stream it returns the error of the source (io.EOF for a clean end);
// an event that the end cuts is dropped, as the specification says.
func (r *Reader) Next() (Event, error) {
	r.forget()
	if err := r.skip(); err != nil {
		return Event{}, err
	}
	name, seen := "message", false
	for {
		line, err := r.line()
		if err != nil {
			r.over = errors.Is(err, ErrTooLong)
			return Event{}, err
		}
		if len(line) == 0 {
			if !seen {
				continue
			}
			r.lastID = r.nextID
			return Event{ID: r.lastID, Name: name, Data: r.data()}, nil
		}
		field, value := cut(line)
		switch string(field) {
		case "data":
			if !r.keep(value) {
				r.over = true
				return Event{}, ErrTooLong
			}
			seen = true
		case "event":
			name = eventName(value)
		case "id":
			seen = r.setID(value) || seen
		case "retry":
			r.setRetry(value)
		}
	}
}

// skip reads the rest of an event that was too long, of which only the id counts.
func (r *Reader) skip() error {
	for r.over {
		line, err := r.line()
		switch field, value := cut(line); {
		case errors.Is(err, ErrTooLong):
			err = r.dropLine()
		case err == nil && len(line) == 0:
			r.over, r.lastID = false, r.nextID
		case string(field) == "id":
			r.setID(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cut splits a line at the first colon. Both parts are slices of it.
func cut(line []byte) (field, value []byte) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return line, line[len(line):]
	}
	return line[:colon], bytes.TrimPrefix(line[colon+1:], []byte(" "))
}

func eventName(value []byte) string {
	if len(value) == 0 || string(value) == "message" {
		return "message"
	}
	return string(value)
}

// setID takes an event id; one that holds NUL is ignored.
func (r *Reader) setID(value []byte) bool {
	if bytes.IndexByte(value, 0) >= 0 {
		return false
	}
	if r.nextID != string(value) {
		r.nextID = string(value)
	}
	return true
}

func (r *Reader) setRetry(value []byte) {
	if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
		r.retry = time.Duration(ms) * time.Millisecond
	}
}
