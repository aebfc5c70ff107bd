// Package stdio frames JSON-RPC messages as lines, the stdio transport of MCP.
package stdio

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
)

// ErrTooLong means that a line was longer than the reader's limit. The line is skipped; reading can go on.
var ErrTooLong = errors.New("message too long")

const bufferSize = 64 << 10

// Reader reads lines. It is not safe for concurrent use.
type Reader struct {
	src   *bufio.Reader
	limit int
	began bool
}

// NewReader returns a Reader that refuses lines longer than limit bytes.
func NewReader(src io.Reader, limit int) *Reader {
	return &Reader{src: bufio.NewReaderSize(src, bufferSize), limit: limit}
}

// Next returns the next line that is not blank, without the white space around it. The bytes are the caller's to keep.
// A last line without an end counts. At the end it returns io.EOF; ErrTooLong does not end the stream.
func (r *Reader) Next() ([]byte, error) {
	for {
		line, err := r.line()
		line = r.trim(line)
		switch {
		case len(line) > 0 && (err == nil || err == io.EOF):
			return line, nil
		case err != nil:
			return nil, err
		}
	}
}

func (r *Reader) trim(line []byte) []byte {
	if !r.began && len(line) > 0 {
		r.began = true
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	return bytes.Trim(line, " \t\r\n")
}

func (r *Reader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := r.src.ReadSlice('\n')
		if len(line)+len(part) > r.limit {
			return nil, r.skip(err)
		}
		line = append(line, part...)
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// skip reads to the end of a line that is too long.
func (r *Reader) skip(err error) error {
	for err == bufio.ErrBufferFull {
		_, err = r.src.ReadSlice('\n')
	}
	if err != nil && err != io.EOF {
		return err
	}
	return ErrTooLong
}

// Writer writes messages, each with one Write, so that concurrent senders never mix.
type Writer struct {
	mu  sync.Mutex // guards dst, buf and err
	dst io.Writer
	buf []byte
	err error
}

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// keep is the largest buffer kept between messages.
const keep = 256 << 10

// Write writes message, which must not contain line ends, and an end of line. After a failure every later call
// returns the same error: a line may have been cut, and nothing sensible can follow it.
func (w *Writer) Write(message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.buf = append(append(w.buf[:0], message...), '\n')
	_, w.err = w.dst.Write(w.buf)
	if cap(w.buf) > keep {
		w.buf = nil
	}
	return w.err
}
