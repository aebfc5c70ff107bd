//go:build e2e

package tokenstore

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/danieljoos/wincred"

	"drawbridge/internal/secret"
)

// These tests run against the real Credential Manager: that of wine in .ci/run, or that of Windows. They leave the records
// of whoever runs them alone.

func init() { roles["victim"] = replaceAndDie }

var record1 = NewName("credential", "test of the Credential Manager")

func openCredentials(t *testing.T) Store {
	t.Helper()
	s, err := Open(Options{})
	if err == nil {
		err = errors.Join(Probe(t.Context(), s), s.Delete(t.Context(), record1))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Delete(context.Background(), record1); err != nil {
			t.Error(err)
		}
		wantCredentials(t, 0)
	})
	return s
}

// wantCredentials asks the Credential Manager itself how many items the record has.
func wantCredentials(t *testing.T, want int) {
	t.Helper()
	found, err := wincred.FilteredList(service + ":" + string(record1) + "*")
	if err != nil && !errors.Is(err, wincred.ErrElementNotFound) || len(found) != want {
		t.Errorf("the Credential Manager has %d items of the record, error %v; want %d", len(found), err, want)
	}
}

// TestCredentialManagerLimit: the limit is the one that the stand-in of the other tests has.
func TestCredentialManagerLimit(t *testing.T) {
	account := string(record1) + ".limit"
	for _, size := range []int{2560, 2561} {
		text := strings.Repeat("x", size)
		err := system{}.Set(account, text)
		if fits := fitsWindows(account, text); fits != (err == nil) {
			t.Errorf("%d bytes: %v, and the stand-in says %v", size, err, fits)
		}
	}
	if err := (system{}).Delete(account); err != nil {
		t.Error(err)
	}
}

// TestCredentialManagerKeeps has the record of a token with many groups, 20 kB, and larger and smaller ones in turn.
func TestCredentialManagerKeeps(t *testing.T) {
	s := openCredentials(t)
	for _, size := range []int{100, 20_000, 200_000, 20_000, 100} {
		text := strings.Repeat("\u00fc", size/2)
		mustSave(t, s, record1, text)
		wantItem(t, s, record1, text)
	}
	wantCredentials(t, 1)
	if names, err := s.List(t.Context()); err != nil || !slices.Contains(names, record1) {
		t.Errorf("list: %v, error %v", names, err)
	}
}

// TestCredentialManagerSurvivesCrashes has a process that replaces 20 kB end after its first call of the Credential Manager,
// the next one after its second, and so on. What is found is always one of the two records, whole.
//
// Windows writes an item in a process of its own, whole or not at all; wine does not, so nothing is killed in a call.
func TestCredentialManagerSurvivesCrashes(t *testing.T) {
	s := openCredentials(t)
	written := strings.Repeat("-", 20_000)
	mustSave(t, s, record1, written)
	crashes, replaced := 0, 0
	for i := 1; ; i++ {
		next := strings.Repeat(string(rune('a'+i%26)), len(written))
		err := as(t, "victim", next[:1], strconv.Itoa(i)).Run()
		got, loadErr := s.Load(t.Context(), record1)
		if loadErr != nil || got.Reveal() != written && got.Reveal() != next {
			t.Fatalf("crash after call %d: %d bytes that are neither the old record nor the new one, error %v", i, len(got.Reveal()), loadErr)
		}
		if err == nil {
			break // it was done before it could crash
		}
		crashes++
		if got.Reveal() == next {
			replaced++
		}
		written = got.Reveal()
	}
	if chunks := len(split(written, keychainItem)); crashes < 2*chunks || replaced == 0 {
		t.Errorf("%d crashes, %d of them after the new record was there: are there %d chunks?", crashes, replaced, chunks)
	}
}

// mortal is the Credential Manager for a process that ends after so many calls.
type mortal struct {
	system
	calls int
}

func (m *mortal) die() {
	if m.calls--; m.calls == 0 {
		os.Exit(3)
	}
}

func (m *mortal) Get(account string) (string, error) {
	defer m.die()
	return m.system.Get(account)
}

func (m *mortal) Set(account, text string) error {
	defer m.die()
	return m.system.Set(account, text)
}

func (m *mortal) Delete(account string) error {
	defer m.die()
	return m.system.Delete(account)
}

func replaceAndDie(args []string) error {
	calls, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	s, err := Open(Options{})
	if err != nil {
		return err
	}
	s.(*keychain).keys = &mortal{calls: calls}
	return s.Save(context.Background(), record1, secret.New(strings.Repeat(args[0], 20_000)))
}
