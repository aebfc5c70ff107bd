// Package tokenstore keeps credentials in the operating system's keychain, or where the user chose instead.
//
// A [Store] holds named items of secret text and owns the lock that processes of one user share. It does not know how
// a credential is obtained. [Credential] and [Registration] are the records that are kept in it; their names derive
// from what the user typed (server URL and profile) or from the issuer, so that a start needs no discovery.
//
//	Store ─┬─ keychain   OS keychain, records in chunks, a deadline on every call
//	       ├─ kernel     Linux kernel keyring: memory until the machine restarts; the user picks it
//	       ├─ file       encrypted files, for machines without a keychain; the user picks it
//	       └─ memory     this process only
//
// [Open] picks the store the user asked for and never another one: without a keychain it says so and names the choices.
// It makes no round trip; [Probe] does. [SaveCredential] and [LoadCredential] (and the same for registrations) are the
// typed way in; what they write carries a version, and a record of a newer version is reported, not replaced.
//
// # What survives what
//
// Save is atomic in every store: a process that dies at any instruction leaves the old text or the new one. Save and
// Delete ignore cancellation once they have begun, since a rotated refresh token that is half saved is a lost sign-in.
// Every store has a lock for its own accesses, held for one Load or Save, apart from the named locks that [Store.Lock]
// hands out. A keychain call that does not return in time (a dialog waits for the human) keeps the access lock until it
// does return, so that its late effect cannot overtake a later Save; meanwhile others get [ErrUnavailable].
//
// The locks of a store that a user has once, keychain and kernel keyring, live in one place for each user, which neither
// variables nor a login or logout change: clients start servers with a stripped environment, and two locks for one keychain
// would mean two redemptions of one refresh token. The file store's lie in its directory.
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

// ErrDamaged means that the item is there and cannot be used: a part is missing, its checksum is wrong, or it belongs to
// another name. Nothing can bring it back, so a sign-in replaces it.
var ErrDamaged = errors.New("the stored record is damaged")

// ErrNewer means that a newer version of the program wrote the item. It is intact and must not be replaced.
var ErrNewer = errors.New("the stored record was written by a newer version")

// ErrFull means that the store works and has no room for the item; what was there before is still there.
var ErrFull = errors.New("the token store has no room for the record")

// Store keeps named secrets. It is safe for concurrent use, and several processes may use the same one.
// Errors may carry a Hint() string that says what the user can do.
type Store interface {
	// Load returns the item, or ErrNotFound, ErrDamaged or ErrNewer.
	Load(ctx context.Context, name Name) (secret.Text, error)
	// Save writes the item, which is UTF-8 of at most 1 MiB, whole or not at all: a crash leaves the old text or the
	// new one. Once it has begun it ignores ctx. Only the kernel keyring has less room and returns ErrFull.
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
