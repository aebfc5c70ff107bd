package clientconfig

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// example is what the files of testdata/edit add.
var example = Entry{Name: "example", Command: "/usr/local/bin/drawbridge", Args: []string{"https://mcp.example.com/mcp"}}

// machine is a person's machine with its files below a directory.
func machine(home string) Machine {
	return Machine{
		OS: "linux", Home: home, Config: filepath.Join(home, ".config"), Project: "/home/ada/code/app",
		Getenv: func(string) string { return "" },
	}
}

// edit is a file of testdata/edit: its first line names client and scope.
type edit struct {
	client        Client
	scope         Scope
	before, after []byte
	inexact       bool // adding and removing leaves it a little different when there is no backup
}

func edits(t testing.TB) map[string]edit {
	t.Helper()
	paths, err := filepath.Glob("testdata/edit/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files, error %v", err)
	}
	found := map[string]edit{}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil || len(archive.Files) != 2 {
			t.Fatalf("%s: %v", path, err)
		}
		words := strings.Fields(string(archive.Comment))
		client, ok := ClientByID(words[0])
		if !ok {
			t.Fatalf("%s: no client %q", path, words[0])
		}
		found[filepath.Base(path)] = edit{
			client: client, scope: Scope(words[1]), before: archive.Files[0].Data, after: archive.Files[1].Data,
			inexact: len(words) > 2 && words[2] == "inexact",
		}
	}
	return found
}

// shapes are what a text may come as.
var shapes = map[string]func([]byte) []byte{
	"as it is":          func(text []byte) []byte { return text },
	"CRLF":              func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")) },
	"tabs":              func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("  "), []byte("\t")) },
	"no newline at end": func(text []byte) []byte { return bytes.TrimSuffix(text, []byte("\n")) },
}

// TestEdit adds and removes an entry in texts as people have them, and compares every byte.
func TestEdit(t *testing.T) {
	m := machine("/home/ada")
	for name, e := range edits(t) {
		for shape, shaped := range shapes {
			t.Run(name+"/"+shape, func(t *testing.T) {
				before, after := shaped(e.before), shaped(e.after)
				if _, isTOML := e.client.format.(tomlFormat); isTOML && shape == "no newline at end" {
					before, after = e.before, e.after // a block of lines ends with a newline
				}
				got, err := e.client.format.add(before, m, e.scope, example)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(after), string(got)); diff != "" {
					t.Fatalf("add (-want +got):\n%s", diff)
				}
				variants, err := e.client.format.remove(got, m, e.scope, example.Name)
				if err != nil {
					t.Fatal(err)
				}
				if !e.inexact && !contains(variants, before) {
					t.Errorf("remove (-want +got):\n%s", cmp.Diff(string(before), string(variants[0])))
				}
				again, err := e.client.format.add(got, m, e.scope, example)
				if !errors.Is(err, ErrUnchanged) {
					t.Errorf("add again: %v and %q, want %v", err, again, ErrUnchanged)
				}
			})
		}
	}
}

func contains(variants [][]byte, want []byte) bool {
	for _, v := range variants {
		if bytes.Equal(v, want) {
			return true
		}
	}
	return false
}

// TestEveryClientIsEdited wants an edit of every client and scope in testdata/edit.
func TestEveryClientIsEdited(t *testing.T) {
	done := map[string]bool{}
	for _, e := range edits(t) {
		done[e.client.ID+" "+string(e.scope)] = true
	}
	for _, c := range Clients() {
		if !done[c.ID+" "+string(User)] {
			t.Errorf("testdata/edit has no %s", c.ID)
		}
	}
	if !done["claude-code local"] {
		t.Error("testdata/edit has no claude-code local")
	}
}

