package clientconfig

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// desk is a person's machine with one client's file.
type desk struct {
	*testing.T
	machine Machine
	client  Client
	path    string
	backups Backups
}

func newDesk(t *testing.T, client string) *desk {
	c, ok := ClientByID(client)
	if !ok {
		t.Fatalf("no client %s", client)
	}
	m := machine(t.TempDir())
	path, err := c.Path(m, User)
	if err != nil {
		t.Fatal(err)
	}
	return &desk{T: t, machine: m, client: c, path: path, backups: Backups{Dir: filepath.Join(m.Home, "backups")}}
}

func (d *desk) add(e Entry) {
	d.Helper()
	change, err := d.client.Add(d.machine, User, e)
	if err == nil {
		_, err = change.Apply(d.backups)
	}
	if err != nil {
		d.Fatal(err)
	}
}

func (d *desk) remove(e Entry) {
	d.Helper()
	change, err := d.client.Remove(d.machine, User, e, d.backups)
	if err == nil {
		_, err = change.Apply(d.backups)
	}
	if err != nil {
		d.Fatal(err)
	}
}

func (d *desk) wants(text string) {
	d.Helper()
	got, err := os.ReadFile(d.path)
	if err != nil {
		d.Fatal(err)
	}
	if diff := cmp.Diff(text, string(got)); diff != "" {
		d.Errorf("%s (-want +got):\n%s", d.path, diff)
	}
}

// TestRoundTrip: adding and removing leaves no trace, also where the text alone does not say what it was.
func TestRoundTrip(t *testing.T) {
	for client, texts := range map[string][]string{
		"cursor": {
			"{ }", "{}\n", "\n", "{\"mcpServers\": { }}", "{\n  \"mcpServers\": {\n\n  }\n}\n", "{ /* none */ }", "{ // none\n}",
			"\uFEFF{\r\n  \"mcpServers\": {}\r\n}\r\n", "{\"a\":1,}",
		},
		"codex": {"", "a = 1", "a = 1\n\n\n", "\uFEFFa = 1\r\n", "[mcp_servers]\n", "[mcp_servers.x]\ncommand = \"y\"\n\n# end"},
	} {
		for _, text := range texts {
			t.Run(client+" "+text, func(t *testing.T) {
				d := newDesk(t, client)
				put(t, d.path, text)
				d.add(example)
				other := Entry{Name: "other", Command: "x", Args: []string{"y"}}
				d.add(other)
				d.remove(other)
				d.remove(example)
				d.wants(text)
			})
		}
	}
}

// TestRemoveInOtherOrder: entries go in the order in which they came.
func TestRemoveInOtherOrder(t *testing.T) {
	d := newDesk(t, "claude-desktop")
	put(t, d.path, "{\n  \"a\": 1\n}\n")
	other := Entry{Name: "other", Command: "x", Args: []string{"y"}}
	d.add(example)
	d.add(other)
	d.remove(example)
	d.remove(other)
	d.wants("{\n  \"a\": 1\n}\n")
}

// TestReplace: the new entry has the old one's name, and taking it out gives what was there before both.
func TestReplace(t *testing.T) {
	for client, text := range map[string]string{"cursor": "{\n  // mine\n}\n", "codex": "a = 1 # mine\n"} {
		d := newDesk(t, client)
		put(t, d.path, text)
		d.add(example)
		other := example
		other.Args = []string{"https://mcp.example.com/mcp", "--profile", "admin"}
		change, err := d.client.Replace(d.machine, User, other)
		if err == nil {
			_, err = change.Apply(d.backups)
		}
		if err != nil {
			t.Fatal(err)
		}
		entries, err := d.client.Entries(d.machine, User)
		if diff := cmp.Diff([]Entry{other}, entries); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", client, err, diff)
		}
		d.remove(other)
		d.wants(text)
	}
}

// TestNewFile: a file that was not there is private, and goes with its only entry.
func TestNewFile(t *testing.T) {
	for _, c := range Clients() {
		t.Run(c.ID, func(t *testing.T) {
			d := newDesk(t, c.ID)
			d.add(example)
			info, err := os.Stat(d.path)
			if err != nil {
				t.Fatal(err)
			}
			if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
				t.Errorf("mode %o, want 600", info.Mode().Perm())
			}
			entries, err := c.Entries(d.machine, User)
			if diff := cmp.Diff([]Entry{example}, entries); diff != "" || err != nil {
				t.Errorf("entries: %v\n%s", err, diff)
			}
			d.remove(example)
			if exists(d.path) {
				t.Error("the file is still there")
			}
		})
	}
}

