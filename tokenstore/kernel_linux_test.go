package tokenstore

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// What needs no keyring; the store itself is tried on the real kernel in e2e_kernel_linux_test.go.

func TestKernelErrors(t *testing.T) {
	for errno, want := range map[unix.Errno]struct {
		err  error
		hint string
	}{
		unix.ENOKEY:      {ErrNotFound, ""},
		unix.EKEYREVOKED: {ErrNotFound, ""},
		unix.EKEYEXPIRED: {ErrNotFound, ""},
		unix.EDQUOT:      {ErrFull, hintFull},
		unix.EPERM:       {ErrUnavailable, hintKernel},
		unix.ENOSYS:      {ErrUnavailable, hintKernel},
		unix.ENOMEM:      {ErrUnavailable, hintChoices},
	} {
		if err := kernelError("step", errno); !errors.Is(err, want.err) || hintOf(err) != want.hint {
			t.Errorf("%v: %v with hint %q", errno, err, hintOf(err))
		}
	}
	if err := kernelError("step", nil); err != nil {
		t.Error(err)
	}
}

func TestKernelNames(t *testing.T) {
	k := &kernel{prefix: "drawbridge"}
	name := NewName("credential", "a")
	for about, want := range map[string]Name{
		"user;1000;1000;3f010000;drawbridge:" + string(name):       name,
		"logon;1000;1000;3f010000;drawbridge:" + string(name):      "",
		"user;1000;1000;3f010000;other:" + string(name):            "",
		"user;1000;1000;3f010000;drawbridge:credential":            "",
		"user;1000;1000;3f010000;drawbridge:" + string(name) + ";": "",
		"user;1000": "",
		"":          "",
	} {
		if got, ok := k.nameIn(about); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", about, got, ok)
		}
	}
}

func FuzzParseKernelItem(f *testing.F) {
	for _, seed := range []string{kernelHead + "x", kernelHead, "drawbridge 2\nx", "drawbridge 0\n", "drawbridge\n", "", "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		text, err := parseKernelItem(payload)
		switch {
		case err == nil && len(text) >= len(payload):
			t.Errorf("%q has the text %q", payload, text)
		case err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer):
			t.Errorf("untyped error %v", err)
		}
	})
}
