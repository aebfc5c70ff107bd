package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/internal/secret"
)

// stores returns one of each kind, empty.
func stores(t *testing.T) map[string]Store {
	windows, mac := newFake(), newFake()
	windows.fits, mac.fits = fitsWindows, fitsMac
	files, _ := newFiles(t)
	return map[string]Store{
		"memory":             NewMemory(),
		"file":               files,
		"keychain (Windows)": windows.open(t, t.TempDir()),
		"keychain (macOS)":   mac.open(t, t.TempDir()),
	}
}

func TestStoreKeepsWhatItIsGiven(t *testing.T) {
	texts := []string{
		"", "x", strings.Repeat("a", smallItem), strings.Repeat("b", smallItem+1), strings.Repeat("c", 3*smallItem),
		strings.Repeat("\u20ac\u00fc", smallItem), " lines\nand spaces \x00\n", strings.Repeat("d", 20_000),
		strings.Repeat("e", 200_000), "short again",
	}
	for kind, s := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			name, other := NewName("credential", "a"), NewName("a-kind-of-twenty-four-ab", "b")
			mustSave(t, s, other, "other")
			for _, text := range texts {
				mustSave(t, s, name, text)
				wantItem(t, s, name, text)
			}
			wantItem(t, s, other, "other")
			wantNames(t, s, name, other)
		})
	}
}

func TestStoreDeletes(t *testing.T) {
	for kind, s := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			name, other := NewName("credential", "a"), NewName("credential", "b")
			mustSave(t, s, name, strings.Repeat("a", 20_000))
			mustSave(t, s, other, "other")
			for range 2 { // the second time there is nothing left
				if err := s.Delete(t.Context(), name); err != nil {
					t.Fatalf("delete: %v", err)
				}
				if _, err := s.Load(t.Context(), name); !errors.Is(err, ErrNotFound) {
					t.Fatalf("load after delete: %v, want ErrNotFound", err)
				}
				wantNames(t, s, other)
			}
			mustSave(t, s, name, "back")
			wantItem(t, s, name, "back")
			wantNames(t, s, name, other)
		})
	}
}

func TestStoreRefusesItems(t *testing.T) {
	good := NewName("credential", "a")
	refused := []struct {
		name Name
		text string
	}{
		{"", "x"}, {"credential", "x"}, {"credential:../../etc/passwd", "x"}, {good + "\n", "x"}, {"A" + good, "x"},
		{good, strings.Repeat("x", maxRecord+1)}, {good, "\xff"},
	}
	for kind, s := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			for _, r := range refused {
				err := s.Save(t.Context(), r.name, secret.New(r.text))
				if err == nil || errors.Is(err, ErrUnavailable) {
					t.Errorf("save %q, %d bytes: error %v, want a refusal", r.name, len(r.text), err)
				}
			}
			wantNames(t, s)
		})
	}
}

func TestStoreIsSafeForConcurrentUse(t *testing.T) {
	for kind, s := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			var wg sync.WaitGroup
			var want []Name
			for i := range 8 {
				name := NewName("credential", fmt.Sprint(i))
				want = append(want, name)
				wg.Go(func() {
					for j := range 5 {
						mustSaveIn(t, s, name, strings.Repeat("x", 5000*j))
					}
				})
			}
			wg.Wait()
			wantNames(t, s, want...)
			for _, name := range want {
				wantItem(t, s, name, strings.Repeat("x", 20_000))
			}
		})
	}
}

// mustSaveIn is mustSave for goroutines, which may not call FailNow.
func mustSaveIn(t *testing.T, s Store, name Name, text string) {
	if err := s.Save(t.Context(), name, secret.New(text)); err != nil {
		t.Errorf("save: %v", err)
	}
}

// TestSaveOutlivesItsCaller cancels the caller while the store is being written.
func TestSaveOutlivesItsCaller(t *testing.T) {
	f := newFake()
	s := f.open(t, t.TempDir())
	name := NewName("credential", "a")
	mustSave(t, s, name, "old")
	ctx, cancel := context.WithCancel(t.Context())
	f.fault = func(int) (bool, error) { cancel(); return true, nil }
	if err := s.Save(ctx, name, secret.New("new")); err != nil {
		t.Fatalf("save: %v", err)
	}
	wantItem(t, s, name, "new")
}

func TestLockExcludesAndWaits(t *testing.T) {
	for kind, s := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				unlock, err := s.Lock(t.Context(), "refresh")
				if err != nil {
					t.Fatal(err)
				}
				if other, err := s.Lock(t.Context(), "sign-in"); err != nil {
					t.Fatalf("a lock of another name: %v", err)
				} else {
					other()
				}
				mustSave(t, s, NewName("credential", "a"), "x") // named locks do not stop the store

				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := s.Lock(ctx, "refresh"); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("lock while held: %v, want DeadlineExceeded", err)
				}
				time.AfterFunc(time.Second, unlock)
				start := time.Now()
				again, err := s.Lock(t.Context(), "refresh")
				if waited := time.Since(start); err != nil || waited < time.Second || waited > time.Second+2*lockPoll {
					t.Fatalf("lock after %v, error %v; want one second", waited, err)
				}
				unlock() // a second call must not release somebody else's lock
				ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := s.Lock(ctx, "refresh"); err == nil {
					t.Fatal("a lock was released by its former holder")
				}
				again()
			})
		})
	}
}

func TestSharedLockBetweenStores(t *testing.T) {
	dir := t.TempDir()
	a, b := newFake().open(t, dir), newFake().open(t, dir)
	unlock, err := a.Lock(t.Context(), "refresh")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*lockPoll)
	defer cancel()
	if _, err := b.Lock(ctx, "refresh"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("second store took the lock: %v", err)
	}
	unlock()
	unlock, err = b.Lock(t.Context(), "refresh")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