// TestRefusals: what must not be written is not.
func TestRefusals(t *testing.T) {
	t.Run("read-only", func(t *testing.T) {
		d := newDesk(t, "cursor")
		put(t, d.path, "{}")
		if err := os.Chmod(d.path, 0o444); err != nil {
			t.Fatal(err)
		}
		if _, err := d.client.Add(d.machine, User, example); !errors.Is(err, ErrReadOnly) {
			t.Errorf("add: %v, want %v", err, ErrReadOnly)
		}
		d.wants("{}")
	})
	t.Run("changed meanwhile", func(t *testing.T) {
		d := newDesk(t, "cursor")
		put(t, d.path, "{}")
		change, err := d.client.Add(d.machine, User, example)
		if err != nil {
			t.Fatal(err)
		}
		put(t, d.path, `{"a": 1}`)
		if _, err := change.Apply(d.backups); !errors.Is(err, ErrConcurrent) {
			t.Errorf("apply: %v, want %v", err, ErrConcurrent)
		}
		d.wants(`{"a": 1}`)
		d.onlyFile()
	})
	t.Run("made meanwhile", func(t *testing.T) {
		d := newDesk(t, "cursor")
		change, err := d.client.Add(d.machine, User, example)
		if err != nil {
			t.Fatal(err)
		}
		put(t, d.path, `{"a": 1}`)
		if _, err := change.Apply(d.backups); !errors.Is(err, ErrConcurrent) {
			t.Errorf("apply: %v, want %v", err, ErrConcurrent)
		}
		d.wants(`{"a": 1}`)
	})
	t.Run("another of that name", func(t *testing.T) {
		for _, client := range []string{"cursor", "codex"} {
			d := newDesk(t, client)
			d.add(Entry{Name: example.Name, Command: "x"})
			if _, err := d.client.Add(d.machine, User, example); !errors.Is(err, ErrTaken) {
				t.Errorf("%s: %v, want %v", client, err, ErrTaken)
			}
		}
	})
	t.Run("no such entry", func(t *testing.T) {
		for _, client := range []string{"cursor", "codex"} {
			d := newDesk(t, client)
			if _, err := d.client.Remove(d.machine, User, example, d.backups); !errors.Is(err, ErrNoEntry) {
				t.Errorf("%s: %v, want %v", client, err, ErrNoEntry)
			}
		}
	})
	t.Run("a directory", func(t *testing.T) {
		d := newDesk(t, "cursor")
		if err := os.MkdirAll(d.path, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := d.client.Add(d.machine, User, example); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("add: %v", err)
		}
	})
	t.Run("no such scope", func(t *testing.T) {
		d := newDesk(t, "windsurf")
		if _, err := d.client.Add(d.machine, Project, example); !errors.Is(err, ErrScope) {
			t.Errorf("add: %v, want %v", err, ErrScope)
		}
	})
}

// onlyFile wants nothing beside the file: no half-written copy.
func (d *desk) onlyFile() {
	d.Helper()
	entries, err := os.ReadDir(filepath.Dir(d.path))
	if err != nil || len(entries) != 1 {
		d.Errorf("beside the file: %v, %v", entries, err)
	}
}

// TestBackups: the file before each change is kept, privately, and the oldest go.
func TestBackups(t *testing.T) {
	d := newDesk(t, "cursor")
	put(t, d.path, "{}")
	change, err := d.client.Add(d.machine, User, example)
	if err != nil {
		t.Fatal(err)
	}
	backup, err := change.Apply(d.backups)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(backup); !bytes.Equal(text, []byte("{}")) {
		t.Errorf("backup holds %q, %v", text, err)
	}
	for path, mode := range map[string]os.FileMode{backup: 0o600, d.backups.Dir: 0o700} {
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != mode {
			t.Errorf("%s: %v, want the mode %o", path, info.Mode(), mode)
		}
	}
	for range maxBackups {
		d.remove(example)
		d.add(example)
	}
	if names, err := d.backups.names(d.path); len(names) != maxBackups || err != nil {
		t.Errorf("%d backups, want %d; %v", len(names), maxBackups, err)
	}
}

