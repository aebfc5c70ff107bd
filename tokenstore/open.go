package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"unicode/utf8"

	"drawbridge/internal/secret"
)

// Options say which store to open. The zero value asks for the keychain.
type Options struct {
	// Kind is "keychain", "kernel", "file" or "memory". If "", it is the keychain.
	Kind string

	// Dir is the directory of the file store. It is created with mode 0700. Other stores ignore it.
	Dir string

	// KeyFile is the key of the file store, made by CreateKeyFile, outside Dir. Other stores ignore it.
	KeyFile string

	// Key asks for the key of the file store in the place of KeyFile: 32 bytes, or the same as base64 or hexadecimal
	// digits. It is called when an item is first needed, not more often than it fails, and must end by itself. Other
	// stores ignore it.
	Key func() (secret.Text, error)

	// Passphrase asks a person for the passphrase that the key of the file store derives from, where neither KeyFile nor Key
	// is set; first says that they choose it. The key is then kept in the kernel keyring for UnlockedFor, for processes that
	// have nobody to ask, where Passphrase is nil. Only Linux has that; other stores ignore it.
	Passphrase func(first bool) (secret.Text, error)

	// SessionBus is the value that DBUS_SESSION_BUS_ADDRESS has in this process. It tells whether there is a bus; the
	// D-Bus library reads the variable itself, so another value does not lead to another bus. Only Linux uses it.
	SessionBus string

	// Log receives diagnostics. If nil, they are discarded.
	Log *slog.Logger
}

// Open returns the store that o asks for, or an error, never another store. It is cheap: it looks at files and makes no
// call to the keychain. Where no keychain can be reached, the error wraps ErrUnavailable and its hint names the choices.
func Open(o Options) (Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch o.Kind {
	case "", "keychain":
		return store(openKeychain(o))
	case "kernel":
		return store(openKernel(o))
	case "file":
		return store(openFiles(o))
	case "memory":
		return NewMemory(), nil
	}
	return nil, &hinted{fmt.Errorf("token store %q is unknown", cut(o.Kind)), "the token stores are keychain, kernel, file and memory"}
}

// store keeps a nil pointer out of the interface.
func store[S Store](s S, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Probe makes one real read, which on a locked keychain may ask the human to unlock it. It returns nil if the store
// answers, and otherwise what Load returns, ErrUnavailable among it.
func Probe(ctx context.Context, s Store) error {
	_, err := s.Load(ctx, NewName("probe"))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// checkItem refuses what some store could not keep, so that all stores accept the same.
func checkItem(name Name, item secret.Text) error {
	if err := name.check(); err != nil {
		return err
	}
	switch text := item.Reveal(); {
	case len(text) > maxRecord:
		return fmt.Errorf("item %s: %d bytes exceed the limit of %d", name, len(text), maxRecord)
	case !utf8.ValidString(text):
		return fmt.Errorf("item %s: it is not UTF-8", name)
	}
	return nil
}
