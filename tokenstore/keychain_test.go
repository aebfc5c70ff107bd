package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/secret"
)

var errFault = errors.New("injected")

// faults are the ways in which the n-th call can go wrong. A crash ends all later calls too.
var faults = map[string]func(n int) func(int) (bool, error){
	"crash before": func(n int) func(int) (bool, error) {
		return func(call int) (bool, error) { return call < n, errIf(call >= n) }
	},
	"crash after": func(n int) func(int) (bool, error) {
		return func(call int) (bool, error) { return call <= n, errIf(call >= n) }
	},
	"refused once": func(n int) func(int) (bool, error) {
		return func(call int) (bool, error) { return call != n, errIf(call == n) }
	},
	"answer lost": func(n int) func(int) (bool, error) {
		return func(call int) (bool, error) { return true, errIf(call == n) }
	},
}

func errIf(fail bool) error {
	if fail {
		return errFault
	}
	return nil
}

// TestFaultAtEveryCall breaks every call of every kind of change in every way. What is found after is the old text or
// the new one; what a fault left is gone after the next save, and nothing at all is left after a delete.
func TestFaultAtEveryCall(t *testing.T) {
	small, big, bigger := "small", strings.Repeat("b", 3*smallItem), strings.Repeat("c", 5*smallItem)
	token, renewed := strings.Repeat("d", 20_000), strings.Repeat("e", 20_000) // with many groups in it
	const nothing = ""
	changes := []struct{ before, old, new string }{
		{nothing, nothing, small}, {nothing, nothing, big}, {nothing, small, big}, {nothing, big, small},
		{nothing, big, bigger}, {nothing, bigger, big}, {small, big, bigger}, {big, small, bigger},
		{bigger, small, big}, {nothing, bigger, nothing}, {small, bigger, nothing}, {nothing, small, nothing},
		{nothing, token, renewed}, {token, small, token},
	}
	for _, c := range changes {
		for kind, fault := range faults {
			t.Run(fmt.Sprintf("%s/%d-%d-%d", kind, len(c.before), len(c.old), len(c.new)), func(t *testing.T) {
				for n := 1; faultAt(t, n, fault(n), c.before, c.old, c.new); n++ {
				}
			})
		}
	}
}

// faultAt reports whether the change made the n-th call, so that there may be one after it. An empty text stands for no
// record.
func faultAt(t *testing.T, n int, fault func(int) (bool, error), before, old, new string) bool {
	dir, f, name := t.TempDir(), newFake(), NewName("credential", "a")
	s := f.open(t, dir)
	for _, text := range []string{before, old} {
		if text != "" {
			mustSave(t, s, name, text)
		}
	}
	f.calls, f.fault = 0, fault
	err := change(t, s, name, new)
	reached := f.calls >= n
	f.fault = nil

	after := f.open(t, dir) // the next process
	got := loadOr(t, after, name)
	if got != old && got != new {
		t.Fatalf("call %d: neither the old text nor the new one: %d bytes", n, len(got))
	}
	if err == nil && got != new {
		t.Fatalf("call %d: reported as done, and the old text is there", n)
	}
	if got != "" {
		wantNames(t, f.open(t, dir), name)
	}
	wantTidy(t, f, after, name)
	return reached
}

func change(t *testing.T, s Store, name Name, text string) error {
	if text == "" {
		return s.Delete(t.Context(), name)
	}
	return s.Save(t.Context(), name, secret.New(text))
}

func loadOr(t *testing.T, s Store, name Name) string {
	t.Helper()
	text, err := s.Load(t.Context(), name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatalf("load after a fault: %v", err)
	}
	return text.Reveal()
}

// wantTidy saves and deletes on copies of what a fault left, and lists it, and looks for leftovers.
func wantTidy(t *testing.T, f *fakeKeychain, s Store, name Name) {
	t.Helper()
	left := maps.Clone(f.items)
	for range 2 { // both slots
		mustSave(t, s, name, "final")
	}
	wantItem(t, s, name, "final")
	wantNames(t, s, name)
	if got := itemsOf(f, string(name)); len(got) != 1 {
		t.Fatalf("leftovers after saves: %v", got)
	}

	f.items = maps.Clone(left)
	if err := s.Delete(t.Context(), name); err != nil {
		t.Fatalf("delete after a fault: %v", err)
	}
	if got := itemsOf(f, string(name)); len(got) != 0 {
		t.Fatalf("leftovers after delete: %v", got)
	}
	wantNames(t, s)

	f.items = left
	names, err := s.List(t.Context())
	if err != nil {
		t.Fatalf("list after a fault: %v", err)
	}
	if got := itemsOf(f, string(name)); len(names) == 0 && len(got) != 0 {
		t.Fatalf("list leaves pieces of a record that it does not name: %v", got)
	}
}

func itemsOf(f *fakeKeychain, name string) []string {
	var got []string
	for account := range f.items {
		if strings.HasPrefix(account, name) {
			got = append(got, account)
		}
	}
	slices.Sort(got)
	return got
}

