package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
)

// ErrBusy means that too many lines wait to be written and [Config.MaxWaiting] says to refuse.
var ErrBusy = errors.New("the audit cannot keep up: too many lines wait to be written")

// errClosed means that the log was closed.
var errClosed = errors.New("the audit is closed")

// Config says where and how lines are written.
type Config struct {
	// Path is the file. It belongs to one process at a time; a lock beside it sees to that.
	Path string

	// MaxSize is the size in bytes from which a file is put aside, under its name with the number of its last line. If
	// zero, never.
	MaxSize int64

	// Sync writes through to the disk before [Log.Append] returns, so that a power failure loses nothing. Lines that are
	// written at the same time share one write-through.
	Sync bool

	// MaxWaiting is how many callers may wait for their turn; more get ErrBusy at once. If zero, all wait, until their
	// context ends.
	MaxWaiting int

	// Now is the clock. If nil, it is time.Now.
	Now func() time.Time
}

// Log writes one chain. It is safe for concurrent use.
type Log struct {
	cfg     Config
	turn    chan struct{} // 1-buffered: whoever takes the value may use what follows
	out     io.Writer
	file    *os.File // out, if it is a file; nil once closed
	size    int64
	at      position // of the last line; its Prev is that line's hash
	torn    bool     // out is no file, and a line was written in part
	lock    *flock.Flock
	waiting atomic.Int64

	syncTurn chan struct{} // 1-buffered; taken after turn, never before
	synced   uint64        // the last line known to be on the disk; guarded by syncTurn
	written  atomic.Uint64
}

// Open opens the file of a log, or makes it, goes on with its chain, and writes a line of [EventStart]. A line that a crash
// cut off is removed, and that line says so; a last line that was altered is an error.
func Open(cfg Config) (*Log, error) {
	lock := flock.New(cfg.Path + ".lock")
	switch free, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock audit file: %w", err)
	case !free:
		return nil, fmt.Errorf("audit file %q is in use by another process: every instance needs a file of its own", cfg.Path)
	}
	l := newLog(cfg)
	l.lock = lock
	dropped, err := l.resume()
	if err == nil {
		err = l.start(dropped)
	}
	if err != nil {
		_ = l.Close() // nothing was written that could be lost
		return nil, fmt.Errorf("audit file %q: %w", cfg.Path, err)
	}
	return l, nil
}

// New makes a log that writes to w, such as the standard output of a container, which begins a chain of its own. The Path,
// MaxSize and Sync of cfg do not count.
func New(w io.Writer, cfg Config) (*Log, error) {
	cfg.Path, cfg.MaxSize, cfg.Sync = "", 0, false
	l := newLog(cfg)
	l.out, l.at = w, newChain()
	return l, l.start(0)
}

func newLog(cfg Config) *Log {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Log{cfg: cfg, turn: make(chan struct{}, 1), syncTurn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	l.syncTurn <- struct{}{}
	return l
}

func newChain() position {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return position{Instance: hex.EncodeToString(id[:]), Prev: genesis}
}

func (l *Log) start(dropped int64) error {
	e := Entry{Time: l.cfg.Now().UTC(), Event: EventStart}
	if dropped > 0 {
		e.Reason = fmt.Sprintf("the last line was cut off, %d bytes of it were removed", dropped)
	}
	return l.Append(context.Background(), e)
}

// Append writes a line. When it returns nil, the line is written (with Config.Sync: on the disk); when it returns an error,
// it is not, and what it is about must not happen. It waits for its turn until ctx ends.
func (l *Log) Append(ctx context.Context, e Entry) error {
	seq, err := l.append(ctx, e)
	if err != nil || !l.cfg.Sync {
		return err
	}
	return l.sync(seq)
}

func (l *Log) append(ctx context.Context, e Entry) (seq uint64, err error) {
	if n := l.waiting.Add(1); l.cfg.MaxWaiting > 0 && n > int64(l.cfg.MaxWaiting) {
		l.waiting.Add(-1)
		return 0, ErrBusy
	}
	defer l.waiting.Add(-1)
	select {
	case <-l.turn:
	case <-ctx.Done():
		return 0, fmt.Errorf("wait to write the audit: %w", ctx.Err())
	}
	defer func() { l.turn <- struct{}{} }()
	return l.write(e)
}

// write makes the next line of the chain. The caller has the turn.
func (l *Log) write(e Entry) (seq uint64, err error) {
	if l.out == nil {
		return 0, errClosed
	}
	next := position{l.at.Instance, l.at.Seq + 1, l.at.Prev}
	line, hash, err := encode(next, e)
	if err != nil {
		return 0, fmt.Errorf("encode audit line: %w", err)
	}
	if err := l.rotate(int64(len(line))); err != nil {
		return 0, err
	}
	if err := l.put(line); err != nil {
		return 0, fmt.Errorf("write audit line: %w", err)
	}
	l.at = position{next.Instance, next.Seq, hash}
	l.written.Store(next.Seq)
	return next.Seq, nil
}

// put writes a whole line or none.
func (l *Log) put(line []byte) error {
	if l.torn {
		line = append([]byte("\n"), line...)
	}
	n, err := l.out.Write(line)
	if err == nil {
		l.size, l.torn = l.size+int64(n), false
		return nil
	}
	if l.file == nil {
		l.torn = l.torn || n > 0
		return err
	}
	if cutErr := l.file.Truncate(l.size); cutErr != nil {
		l.out = nil // fail closed: whatever came next would stand behind half a line
		return errors.Join(err, cutErr)
	}
	return err
}

// sync waits until a line is on the disk. Whoever has the turn does it for all that wait.
func (l *Log) sync(seq uint64) error {
	<-l.syncTurn
	defer func() { l.syncTurn <- struct{}{} }()
	if l.synced >= seq {
		return nil
	}
	upTo := l.written.Load()
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("write the audit through to the disk: %w", err)
	}
	l.synced = upTo
	return nil
}

// Head returns the instance, and the number and hash of its last line.
func (l *Log) Head() (instance string, seq uint64, hash string) {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	return l.at.Instance, l.at.Seq, l.at.Prev
}

// Close closes the file after writing it through. Append fails from then on.
func (l *Log) Close() error {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	<-l.syncTurn
	defer func() { l.syncTurn <- struct{}{} }()
	l.out = nil
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Sync(), l.file.Close())
		l.file, l.synced = nil, l.written.Load()
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Unlock())
	}
	return errors.Join(errs...)
}
