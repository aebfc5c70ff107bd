package tokenstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"drawbridge/internal/secret"
)

// kernel is the store in the user keyring of the Linux kernel (user-keyring(7)): memory that is never written to a disk,
// shared by all processes of a user, gone when the machine restarts. An item is one key of the type "user":
//
//	description  PREFIX:NAME
//	payload      "drawbridge 1", a newline, the text
//
// There are no chunks and no generations as in the keychain: add_key(2) replaces a payload whole or not at all, and
// charges the user's quota for the difference only, where two generations would need twice the room.
type kernel struct {
	prefix string // tells our keys from those of others
	locks  *locks
}

// maxKernelItem is the largest payload of a key of the type "user".
const maxKernelItem = 32767

const kernelHead = headWord + " 1\n"

func openKernel(Options) (*kernel, error) {
	l, err := userLocks("kernel")
	if err != nil {
		return nil, err
	}
	return &kernel{prefix: service, locks: l}, nil
}

func (k *kernel) Load(_ context.Context, name Name) (secret.Text, error) {
	if err := name.check(); err != nil {
		return secret.Text{}, err
	}
	var text string
	err := possessing(func() (err error) {
		text, err = k.read(name)
		return err
	})
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(text), nil
}

func (k *kernel) Save(_ context.Context, name Name, item secret.Text) error {
	if err := checkItem(name, item); err != nil {
		return err
	}
	payload := kernelHead + item.Reveal()
	if len(payload) > maxKernelItem {
		return full(fmt.Sprintf("%d bytes exceed the %d of a key", len(payload), maxKernelItem))
	}
	return possessing(func() error {
		// A newer version's item must not be replaced; a damaged one may be.
		if _, err := k.read(name); errors.Is(err, ErrNewer) {
			return err
		}
		_, err := unix.AddKey("user", k.description(name), []byte(payload), unix.KEY_SPEC_USER_KEYRING)
		return kernelError("write kernel keyring", err)
	})
}

func (k *kernel) Delete(_ context.Context, name Name) error {
	if err := name.check(); err != nil {
		return err
	}
	return possessing(func() error {
		if _, err := k.read(name); errors.Is(err, ErrNewer) {
			return err
		}
		id, err := k.find(name)
		if err == nil {
			_, err = unix.KeyctlInt(unix.KEYCTL_UNLINK, id, unix.KEY_SPEC_USER_KEYRING, 0, 0)
			err = kernelError("delete from kernel keyring", err)
		}
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
}

func (k *kernel) List(context.Context) ([]Name, error) {
	var names []Name
	err := possessing(func() error {
		ring, err := readKey(unix.KEY_SPEC_USER_KEYRING)
		if err != nil {
			return err
		}
		for ; len(ring) >= 4; ring = ring[4:] { // a keyring reads as the serial numbers of its keys
			// A key that cannot be described is not ours, or went meanwhile.
			about, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, int(binary.NativeEndian.Uint32(ring)))
			if name, ok := k.nameIn(about); err == nil && ok {
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}

func (k *kernel) Lock(ctx context.Context, name string) (func(), error) {
	return k.locks.named(ctx, name)
}

func (k *kernel) Location() string {
	return "kernel keyring of user " + strconv.Itoa(os.Geteuid()) + " (gone when the machine restarts)"
}

func (k *kernel) description(name Name) string { return k.prefix + ":" + string(name) }

// nameIn reads "TYPE;UID;GID;PERMISSIONS;DESCRIPTION".
func (k *kernel) nameIn(about string) (Name, bool) {
	f := strings.SplitN(about, ";", 5)
	if len(f) != 5 || f[0] != "user" {
		return "", false
	}
	name, ok := strings.CutPrefix(f[4], k.prefix+":")
	return Name(name), ok && Name(name).check() == nil
}

func (k *kernel) find(name Name) (int, error) {
	id, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", k.description(name), 0)
	return id, kernelError("read kernel keyring", err)
}

func (k *kernel) read(name Name) (string, error) {
	id, err := k.find(name)
	if err != nil {
		return "", err
	}
	payload, err := readKey(id)
	if err != nil {
		return "", err
	}
	return parseKernelItem(string(payload))
}

func parseKernelItem(payload string) (string, error) {
	line, text, ok := strings.Cut(payload, "\n")
	format, err := strconv.Atoi(strings.TrimPrefix(line, headWord+" "))
	switch {
	case !ok || err != nil || !strings.HasPrefix(line, headWord+" ") || format < 1:
		return "", damaged("it has no head")
	case format > 1:
		return "", newer(format)
	}
	return text, nil
}

// readKey reads a payload whose size may change between two calls.
func readKey(id int) ([]byte, error) {
	buf := make([]byte, 4096)
	for {
		size, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buf, 0)
		if err != nil {
			return nil, kernelError("read kernel keyring", err)
		}
		if size <= len(buf) {
			return buf[:size], nil
		}
		buf = make([]byte, size)
	}
}

// possessing runs do in a thread that possesses the user keyring. Only a possessor may read and replace our keys, and a
// process possesses what its session keyring leads to, which in a container or a service is often not the user keyring. So
// the thread links it into its own keyring; the thread ends with do, and with it the link.
func possessing(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		_, err := unix.KeyctlInt(unix.KEYCTL_LINK, unix.KEY_SPEC_USER_KEYRING, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
		if err = kernelError("open kernel keyring", err); err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// kernelError sorts the answers of keyctl(2) and add_key(2).
func kernelError(step string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOKEY), errors.Is(err, unix.EKEYEXPIRED), errors.Is(err, unix.EKEYREVOKED):
		return ErrNotFound
	case errors.Is(err, unix.EDQUOT):
		return full(step)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return unavailable(step, hintKernel, err)
	}
	return unavailable(step, hintChoices, err)
}

func full(what string) error {
	return &hinted{fmt.Errorf("%w: %s", ErrFull, what), hintFull}
}