// TestVariables: clients that keep variables from their servers are told which ones to hand down, by name.
func TestVariables(t *testing.T) {
	e := example
	e.Variables, e.Session = []string{"API_KEY"}, []string{"DISPLAY"}
	for client, want := range map[string]string{
		"codex":       `env_vars = ["API_KEY", "DISPLAY"]`,
		"gemini":      `"API_KEY": "$API_KEY"`,
		"claude-code": "",
		"opencode":    "",
	} {
		c, _ := ClientByID(client)
		got, err := c.Snippet(machine("/home/ada"), User, e)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && strings.Contains(string(got), "API_KEY") || !strings.Contains(string(got), want) || client == "gemini" && strings.Contains(string(got), "DISPLAY") {
			t.Errorf("%s:\n%s", client, got)
		}
	}
}

// TestRemoveOthers takes entries out that stand anywhere, as a person left them.
func TestRemoveOthers(t *testing.T) {
	for _, test := range []struct{ client, before, name, after string }{
		{"cursor", `{"mcpServers": {"a": {"command": "x"}, "b": {"command": "y"}}}`, "a", `{"mcpServers": { "b": {"command": "y"}}}`},
		{"cursor", `{"mcpServers": {"a": {"command": "x"}, "b": {"command": "y"}}}`, "b", `{"mcpServers": {"a": {"command": "x"}}}`},
		{"cursor", `{"mcpServers":{"a":{"command":"x"},"b":{"command":"y"}},"z":1}`, "a", `{"mcpServers":{"b":{"command":"y"}},"z":1}`},
		{
			"zed",
			"{\n  \"context_servers\": {\n    // first\n    \"a\": {}, // about a\n    // second\n    \"b\": {} // about b\n    , \"c\": {} // about c\n  }\n}\n", "b",
			"{\n  \"context_servers\": {\n    // first\n    \"a\": {}, // about a\n    // second\n // about b\n     \"c\": {} // about c\n  }\n}\n",
		},
		{"zed", "{\"context_servers\": { // mine\n \"a\": {}, \"b\": {} }}", "a", "{\"context_servers\": { // mine\n \"b\": {} }}"},
		{"codex", "x = 1\n[mcp_servers.a]\ncommand = \"x\"\n[mcp_servers.a.env]\nK = \"v\"\n\n# about b\n[mcp_servers.b]\ncommand = \"y\"\n", "a", "x = 1\n\n# about b\n[mcp_servers.b]\ncommand = \"y\"\n"},
		{"codex", "[mcp_servers]\na = { command = \"x\" } # mine\nb = { command = \"y\" }\n", "a", "[mcp_servers]\nb = { command = \"y\" }\n"},
		{"codex", "mcp_servers.a.command = \"x\"\nmcp_servers.a.args = [\n  \"1\", # one\n  \"2\",\n]\nz = 1\n", "a", "z = 1\n"},
		{"codex", "[mcp_servers.\"a b\"]\ncommand = '''\n# x\n'''\n# end\n", "a b", "# end\n"},
	} {
		t.Run(test.client+" "+test.name, func(t *testing.T) {
			client, _ := ClientByID(test.client)
			got, err := client.format.remove([]byte(test.before), machine("/home/ada"), User, test.name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.after, string(got[0])); diff != "" {
				t.Errorf("remove %s from %q (-want +got):\n%s", test.name, test.before, diff)
			}
		})
	}
}

