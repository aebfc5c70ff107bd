package tokenstore

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zalando/go-keyring"

	"drawbridge/internal/secret"
)

// fakeKeychain has the limits of the real ones: sizes, no overwriting (KeePassXC asks the human), no two calls at once
// (KWallet answers with errors).
type fakeKeychain struct {
	fits func(account, text string) bool

	mu    sync.Mutex
	items map[string]string // guarded by mu
	busy  bool              // guarded by mu
	calls int               // guarded by mu; counts from 1

	// fault, if not nil, is asked before the numbered call. apply says whether the call takes effect.
	fault func(call int) (apply bool, err error)

	// block, if not nil, is received from before the call takes effect.
	block chan struct{}
}

func newFake() *fakeKeychain {
	return &fakeKeychain{fits: fitsEverywhere, items: map[string]string{}}
}

func fitsEverywhere(account, text string) bool {
	return fitsWindows(account, text) && fitsMac(account, text)
}

// CRED_MAX_CREDENTIAL_BLOB_SIZE is 5*512 bytes.
func fitsWindows(_, text string) bool { return len(text) <= 2560 }

// The whole command line must stay under 4,096 bytes; at exactly that size a failed write is reported as success.
func fitsMac(account, text string) bool {
	return 36+18+len(service)+len(account)+4*((len(text)+2)/3) <= 4095
}

func (f *fakeKeychain) do(account string, effect func() error) error {
	f.mu.Lock()
	f.calls++
	call, overlap := f.calls, f.busy
	f.busy = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.busy = false
		f.mu.Unlock()
	}()
	if overlap {
		return errors.New("two calls at once")
	}
	if f.block != nil {
		<-f.block
	}
	apply, err := true, error(nil)
	if f.fault != nil {
		apply, err = f.fault(call)
	}
	if apply {
		f.mu.Lock()
		effectErr := effect()
		f.mu.Unlock()
		if err == nil {
			err = effectErr
		}
	}
	return err
}

func (f *fakeKeychain) Get(account string) (text string, err error) {
	err = f.do(account, func() error {
		var ok bool
		if text, ok = f.items[account]; !ok {
			return keyring.ErrNotFound
		}
		return nil
	})
	return text, err
}

func (f *fakeKeychain) Set(account, text string) error {
	return f.do(account, func() error {
		if _, exists := f.items[account]; exists {
			return fmt.Errorf("overwriting %s asks for consent", account)
		}
		if !f.fits(account, text) {
			return keyring.ErrSetDataTooBig
		}
		f.items[account] = text
		return nil
	})
}

func (f *fakeKeychain) Delete(account string) error {
	return f.do(account, func() error {
		if _, ok := f.items[account]; !ok {
			return keyring.ErrNotFound
		}
		delete(f.items, account)
		return nil
	})
}

func (f *fakeKeychain) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// open returns a store on the fake, as a new process would.
func (f *fakeKeychain) open(t *testing.T, dir string) *keychain {
	t.Helper()
	return &keychain{keys: f, itemSize: smallItem, locks: &locks{dir: dir}, log: slog.New(slog.DiscardHandler)}
}

func mustSave(t *testing.T, s Store, name Name, text string) {
	t.Helper()
	if err := s.Save(t.Context(), name, secret.New(text)); err != nil {
		t.Fatalf("save %d bytes: %v", len(text), err)
	}
}

// wantItem compares lengths and equality, so that a failure does not print kilobytes.
func wantItem(t *testing.T, s Store, name Name, want string) {
	t.Helper()
	got, err := s.Load(t.Context(), name)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	if got.Reveal() != want {
		t.Fatalf("load returned %d bytes that differ from the %d saved", len(got.Reveal()), len(want))
	}
}

func wantNames(t *testing.T, s Store, want ...Name) {
	t.Helper()
	got, err := s.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	set := func(names []Name) map[Name]bool {
		m := map[Name]bool{}
		for _, n := range names {
			m[n] = true
		}
		return m
	}
	if diff := cmp.Diff(set(want), set(got)); diff != "" || len(got) != len(want) {
		t.Fatalf("list (-want +got):\n%s", diff)
	}
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
