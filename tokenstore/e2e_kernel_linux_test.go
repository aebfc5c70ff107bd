//go:build e2e

package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"drawbridge/internal/secret"
)

// These tests run against the real kernel. Where keyctl(2) is blocked they fail and say so.

func init() {
	roles["kernel-apart"] = kernelApart
	roles["kernel-write"] = kernelWrite
	roles["kernel-quota"] = kernelQuota
}

// newKernel returns a store whose keys have a prefix of their own, and removes them after the test.
func newKernel(t *testing.T) *kernel {
	t.Helper()
	k, err := testKernel(fmt.Sprintf("drawbridge-test-%d", os.Getpid()))
	if err == nil {
		err = Probe(t.Context(), k)
	}
	if err != nil {
		t.Fatalf("the kernel keyring cannot be used here: %v", err)
	}
	t.Cleanup(func() {
		if err := deleteAll(k); err != nil {
			t.Error(err)
		}
	})
	return k
}

func testKernel(prefix string) (*kernel, error) {
	k, err := openKernel(Options{})
	if err == nil {
		k.prefix = prefix
	}
	return k, err
}

func deleteAll(k *kernel) error {
	ctx := context.Background()
	names, err := k.List(ctx)
	for _, name := range names {
		err = errors.Join(err, k.Delete(ctx, name))
	}
	return err
}

func TestKernelKeeps(t *testing.T) {
	k := newKernel(t)
	name, other := NewName("credential", "a"), NewName("registration", "b")
	mustSave(t, k, other, "other")
	for _, text := range []string{"x", "", strings.Repeat("\u20ac", 4000), " lines\nand \x00\n", strings.Repeat("d", 5000), "short"} {
		mustSave(t, k, name, text)
		wantItem(t, k, name, text)
	}
	wantItem(t, k, other, "other")
	wantNames(t, k, name, other)
	for range 2 { // the second time there is nothing left
		if err := k.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Load(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("load after delete: %v", err)
		}
	}
	wantNames(t, k, other)
	if s, err := Open(Options{Kind: "kernel"}); err != nil || !strings.HasPrefix(s.Location(), "kernel keyring of user ") {
		t.Errorf("open: %v, %v", s, err)
	}
}

// TestKernelBetweenProcesses reads what a process wrote that has ended. Its session keyring did not lead to the user
// keyring, as in a container.
func TestKernelBetweenProcesses(t *testing.T) {
	k := newKernel(t)
	if err := as(t, "kernel-apart", k.prefix).Run(); err != nil {
		t.Fatal(err)
	}
	wantItem(t, k, record1, "written apart")
	wantNames(t, k, record1)
}

// kernelApart goes on as kernelWrite in a session keyring of its own: only exec takes that to all threads.
func kernelApart(args []string) error {
	if _, err := unix.KeyctlJoinSessionKeyring("drawbridge-test"); err != nil {
		return err
	}
	if err := os.Setenv(roleVariable, "kernel-write "+args[0]); err != nil {
		return err
	}
	return syscall.Exec(os.Args[0], os.Args[:1], os.Environ())
}

func kernelWrite(args []string) error {
	k, err := testKernel(args[0])
	if err != nil {
		return err
	}
	ctx := context.Background()
	err = k.Save(ctx, record1, secret.New("written apart"))
	return errors.Join(err, k.Save(ctx, record1, secret.New("written apart")), wantText(k, record1, "written apart"))
}