func TestDamageIsNoticedAndReplaced(t *testing.T) {
	name := NewName("credential", "a")
	text := strings.Repeat("x", 3*smallItem)
	headItem, chunkItem := string(name)+".0", string(name)+".0.1"
	damages := map[string]func(map[string]string){
		"chunk missing":  func(m map[string]string) { delete(m, chunkItem) },
		"chunk changed":  func(m map[string]string) { m[chunkItem] = strings.Repeat("y", smallItem) },
		"chunk cut":      func(m map[string]string) { m[chunkItem] = m[chunkItem][1:] },
		"head foreign":   func(m map[string]string) { m[headItem] = "hunter2" },
		"head empty":     func(m map[string]string) { m[headItem] = "" },
		"head cut":       func(m map[string]string) { m[headItem] = "drawbridge 1 3" },
		"count too big":  func(m map[string]string) { m[headItem] = strings.Replace(m[headItem], "1 3 ", "1 4 ", 1) },
		"count negative": func(m map[string]string) { m[headItem] = strings.Replace(m[headItem], "1 3 ", "1 -3 ", 1) },
	}
	for kind, damage := range damages {
		t.Run(kind, func(t *testing.T) {
			f := newFake()
			s := f.open(t, t.TempDir())
			mustSave(t, s, name, text)
			damage(f.items)
			if _, err := s.Load(t.Context(), name); !errors.Is(err, ErrDamaged) || hintOf(err) == "" {
				t.Fatalf("load: %v, want ErrDamaged with a hint", err)
			}
			wantNames(t, s, name)
			mustSave(t, s, name, "replaced")
			wantItem(t, s, name, "replaced")
			if err := s.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			if got := itemsOf(f, string(name)); len(got) != 0 {
				t.Errorf("left: %v", got)
			}
		})
	}
}

func TestNewerFormatIsLeftAlone(t *testing.T) {
	name := NewName("credential", "a")
	f := newFake()
	s := f.open(t, t.TempDir())
	mustSave(t, s, name, "x")
	f.items[string(name)+".0"] = "drawbridge 2 whatever comes"
	want := maps.Clone(f.items)
	_, loadErr := s.Load(t.Context(), name)
	for step, err := range map[string]error{
		"load": loadErr, "save": s.Save(t.Context(), name, secret.New("y")), "delete": s.Delete(t.Context(), name),
	} {
		if !errors.Is(err, ErrNewer) || hintOf(err) == "" {
			t.Errorf("%s: %v, want ErrNewer with a hint", step, err)
		}
	}
	if diff := cmp.Diff(want, f.items); diff != "" {
		t.Errorf("a newer record was changed (-want +got):\n%s", diff)
	}
}

func TestDamagedIndexStartsAnew(t *testing.T) {
	f := newFake()
	s := f.open(t, t.TempDir())
	a, b := NewName("credential", "a"), NewName("credential", "b")
	mustSave(t, s, a, "x")
	for account := range f.items {
		if strings.HasPrefix(account, indexName) {
			f.items[account] = "?"
		}
	}
	mustSave(t, s, b, "y")
	wantNames(t, s, b)
	wantItem(t, s, a, "x")
}

// TestHungCall has the keychain wait for a human. The caller gets an error in time; nobody else gets at the keychain
// until the call returned; its late effect is then there, whole.
func TestHungCall(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f, name := newFake(), NewName("credential", "a")
		s := f.open(t, dir)
		f.block = make(chan struct{})

		start := time.Now()
		err := s.Save(t.Context(), name, secret.New("x"))
		if !errors.Is(err, ErrUnavailable) || hintOf(err) != hintWaiting || time.Since(start) != callLimit {
			t.Fatalf("save: %v (hint %q) after %v", err, hintOf(err), time.Since(start))
		}
		if _, err := f.open(t, dir).Load(t.Context(), name); !errors.Is(err, ErrUnavailable) || hintOf(err) == "" {
			t.Fatalf("load while a call hangs: %v", err)
		}
		if calls := f.count(); calls != 1 {
			t.Fatalf("%d calls reached the keychain, want the hung one only", calls)
		}
		close(f.block)
		synctest.Wait()
		mustSave(t, s, name, "y")
		wantItem(t, s, name, "y")
	})
}

func TestCallerGivesUpReading(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.block = make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := f.open(t, dir).Load(ctx, NewName("credential", "a"))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Fatalf("load: %v after %v", err, time.Since(start))
		}
		close(f.block)
	})
}

func TestRefusalsAreUnavailableWithAHint(t *testing.T) {
	refusals := map[string]string{
		"failed to unlock correct collection '/org/freedesktop/secrets/collection/login'": hintLocked,
		"The name org.freedesktop.secrets was not provided by any .service files":         hintChoices,
		"exit status 36": hintChoices,
		"dial unix /run/user/1000/bus: connect: connection refused": hintChoices,
	}
	for text, hint := range refusals {
		f := newFake()
		f.fault = func(int) (bool, error) { return false, errors.New(text) }
		err := Probe(t.Context(), f.open(t, t.TempDir()))
		if !errors.Is(err, ErrUnavailable) || hintOf(err) != hint || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %v, hint %q", text, err, hintOf(err))
		}
	}
}

func TestProbe(t *testing.T) {
	for kind, s := range stores(t) {
		if err := Probe(t.Context(), s); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add(formatHead("hello", []string{"hello"}))
	f.Add("drawbridge 1 1 0 00\n")
	f.Add("drawbridge 2")
	f.Fuzz(func(t *testing.T, item string) {
		h, err := parseHead(item)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		if h.chunks < 1 || h.size < 0 || h.size > maxRecord {
			t.Errorf("head out of range: %d chunks, %d bytes", h.chunks, h.size)
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add("x", 5000)
	f.Add("\u20ac", 3000)
	f.Add("\xff", 3000)
	f.Fuzz(func(t *testing.T, unit string, n int) {
		text := strings.ToValidUTF8(strings.Repeat(unit, max(0, min(n, maxRecord/(len(unit)+1)))), "?")
		chunks := split(text, smallItem)
		if strings.Join(chunks, "") != text {
			t.Error("the chunks do not make up the text")
		}
		for _, c := range chunks {
			if len(c) > smallItem || strings.ToValidUTF8(c, "?") != c {
				t.Errorf("a chunk of %d bytes, or one that cuts a character", len(c))
			}
		}
	})
}
