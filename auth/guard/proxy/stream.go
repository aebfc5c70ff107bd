package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// stream filters the messages of an event stream (WHATWG HTML, server-sent events). It holds back one event at most, and
// only until its end: a reader gets each event as soon as it is whole.
type stream struct {
	in      *bufio.Reader
	body    io.ReadCloser
	filter  filter
	limit   int    // of an event in bytes
	ready   []byte // what is still to be read of the last event
	pending error

	begun    bool // the first line was read
	returned bool // the last line ended with CR: an LF that follows belongs to it
}

// readSize is small because most streams wait most of the time.
const readSize = 2 << 10

var errEventTooLarge = errors.New("an event of the server is too large to be filtered")

func newStream(body io.ReadCloser, f filter, limit int) *stream {
	return &stream{in: bufio.NewReaderSize(body, readSize), body: body, filter: f, limit: limit}
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		if s.pending != nil {
			return 0, s.pending
		}
		s.next()
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// Close closes the server's answer.
func (s *stream) Close() error { return s.body.Close() }

// next reads one event and ends its lines with LF. An event without an end is dropped, as every reader of event streams
// has to do.
func (s *stream) next() {
	var event, data []byte
	for {
		line, err := s.line(s.limit - len(event))
		if err != nil {
			s.pending = err
			return
		}
		if !s.begun { // readers drop a byte order mark, which would hide the name of the first field
			line, s.begun = bytes.TrimPrefix(line, []byte("\ufeff")), true
		}
		event = append(append(event, line...), '\n')
		if len(line) == 0 {
			break
		}
		if value, ok := field(line, "data"); ok {
			data = append(append(data, value...), '\n')
		}
	}
	s.ready, s.pending = s.judge(event, bytes.TrimSuffix(data, []byte("\n")))
}

// line reads a line without its end: LF, CRLF or CR. It does not wait for the LF of a CRLF, which may never come.
func (s *stream) line(limit int) (line []byte, err error) {
	for {
		c, err := s.in.ReadByte()
		if err != nil {
			return nil, err
		}
		late := c == '\n' && s.returned
		s.returned = c == '\r'
		switch {
		case late:
			continue
		case c == '\r' || c == '\n':
			return line, nil
		}
		if line = append(line, c); len(line) > limit {
			return nil, errEventTooLarge
		}
	}
}

// field returns the value of a line, if the line is of that field.
func field(line []byte, name string) ([]byte, bool) {
	found, value, _ := bytes.Cut(line, []byte(":"))
	if string(found) != name {
		return nil, false
	}
	return bytes.TrimPrefix(value, []byte(" ")), true
}

// judge returns the event as it may pass. Its other fields stay as they are.
func (s *stream) judge(event, data []byte) ([]byte, error) {
	if len(data) == 0 {
		return event, nil
	}
	filtered, err := s.filter.body(data)
	if err != nil {
		return nil, fmt.Errorf("an event of the server is no message: %w", err)
	}
	if bytes.Equal(filtered, data) {
		return event, nil
	}
	var out bytes.Buffer
	for line := range bytes.Lines(event) {
		if _, isData := field(bytes.TrimSuffix(line, []byte("\n")), "data"); !isData && len(line) > 1 {
			out.Write(line)
		}
	}
	for line := range bytes.Lines(filtered) {
		fmt.Fprintf(&out, "data: %s\n", bytes.TrimRight(line, "\n"))
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
