package tokenstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// lockPoll is the pause between two attempts at a lock that another process holds. The kernel's waiting call cannot be
// cancelled, so we ask again; the pause is short because a refresh waits behind it.
const lockPoll = 10 * time.Millisecond

// accessLimit bounds the wait for others to finish their access to a store, which takes milliseconds unless a keychain
// waits for a human.
const accessLimit = 10 * time.Second

// locks hands out locks shared by the processes of one user: one file a lock, in a directory only that user can write.
// The kernel releases them when a process dies.
type locks struct {
	parent string // of dir; "" where somebody else has made dir and looks after it
	dir    string
	queues queues
}

// userLocks are the locks for a store that all processes of this user share.
func userLocks(store string) (*locks, error) {
	root, err := lockRoot()
	if err != nil {
		return nil, err
	}
	l := &locks{parent: root, dir: filepath.Join(root, store)}
	return l, l.prepare()
}

// prepare makes the directory of the locks, or makes sure that nobody else's is in its place. It does so for every lock:
// what was removed since the last one, another user may have put there again.
func (l *locks) prepare() error {
	if l.parent == "" {
		return nil
	}
	if err := makePrivate(l.parent); err != nil {
		return fmt.Errorf("locks: %w", err)
	}
	if err := makePrivate(l.dir); err != nil {
		return fmt.Errorf("locks: %w", err)
	}
	return nil
}

// named takes the lock that a caller outside this package called name.
func (l *locks) named(ctx context.Context, name string) (func(), error) {
	sum := sha256.Sum256([]byte(name))
	unlock, err := l.take(ctx, "item-"+hex.EncodeToString(sum[:16])+".lock")
	if err != nil {
		return nil, fmt.Errorf("lock %q: %w", cut(name), err)
	}
	return unlock, nil
}

// access takes the store's own lock, which callers outside this package cannot name. It is held for one access.
func (l *locks) access(ctx context.Context) (func(), error) {
	wait, cancel := context.WithTimeout(ctx, accessLimit)
	defer cancel()
	unlock, err := l.take(wait, "access.lock")
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		err = unavailable("wait for the token store", hintWaiting, fmt.Errorf("in use by another process for %v", accessLimit))
	} else if err != nil {
		err = fmt.Errorf("wait for the token store: %w", err)
	}
	return unlock, err
}

// take queues inside the process first, so that goroutines are served in order and only one of them polls.
func (l *locks) take(ctx context.Context, file string) (func(), error) {
	leave, err := l.queues.enter(ctx, file)
	if err != nil {
		return nil, err
	}
	f := flock.New(filepath.Join(l.dir, file))
	if err := l.poll(ctx, f); err != nil {
		leave()
		return nil, err
	}
	return func() {
		_ = f.Unlock() // cannot fail on a lock that is held; the file stays, as removing it would race with the next taker
		leave()
	}, nil
}

func (l *locks) poll(ctx context.Context, f *flock.Flock) error {
	for {
		if err := l.prepare(); err != nil {
			return err
		}
		locked, err := f.TryLock()
		if err != nil && !(l.parent != "" && errors.Is(err, fs.ErrNotExist)) { // cleaners of /tmp remove directories too
			return fmt.Errorf("lock file: %w", err)
		}
		if locked && isCurrent(f) {
			touch(f)
			return nil
		}
		if locked {
			_ = f.Unlock() // a lock on a file that is gone protects nothing
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// touch makes a file that is locked look new, since cleaners of /tmp go by age and do not ask whether it is in use.
func touch(f *flock.Flock) {
	now := time.Now()
	_ = os.Chtimes(f.Path(), now, now) // best effort: the cleaner of a daily run has to hit a lock of seconds
}

// isCurrent reports whether the locked file is still the one at its path: cleaners of /tmp remove old files.
func isCurrent(f *flock.Flock) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(f.Path())
	return err == nil && os.SameFile(held, there)
}

// pause waits for lockPoll give or take a half, so that processes do not poll in step.
func pause(ctx context.Context) error {
	timer := time.NewTimer(lockPoll/2 + rand.N(lockPoll))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// queues are locks between the goroutines of one process, by name.
type queues struct {
	mu     sync.Mutex
	byName map[string]chan struct{} // guarded by mu; full while the lock is held
}

// enter waits for the lock called name until ctx ends. The function it returns leaves, once.
func (q *queues) enter(ctx context.Context, name string) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	held := q.get(name)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case held <- struct{}{}:
		return sync.OnceFunc(func() { <-held }), nil
	}
}

func (q *queues) get(name string) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.byName == nil {
		q.byName = map[string]chan struct{}{}
	}
	held, ok := q.byName[name]
	if !ok {
		held = make(chan struct{}, 1)
		q.byName[name] = held
	}
	return held
}
