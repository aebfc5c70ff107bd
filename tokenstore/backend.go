package tokenstore

import (
	"fmt"
	"strings"

	"github.com/zalando/go-keyring"
)

// service is the keychain's name for our items. It is short because macOS counts it against the size of an item.
const service = "drawbridge"

// backend is the operating system's keychain: a flat set of small items. Its calls may block for ever, and may not be
// made at the same time by two processes (KWallet answers such writers with errors).
type backend interface {
	Get(account string) (string, error) // errNoItem when there is none
	Set(account, text string) error     // the account holds nothing yet
	Delete(account string) error        // errNoItem when there is none
}

// errNoItem is a backend's answer for an account that holds nothing.
var errNoItem = keyring.ErrNotFound

// system is the keychain of this machine. go-keyring needs no cgo on any of the three systems.
type system struct{}

func (system) Get(account string) (string, error) { return keyring.Get(service, account) }
func (system) Set(account, text string) error     { return keyring.Set(service, account, text) }
func (system) Delete(account string) error        { return keyring.Delete(service, account) }

// keychainError says what the user can do about a refusal. Whatever the cause, the keychain did not do its work.
func keychainError(step string, cause error) error {
	text := cut(cause.Error())
	hint := hintChoices
	// Only "not found" is typed in go-keyring; a locked collection is known by this text alone.
	if strings.Contains(text, "unlock") {
		hint = hintLocked
	}
	return unavailable(step, hint, fmt.Errorf("%q", text))
}
