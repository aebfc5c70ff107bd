package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// callLimit bounds one call of the keychain, which answers in milliseconds unless it waits for a human.
const callLimit = 5 * time.Second

// session is one access to the keychain, under the access lock. Not safe for concurrent use.
type session struct {
	ctx  context.Context // of this access
	keys backend

	itemSize int // bytes of text in an item that is written; what is read may have another size

	// hung receives the answer of a call that did not come in time; nil while there is no such call. After it, no other
	// call is made: the keychain must not see two at once.
	hung <-chan reply
}

type reply struct {
	text string
	err  error
}

func (s *session) get(account string) (string, error) {
	return s.call("read keychain", func() (string, error) { return s.keys.Get(account) })
}

func (s *session) set(account, text string) error {
	_, err := s.call("write keychain", func() (string, error) { return "", s.keys.Set(account, text) })
	return err
}

// delete removes an item; one that is not there counts as removed.
func (s *session) delete(account string) error {
	_, err := s.call("delete from keychain", func() (string, error) { return "", s.keys.Delete(account) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// call runs f with a deadline. A call that misses it goes on in its goroutine, since no keychain can be interrupted.
func (s *session) call(step string, f func() (string, error)) (string, error) {
	if s.hung != nil {
		return "", unavailable(step, hintWaiting, errors.New("an earlier call has not returned"))
	}
	answer := make(chan reply, 1)
	go func() {
		text, err := f()
		answer <- reply{text, err}
	}()
	timer := time.NewTimer(callLimit)
	defer timer.Stop()
	select {
	case r := <-answer:
		return r.text, callError(step, r.err)
	case <-timer.C:
		s.hung = answer
		return "", unavailable(step, hintWaiting, fmt.Errorf("no answer within %v, outcome unknown", callLimit))
	case <-s.ctx.Done():
		s.hung = answer
		return "", unavailable(step, hintWaiting, s.ctx.Err())
	}
}

func callError(step string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoItem):
		return ErrNotFound
	}
	return keychainError(step, err)
}
