package tokenstore

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"drawbridge/internal/secret"
)

// keyRetry is how long a key that could not be had is not asked for again: every request would start the command anew, and
// with it the dialog that somebody has just closed.
const keyRetry = 10 * time.Second

// lazyKey is the key of the file store, asked for when an item is first needed: the answer may wait for a human, and a
// store must open at once. It is asked for once, however many wait, and goes on when they leave.
type lazyKey struct {
	ask func() (secret.Text, error) // returns the key as parseKey reads it, in bounded time

	mu   sync.Mutex
	last *asked // guarded by mu; nil before the first time
}

// asked is one question and its answer.
type asked struct {
	done chan struct{} // closed when the answer is there
	key  sealKey
	err  error
	at   time.Time // of the answer
}

// knownKey is a key that was read already.
func knownKey(key sealKey) *lazyKey {
	done := make(chan struct{})
	close(done)
	return &lazyKey{last: &asked{done: done, key: key}}
}

// get returns the key, or an error that wraps ErrUnavailable.
func (l *lazyKey) get(ctx context.Context) (sealKey, error) {
	a := l.question()
	select {
	case <-a.done:
		return a.key, a.err
	case <-ctx.Done():
		return sealKey{}, unavailable("get the key of the file store", hintKeyCommand, ctx.Err())
	}
}

// question returns the one under way, answered, or new.
func (l *lazyKey) question() *asked {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil || l.last.mayRepeat() {
		l.last = &asked{done: make(chan struct{})}
		go l.last.answer(l.ask)
	}
	return l.last
}

// mayRepeat reports whether the question was answered by an error long enough ago.
func (a *asked) mayRepeat() bool {
	select {
	case <-a.done:
		return a.err != nil && time.Since(a.at) >= keyRetry
	default:
		return false
	}
}

func (a *asked) answer(ask func() (secret.Text, error)) {
	defer close(a.done)
	text, err := ask()
	if err == nil {
		a.key, err = parseKey(text)
	}
	if err != nil {
		a.err = unavailable("get the key of the file store", hintAbout(err, hintKeyCommand), err)
	}
	a.at = time.Now()
}

// hintAbout returns the hint that err has, or otherwise.
func hintAbout(err error, otherwise string) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return otherwise
}

// parseKey reads 32 bytes, as they are or as base64 or hexadecimal digits on a line. Its errors do not show the text.
func parseKey(text secret.Text) (sealKey, error) {
	raw := text.Reveal()
	if len(raw) == keySize {
		return newSealKey([]byte(raw))
	}
	line := strings.TrimSpace(raw)
	if key, err := hex.DecodeString(line); err == nil && len(key) == keySize {
		return newSealKey(key)
	}
	digits := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(line, "="))
	if key, err := base64.RawStdEncoding.Strict().DecodeString(digits); err == nil && len(key) == keySize {
		return newSealKey(key)
	}
	if raw == "" {
		return sealKey{}, errors.New("it is empty")
	}
	return sealKey{}, fmt.Errorf("want %d bytes, or the same as base64 or hexadecimal digits", keySize)
}
