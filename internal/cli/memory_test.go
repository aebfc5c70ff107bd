package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// memoryBelow returns the memory of a server below dir, and what makes it forget.
func memoryBelow(t *testing.T, dir, url, profile string) (memory, func()) {
	t.Helper()
	env := Env{LookupEnv: func(name string) (string, bool) { return dir, name == "DRAWBRIDGE_CACHE_DIR" }}
	log := slog.New(slog.DiscardHandler)
	m := memory{memoryDir(env, url, profile), func() string { return "ada" }, log}
	return m, func() { forgetter(env, log)(url, profile, "ada") }
}

// TestMemory: what is kept comes back byte for byte, for its owner only, until it is forgotten.
func TestMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not there yet")
	m, forget := memoryBelow(t, dir, "https://mcp.example/mcp", "")
	other, _ := memoryBelow(t, dir, "https://mcp.example/mcp", "work")
	said := []byte("{ \"tools\" :\n[1.0,12345678901234567890]}\n")
	m.Keep("ada", "tools/list", said)
	m.Keep("ada", "tools/list", said)
	if got := m.Recall("ada", "tools/list"); !bytes.Equal(got, said) {
		t.Errorf("recalled %q, want %q", got, said)
	}
	for what, got := range map[string][]byte{
		"of another person": m.Recall("bob", "tools/list"), "of another list": m.Recall("ada", "prompts/list"), "of another profile": other.Recall("ada", "tools/list"),
	} {
		if got != nil {
			t.Errorf("what is kept %s is %q", what, got)
		}
	}
	m.Keep("bob", "tools/list", []byte("{}"))
	if got := m.Recall("ada", "tools/list"); got != nil {
		t.Errorf("the former owner has %q", got)
	}
	other.Keep("ada", "tools/list", said)
	forget()
	if got := m.Recall("bob", "tools/list"); got != nil {
		t.Errorf("after the sign-in ended there is %q", got)
	}
	if got := other.Recall("ada", "tools/list"); !bytes.Equal(got, said) {
		t.Errorf("the other profile lost its memory: %q", got)
	}
}

// TestMemoryFiles: files are the user's alone, name no person, and there is one for each thing that was said.
func TestMemoryFiles(t *testing.T) {
	dir := t.TempDir()
	m, _ := memoryBelow(t, dir, "https://mcp.example/mcp", "")
	for _, name := range []string{"initialize 2025-11-25", "tools/list", "tools/list"} {
		m.Keep("person ada@example.com", name, []byte(time.Now().String()))
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o700)
		if !e.IsDir() {
			files++
			want = 0o600
			text, err := os.ReadFile(path)
			if err != nil || bytes.Contains(text, []byte("ada@")) {
				t.Errorf("%s: %q, %v", path, text, err)
			}
		}
		if got := info.Mode().Perm(); got != want && runtime.GOOS != "windows" {
			t.Errorf("%s has the mode %o, want %o", path, got, want)
		}
		return nil
	})
	if err != nil || files != 2 {
		t.Errorf("%d files, %v; want 2", files, err)
	}
}

// TestDamagedMemory: a file that is damaged in any way counts as absent, and the next thing that is said replaces it.
func TestDamagedMemory(t *testing.T) {
	m, _ := memoryBelow(t, t.TempDir(), "https://mcp.example/mcp", "")
	said := []byte(`{"tools":[]}`)
	m.Keep("ada", "tools/list", said)
	good, err := os.ReadFile(m.path("tools/list"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		damaged := bytes.Clone(good)
		damaged[i] ^= 1
		for _, text := range [][]byte{damaged, good[:i]} {
			if err := os.WriteFile(m.path("tools/list"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := m.Recall("ada", "tools/list"); got != nil {
				t.Fatalf("recalled %q from %q", got, text)
			}
		}
	}
	long := append(bytes.Clone(good), make([]byte, maxRemembered)...)
	if err := os.WriteFile(m.path("tools/list"), long, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := m.Recall("ada", "tools/list"); got != nil {
		t.Errorf("recalled %d bytes", len(got))
	}
	m.Keep("ada", "tools/list", said)
	if got := m.Recall("ada", "tools/list"); !bytes.Equal(got, said) {
		t.Errorf("recalled %q, want %q", got, said)
	}
}

// TestMemoryHasABound: the servers that nothing was kept of for the longest time make room.
func TestMemoryHasABound(t *testing.T) {
	dir := t.TempDir()
	at := func(i int) memory {
		m, _ := memoryBelow(t, dir, fmt.Sprintf("https://mcp.example/%d", i), "")
		return m
	}
	for i := range maxServers + 5 {
		at(i).Keep("ada", "tools/list", []byte("{}"))
		when := time.Unix(int64(1_000_000+i), 0)
		if err := os.Chtimes(at(i).dir, when, when); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "servers"))
	if err != nil || len(entries) != maxServers {
		t.Errorf("%d servers are remembered, %v; want %d", len(entries), err, maxServers)
	}
	if at(4).Recall("ada", "tools/list") != nil || at(5).Recall("ada", "tools/list") == nil {
		t.Error("it is not the oldest that went")
	}
}

// TestMemoryWithoutPlace: a directory that cannot be made costs the memory and nothing else.
func TestMemoryWithoutPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m, forget := memoryBelow(t, file, "https://mcp.example/mcp", "")
	var said strings.Builder
	m.log = slog.New(slog.NewTextHandler(&said, nil))
	m.Keep("ada", "tools/list", []byte("{}"))
	if got := m.Recall("ada", "tools/list"); got != nil || !strings.Contains(said.String(), "could not be kept") {
		t.Errorf("recalled %q, log %q", got, said.String())
	}
	forget()
}
