package tokenstore

import (
	"context"
	"errors"
	"log/slog"

	"drawbridge/internal/secret"
)

// keychain is the store in the operating system's keychain. Each access is a session under the access lock, so that
// the keychain serves one process at a time and a reader never meets a half-written record.
type keychain struct {
	keys     backend
	itemSize int // bytes of text in an item
	locks    *locks
	log      *slog.Logger
}

func openKeychain(o Options) (*keychain, error) {
	if err := reachable(o.SessionBus); err != nil {
		return nil, unavailable("open keychain", hintChoices, err)
	}
	l, err := userLocks("keychain")
	if err != nil {
		return nil, err
	}
	return &keychain{keys: system{}, itemSize: keychainItem, locks: l, log: o.Log}, nil
}

func (k *keychain) Load(ctx context.Context, name Name) (secret.Text, error) {
	if err := name.check(); err != nil {
		return secret.Text{}, err
	}
	var text string
	err := k.access(ctx, func(s *session) (err error) {
		text, err = recordOf(s, name).load()
		return err
	})
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(text), nil
}

func (k *keychain) Save(ctx context.Context, name Name, item secret.Text) error {
	if err := checkItem(name, item); err != nil {
		return err
	}
	return k.access(ctx, func(s *session) error {
		s.ctx = context.WithoutCancel(ctx) // half a rotated token is a lost sign-in; callLimit still ends each call
		r := recordOf(s, name)
		live, err := r.find()
		switch {
		case errors.Is(err, ErrNotFound):
			if err := k.addToIndex(s, name); err != nil {
				return err
			}
		case errors.Is(err, ErrDamaged):
			k.log.Warn("replacing a damaged record", "name", name)
		case err != nil:
			return err
		}
		return r.save(live, item.Reveal())
	})
}

func (k *keychain) Delete(ctx context.Context, name Name) error {
	if err := name.check(); err != nil {
		return err
	}
	return k.access(ctx, func(s *session) error {
		s.ctx = context.WithoutCancel(ctx) // what is left of a half-deleted record is still secret
		if err := recordOf(s, name).delete(); err != nil {
			return err
		}
		return k.removeFromIndex(s, name)
	})
}

func (k *keychain) List(ctx context.Context) ([]Name, error) {
	var names []Name
	err := k.access(ctx, func(s *session) (err error) {
		names, err = k.listIndex(s)
		return err
	})
	return names, err
}

func (k *keychain) Lock(ctx context.Context, name string) (func(), error) {
	return k.locks.named(ctx, name)
}

func (k *keychain) Location() string { return keychainLocation }

// access runs do under the access lock. When a call in it hangs, the lock is released only once that call returned:
// its late effect must not overtake what another process does next.
func (k *keychain) access(ctx context.Context, do func(*session) error) error {
	unlock, err := k.locks.access(ctx)
	if err != nil {
		return err
	}
	s := &session{ctx: ctx, keys: k.keys, itemSize: k.itemSize}
	err = do(s)
	if s.hung == nil {
		unlock()
		return err
	}
	go func() {
		<-s.hung
		unlock()
	}()
	return err
}
