package tokenstore

import (
	"fmt"
)

// hinted is an error that says what the user can do.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

// Hint says what the user can do about the error.
func (e *hinted) Hint() string { return e.hint }

const (
	hintFile    = "--token-store file --token-store-key-file PATH (encrypted files)"
	hintChoices = "choose where tokens live: --token-store memory (this process only), " +
		"--token-store kernel (Linux: until the machine restarts), or " + hintFile
	hintLocked  = "unlock the keychain (log in to the desktop, or unlock it in its own program); or " + hintChoices
	hintWaiting = "the keychain may be waiting for you in a window of its own: answer it and try again; or " + hintChoices
	hintKernel  = "containers often block the kernel keyring: use --token-store memory (this process only), or " + hintFile
	hintFull    = "the kernel gives the keys of a user about 20,000 bytes in all (/proc/sys/kernel/keys/maxbytes), and one key 32,767: " +
		"log out where you no longer need it, or use --token-store keychain or file"
	hintNoKey      = "add --token-store-key-file PATH or --token-store-key-command; on Linux drawbridge login, at a terminal, asks for a passphrase instead"
	hintKeyCommand = "run the command of --token-store-key-command yourself and see what it says; it has 30 seconds"
	hintUpgrade    = "upgrade this installation of drawbridge, or log out with the newer one"
	hintSignIn     = "sign in again: a sign-in replaces the record"
)

// unavailable reports that step failed for a reason outside the program.
func unavailable(step, hint string, cause error) error {
	return &hinted{fmt.Errorf("%s: %w: %w", step, ErrUnavailable, cause), hint}
}

func damaged(what string) error {
	return &hinted{fmt.Errorf("%w: %s", ErrDamaged, what), hintSignIn}
}

func newer(version int) error {
	return &hinted{fmt.Errorf("%w: format %d", ErrNewer, version), hintUpgrade}
}

// cut bounds text that others wrote, before it goes into an error.
func cut(s string) string {
	const limit = 200
	return s[:min(len(s), limit)]
}