// TestBadFiles: nothing is written, and the error says where the mistake is.
func TestBadFiles(t *testing.T) {
	for _, test := range []struct{ client, text, want string }{
		{"cursor", "{\n  \"mcpServers\": {\n    \"a\" {}\n  }\n}\n", "FILE: line 3, column 9: invalid character '{' after object name"},
		{"cursor", "{\"mcpServers\": []}", `FILE: line 1, column 16: want an object as the value of "mcpServers"`},
		{"cursor", "[]", "FILE: line 1, column 1: want an object"},
		{"cursor", "{\"a\": \"\xff\"}", "FILE: line 1, column 8: this is not UTF-8"},
		{"cursor", "{\"a\": 1", "FILE: line 1, column 8: parsing object after value: unexpected EOF"},
		{"claude-desktop", "{\n  // mine\n}", "FILE: line 2, column 3: invalid character '/' looking for beginning of object key string; this client reads neither comments nor trailing commas"},
		{"claude-code", "{\"a\": 1,}", "FILE: line 1, column 9: invalid character '}' looking for beginning of object key string; this client reads neither comments nor trailing commas"},
		{"gemini", "{\n  \"a\": [1, 2, // two\n  ]\n}", "FILE: line 2, column 13: this client reads comments but no trailing commas"},
		{"codex", "a = 1\nb = \n", "FILE: line 2, column 5: unexpected character U+000A at start of value"},
		{"codex", "mcp_servers = { a = { command = \"x\" } }\n", `FILE: the table "mcp_servers" is written inline, where no entry can be added; write it as [mcp_servers]`},
	} {
		t.Run(test.client+" "+test.text, func(t *testing.T) {
			client, _ := ClientByID(test.client)
			m := machine(t.TempDir())
			path, err := client.Path(m, User)
			if err != nil {
				t.Fatal(err)
			}
			put(t, path, test.text)
			_, err = client.Add(m, User, example)
			got := "no error"
			if err != nil {
				got = strings.ReplaceAll(err.Error(), path, "FILE")
			}
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("add to %q:\n got %s\nwant %s", test.text, got, test.want)
			}
			if now, _ := os.ReadFile(path); string(now) != test.text {
				t.Errorf("the file is now %q", now)
			}
		})
	}
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// bare is a text without what an edit may change around an entry.
func bare(text []byte) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(space+",", r) {
			return -1
		}
		return r
	}, string(text))
}

func FuzzJSON(f *testing.F) {
	for _, e := range edits(f) {
		if _, ok := e.client.format.(jsonFormat); ok {
			f.Add(e.before, "example", "c")
			f.Add(e.after, "other", "c")
		}
	}
	f.Add([]byte("{\"mcpServers\":{\"a\":1//x\n,}}"), "b", "c")
	f.Add([]byte("{/*x*/}//y"), "b\"", "\n")
	fuzzFormat(f, cursor)
}

func FuzzTOML(f *testing.F) {
	for _, e := range edits(f) {
		if _, ok := e.client.format.(tomlFormat); ok {
			f.Add(e.before, "example", "c")
			f.Add(e.after, "other", "c")
		}
	}
	f.Add([]byte("[mcp_servers.\"a\"]\ncommand='''\n#\n'''\n\n#x"), "a b", "\x7f")
	fuzzFormat(f, codex)
}

// fuzzFormat adds and removes an entry: every byte that is neither white space nor a comma must be there again. That
// nothing else changes its meaning is checked by the editors themselves.
func fuzzFormat(f *testing.F, client Client) {
	f.Fuzz(func(t *testing.T, text []byte, name, command string) {
		m := machine("/home/ada")
		e := Entry{Name: strings.ToValidUTF8(name, "?"), Command: strings.ToValidUTF8(command, "?") + "x", Args: []string{"a"}}
		after, err := client.format.add(text, m, User, e)
		if err != nil && strings.Contains(err.Error(), "the edit") {
			t.Fatalf("%q: %v", text, err)
		}
		if err != nil {
			return // what is no configuration is not written
		}
		if entries, err := client.format.entries(after, m, User); err != nil || !holds(entries, e) {
			t.Fatalf("%q became %q, whose entries are %v, %v", text, after, entries, err)
		}
		variants, err := client.format.remove(after, m, User, e.Name)
		if err != nil {
			t.Fatalf("%q became %q, from which %q cannot be removed: %v", text, after, e.Name, err)
		}
		for _, v := range variants {
			if bare(v) == bare(text) {
				return
			}
		}
		if bare(text) != "" { // an empty file becomes an empty object
			t.Fatalf("%q became %q and then %q", text, after, variants)
		}
	})
}

func holds(entries []Entry, want Entry) bool {
	for _, e := range entries {
		if cmp.Equal(e, want) {
			return true
		}
	}
	return false
}