func TestKernelFormats(t *testing.T) {
	k := newKernel(t)
	for payload, want := range map[string]error{"drawbridge 2\nx": ErrNewer, "hunter2": ErrDamaged} {
		if _, err := unix.AddKey("user", k.description(record1), []byte(payload), unix.KEY_SPEC_USER_KEYRING); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Load(t.Context(), record1); !errors.Is(err, want) || hintOf(err) == "" {
			t.Errorf("load %q: %v, want %v with a hint", payload, err, want)
		}
		kept := want == ErrNewer
		if err := k.Save(t.Context(), record1, secret.New("y")); errors.Is(err, ErrNewer) != kept {
			t.Errorf("save over %q: %v", payload, err)
		}
		if err := k.Delete(t.Context(), record1); errors.Is(err, ErrNewer) != kept {
			t.Errorf("delete %q: %v", payload, err)
		}
		if _, err := unix.AddKey("user", k.description(record1), []byte(kernelHead), unix.KEY_SPEC_USER_KEYRING); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKernelQuota fills the keyring of a user whose quota is the kernel's default. Root's is a thousand times that, so
// root plays nobody.
func TestKernelQuota(t *testing.T) {
	k := newKernel(t)
	if err := k.Save(t.Context(), record1, secret.New(strings.Repeat("x", maxKernelItem))); !errors.Is(err, ErrFull) || hintOf(err) != hintFull {
		t.Errorf("more than a key holds: %v, hint %q", err, hintOf(err))
	}
	cmd := as(t, "kernel-quota", k.prefix)
	if os.Geteuid() == 0 {
		cmd.Path = publicCopy(t, cmd.Path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

// publicCopy copies a program to where every user may run it.
func publicCopy(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "public")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "test"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close(), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}

// kernelQuota: a record of 12 kB fits and can be replaced by another one in place; a second one does not fit, and the first
// is unharmed. After a delete there is room again.
func kernelQuota(args []string) error {
	k, err := testKernel(args[0])
	if err != nil {
		return err
	}
	ctx, text := context.Background(), strings.Repeat("x", 12_000)
	defer func() { _ = deleteAll(k) }() // the keys of nobody's test end with the machine at the latest
	for _, letter := range []string{"x", "y", "x"} {
		if err := k.Save(ctx, record1, secret.New(strings.Repeat(letter, len(text)))); err != nil {
			return fmt.Errorf("replace 12 kB: %w", err)
		}
	}
	if err := k.Save(ctx, record2, secret.New(text)); !errors.Is(err, ErrFull) || hintOf(err) != hintFull {
		return fmt.Errorf("second record: %w, hint %q", err, hintOf(err))
	}
	if err := k.Save(ctx, record1, secret.New(text+text)); !errors.Is(err, ErrFull) {
		return fmt.Errorf("replace 12 kB by 24: %w", err)
	}
	return errors.Join(wantText(k, record1, text), wantList(k, record1))
}

// TestKernelKeepsKeys: an unlocked key is found by other processes, apart from items, and has a lifetime.
func TestKernelKeepsKeys(t *testing.T) {
	keys := kernelKeys{fmt.Sprintf("drawbridge-test-%d-unlocked", os.Getpid())}
	const id = "0123456789abcdef"
	if key, ok := keys.get(id); ok {
		t.Fatalf("found %d bytes before any were kept", len(key))
	}
	want := []byte(strings.Repeat("k", keySize))
	if err := keys.put(id, want); err != nil {
		t.Fatal(err)
	}
	if key, ok := keys.get(id); !ok || string(key) != string(want) {
		t.Errorf("found %v, %d bytes", ok, len(key))
	}
	err := possessing(func() error {
		serial, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", keys.prefix+":"+id, 0)
		if err != nil {
			return err
		}
		if list, err := os.ReadFile("/proc/keys"); err != nil || !strings.Contains(string(list), keys.prefix) || strings.Contains(line(string(list), keys.prefix), " perm ") {
			t.Errorf("/proc/keys: %v; %q", err, line(string(list), keys.prefix))
		}
		_, err = unix.KeyctlInt(unix.KEYCTL_UNLINK, serial, unix.KEY_SPEC_USER_KEYRING, 0, 0)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestKeyIsMortalFirst: before a key can be found by others it has its end. Once a process that was killed between the two
// steps left a key without one.
func TestKeyIsMortalFirst(t *testing.T) {
	keys := kernelKeys{fmt.Sprintf("drawbridge-test-%d-mortal", os.Getpid())}
	const id = "0123456789abcdef"
	err := possessing(func() error {
		_, err := keys.mortal(id, []byte(strings.Repeat("k", keySize)))
		if err != nil {
			return err
		}
		if _, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", keys.prefix+":"+id, 0); !errors.Is(err, unix.ENOKEY) {
			t.Errorf("search in the user keyring: %v, want that it is not there", err)
		}
		list, err := os.ReadFile("/proc/keys")
		if about := line(string(list), keys.prefix); about == "" || strings.Contains(about, " perm ") {
			t.Errorf("/proc/keys: %q", about)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, ok := keys.get(id); ok {
		t.Error("the key outlives its thread")
	}
}

// line returns the line of text that holds part.
func line(text, part string) string {
	for l := range strings.Lines(text) {
		if strings.Contains(l, part) {
			return l
		}
	}
	return ""
}
