package stdio

import (
	"bytes"
	"io"
	"sync"
	"unicode/utf8"
)

// maxQueue is how much a Writer collects before it writes, and keptBuffer the largest buffer that it keeps.
const maxQueue, keptBuffer = 64 << 10, 128 << 10

// Writer writes messages, one after the other, so that concurrent senders never mix.
type Writer struct {
	mu  sync.Mutex // guards dst, buf and err
	dst io.Writer
	buf []byte // what is queued
	err error
}

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// Write writes what is queued, then message, which must not contain line ends, and an end of line. Bytes that are no UTF-8
// are replaced. After a failure
// every later call returns the same error: a line may have been cut, and nothing sensible can follow it.
func (w *Writer) Write(message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(utf8Of(message))
	w.flush()
	return w.err
}

// utf8Of returns a message with U+FFFD in the place of what is no UTF-8. MCP 2025-11-25 transports: messages "MUST be UTF-8
// encoded"; clients whose decoder is strict (Python's) read nothing more after one that is not.
func utf8Of(message []byte) []byte {
	if utf8.Valid(message) {
		return message
	}
	return bytes.ToValidUTF8(message, []byte("\uFFFD"))
}

// Queue is Write that may leave the message for a later Write or Flush, so that many take one system call. Who queues
// flushes before waiting for anything.
func (w *Writer) Queue(message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(utf8Of(message))
	return w.err
}

// Flush writes what is queued.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	return w.err
}

// add queues a message. What would make the queue too long is written instead, without a copy.
func (w *Writer) add(message []byte) {
	if len(w.buf)+len(message) >= maxQueue {
		w.flush()
	}
	if len(message) >= maxQueue {
		w.write(message)
		message = nil
	}
	w.buf = append(append(w.buf, message...), '\n')
}

func (w *Writer) flush() {
	if len(w.buf) == 0 {
		return
	}
	w.write(w.buf)
	if w.buf = w.buf[:0]; cap(w.buf) > keptBuffer {
		w.buf = nil
	}
}

func (w *Writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.dst.Write(b)
	}
}