// TestPaths compares the files of clients that look elsewhere on other systems, or where a variable says.
func TestPaths(t *testing.T) {
	vars := map[string]string{"CODEX_HOME": "/c", "CLAUDE_CONFIG_DIR": "/cc", "XDG_CONFIG_HOME": "/x"}
	type place struct {
		client string
		scope  Scope
	}
	for _, test := range []struct {
		machine Machine
		want    map[place]string
	}{
		{
			Machine{OS: "linux", Home: "/home/ada", Config: "/home/ada/.config", Project: "/p", Getenv: func(string) string { return "" }},
			map[place]string{
				{"claude-code", User}: "/home/ada/.claude.json", {"claude-code", Project}: "/p/.mcp.json", {"claude-code", Local}: "/home/ada/.claude.json",
				{"claude-desktop", User}: "/home/ada/.config/Claude/claude_desktop_config.json",
				{"cursor", User}:         "/home/ada/.cursor/mcp.json", {"cursor", Project}: "/p/.cursor/mcp.json",
				{"vscode", User}: "/home/ada/.config/Code/User/mcp.json", {"vscode", Project}: "/p/.vscode/mcp.json",
				{"windsurf", User}: "/home/ada/.codeium/windsurf/mcp_config.json",
				{"zed", User}:      "/home/ada/.config/zed/settings.json", {"zed", Project}: "/p/.zed/settings.json",
				{"codex", User}: "/home/ada/.codex/config.toml", {"codex", Project}: "/p/.codex/config.toml",
				{"gemini", User}: "/home/ada/.gemini/settings.json", {"gemini", Project}: "/p/.gemini/settings.json",
				{"opencode", User}: "/home/ada/.config/opencode/opencode.json", {"opencode", Project}: "/p/opencode.json",
			},
		},
		{
			Machine{OS: "linux", Home: "/home/ada", Config: "/x", Getenv: func(name string) string { return vars[name] }},
			map[place]string{
				{"claude-code", User}: "/cc/.claude.json", {"codex", User}: "/c/config.toml", {"zed", User}: "/x/zed/settings.json",
				{"opencode", User}: "/x/opencode/opencode.json", {"vscode", User}: "/x/Code/User/mcp.json",
			},
		},
		{
			Machine{OS: "darwin", Home: "/Users/ada", Config: "/Users/ada/Library/Application Support", Getenv: func(string) string { return "" }},
			map[place]string{
				{"claude-desktop", User}: "/Users/ada/Library/Application Support/Claude/claude_desktop_config.json",
				{"vscode", User}:         "/Users/ada/Library/Application Support/Code/User/mcp.json",
				{"zed", User}:            "/Users/ada/.config/zed/settings.json", {"opencode", User}: "/Users/ada/.config/opencode/opencode.json",
			},
		},
		{
			Machine{OS: "windows", Home: "/U", Config: "/U/AppData/Roaming", Getenv: func(string) string { return "" }},
			map[place]string{
				{"claude-desktop", User}: "/U/AppData/Roaming/Claude/claude_desktop_config.json", {"zed", User}: "/U/AppData/Roaming/Zed/settings.json",
				{"opencode", User}: "/U/.config/opencode/opencode.json",
			},
		},
	} {
		for p, want := range test.want {
			c, _ := ClientByID(p.client)
			if got, err := c.Path(test.machine, p.scope); filepath.ToSlash(got) != want || err != nil {
				t.Errorf("%s %s on %s: %s, %v; want %s", p.client, p.scope, test.machine.OS, got, err, want)
			}
		}
	}
}

// TestInstalled: a client is there when its files are.
func TestInstalled(t *testing.T) {
	for _, c := range Clients() {
		m := machine(t.TempDir())
		if c.Installed(m) {
			t.Errorf("%s is installed in an empty home", c.ID)
		}
		path, err := c.Path(m, User)
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, "")
		if !c.Installed(m) {
			t.Errorf("%s is not installed where %s is", c.ID, path)
		}
	}
}
