// Package tokenstore keeps credentials in the operating system's keychain, or where the user chose instead.
//
// A [Store] holds named items of secret text and owns the lock that processes of one user share. It does not know how
// a credential is obtained. [Credential] and [Registration] are the records that are kept in it; their names derive
// from what the user typed (server URL and profile) or from the issuer, so that a start needs no discovery.
//
//	Store ─┬─ keychain   OS keychain, records in chunks, a deadline on every call
//	       ├─ file       encrypted file, for machines without a keychain; the user picks it
//	       └─ memory     this process only
package tokenstore

import (
	"context"
	"errors"

	"drawbridge/internal/secret"
)

// ErrNotFound means that the store works and holds no such item.
var ErrNotFound = errors.New("not in the token store")

// ErrUnavailable means that the store cannot be reached (no session bus, locked, timed out). A write that timed out is
// unknown, not failed: read again before deciding.
var ErrUnavailable = errors.New("the token store is not available")

// Store keeps named secrets. It is safe for concurrent use, and several processes may use the same one.
// Errors may carry a Hint() string that says what the user can do.
type Store interface {
	// Load returns the item, or ErrNotFound.
	Load(ctx context.Context, name Name) (secret.Text, error)
	// Save writes the item whole or not at all: a crash leaves the old text or the new one.
	Save(ctx context.Context, name Name, item secret.Text) error
	// Delete removes the item with every chunk of it. A missing item is not an error.
	Delete(ctx context.Context, name Name) error
	// List returns the names of all items, in no order.
	List(ctx context.Context) ([]Name, error)
	// Lock takes the lock called name, shared by all processes of this user on this store. It waits until ctx ends;
	// then it returns an error that wraps ctx's. The kernel releases the lock when the process dies.
	Lock(ctx context.Context, name string) (unlock func(), err error)
	// Location says where items live, in words for `status`: "GNOME keyring (Secret Service)", "memory of this process".
	Location() string
}
