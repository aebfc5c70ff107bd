package stdio

import (
	"io"
	"sync"
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

// Write writes what is queued, then message, which must not contain line ends, and an end of line. After a failure
// every later call returns the same error: a line may have been cut, and nothing sensible can follow it.
func (w *Writer) Write(message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(message)
	w.flush()
	return w.err
}

// Queue is Write that may leave the message for a later Write or Flush, so that many take one system call. Who queues
// flushes before waiting for anything.
func (w *Writer) Queue(message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(message)
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
