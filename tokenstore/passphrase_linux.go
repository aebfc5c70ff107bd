package tokenstore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// takesPassphrase says that keys can be kept for bridges.
const takesPassphrase = true

// kernelKeys keeps unlocked keys in the user keyring of the kernel.
type kernelKeys struct{ prefix string }

func keepKeys() keptKeys { return kernelKeys{service + "-unlocked"} }

func (k kernelKeys) get(id string) (key []byte, ok bool) {
	err := possessing(func() error {
		serial, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", k.prefix+":"+id, 0)
		if err != nil {
			return err
		}
		key, err = readKey(serial)
		return err
	})
	return key, err == nil && len(key) == keySize
}

func (k kernelKeys) put(id string, key []byte) error {
	const step = "keep the key for bridges in the kernel keyring"
	return possessing(func() error {
		serial, err := k.mortal(id, key)
		if err != nil {
			return keepError(step, err)
		}
		// Replaces an earlier key of this description.
		_, err = unix.KeyctlInt(unix.KEYCTL_LINK, serial, unix.KEY_SPEC_USER_KEYRING, 0, 0)
		return keepError(step, err)
	})
}

// mortal makes a key that ends after [UnlockedFor], in the keyring of this thread: should the process be killed before the
// end is set, the key goes with the thread.
func (k kernelKeys) mortal(id string, key []byte) (serial int, err error) {
	serial, err = unix.AddKey("user", k.prefix+":"+id, key, unix.KEY_SPEC_THREAD_KEYRING)
	if err != nil {
		return 0, err
	}
	_, err = unix.KeyctlInt(unix.KEYCTL_SET_TIMEOUT, serial, int(UnlockedFor.Seconds()), 0, 0)
	return serial, err
}

// keepError: without a keyring a passphrase is of no use to bridges.
func keepError(step string, err error) error {
	if err = kernelError(step, err); err != nil && !errors.Is(err, ErrFull) {
		return &hinted{fmt.Errorf("%w", err), "use --token-store-key-file PATH or --token-store-key-command in the place of a passphrase"}
	}
	return err
}
