package clientconfig

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// tomlFormat keeps servers in tables below one table, by name (Codex CLI).
type tomlFormat struct{ table string }

func (f tomlFormat) entries(text []byte, _ Machine, _ Scope) (entries []Entry, err error) {
	tree, err := parseTOML(text)
	if err != nil {
		return nil, err
	}
	servers, _ := tree[f.table].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		members, _ := servers[name].(map[string]any)
		e := Entry{Name: name, Variables: texts(members["env_vars"])}
		if e.Command, e.Args = readCommand(members); e.Command != "" {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func (f tomlFormat) add(text []byte, _ Machine, _ Scope, e Entry) ([]byte, error) {
	tree, err := parseTOML(text)
	if err != nil {
		return nil, err
	}
	servers, _ := tree[f.table].(map[string]any)
	want := tomlMembers(e)
	if old, ok := servers[e.Name]; ok {
		members, _ := old.(map[string]any)
		if command, args := readCommand(members); command == e.Command && slices.Equal(args, e.Args) {
			return nil, ErrUnchanged
		}
		return nil, ErrTaken
	}
	edited := appendTable(text, f.block(e))
	return edited, verifyTOML(text, edited, f.table, e.Name, want)
}

// tomlMembers is an entry as it is decoded.
func tomlMembers(e Entry) map[string]any {
	members := map[string]any{"command": e.Command, "args": anys(e.Args)}
	if names := slices.Concat(e.Variables, e.Session); len(names) > 0 {
		members["env_vars"] = anys(names)
	}
	return members
}

func anys(texts []string) []any {
	out := []any{}
	for _, s := range texts {
		out = append(out, s)
	}
	return out
}

// block is an entry as lines. Codex CLI hands down a few variables, and those that env_vars names.
func (f tomlFormat) block(e Entry) []string {
	lines := []string{"[" + f.table + "." + tomlKey(e.Name) + "]", "command = " + tomlString(e.Command), "args = " + tomlArray(e.Args)}
	if names := slices.Concat(e.Variables, e.Session); len(names) > 0 {
		lines = append(lines, "env_vars = "+tomlArray(names))
	}
	return lines
}

// tomlKey writes a key bare where TOML allows it.
func tomlKey(name string) string {
	bare := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if name != "" && strings.IndexFunc(name, func(r rune) bool { return !bare(r) }) < 0 {
		return name
	}
	return tomlString(name)
}

// tomlString writes a basic string: what JSON escapes, TOML escapes the same way, and DEL besides.
func tomlString(s string) string { return strings.ReplaceAll(quote(s), "\x7f", `\u007F`) }

func tomlArray(list []string) string {
	var parts []string
	for _, s := range list {
		parts = append(parts, tomlString(s))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// appendTable puts lines at the end, with an empty line before them.
func appendTable(text []byte, lines []string) []byte {
	newline := newlineOf(text)
	if newline == "" {
		newline = "\n"
	}
	out := bytes.Clone(text)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, newline...)
	}
	if len(out) > 0 {
		out = append(out, newline...)
	}
	return append(out, strings.Join(lines, newline)+newline...)
}

func (f tomlFormat) remove(text []byte, _ Machine, _ Scope, name string) ([][]byte, error) {
	tree, err := parseTOML(text)
	if err != nil {
		return nil, err
	}
	servers, _ := tree[f.table].(map[string]any)
	if _, ok := servers[name]; !ok {
		return nil, ErrNoEntry
	}
	edited := text
	for _, part := range slices.Backward(tomlParts(text, f.table, name)) {
		edited = apply(edited, part)
	}
	return [][]byte{edited}, verifyTOML(edited, text, f.table, name, nil)
}

// tomlParts returns the lines that an entry consists of, each run of them with the empty line before it.
func tomlParts(text []byte, table, name string) (parts []splice) {
	var open bool // the last expression was the entry's
	var current []string
	p := unstable.Parser{}
	p.Reset(text)
	for p.NextExpression() {
		e := p.Expression()
		path, at := keyOf(e)
		if e.Kind == unstable.KeyValue {
			path = append(slices.Clone(current), path...)
		} else {
			current = path
		}
		if len(path) < 2 || path[0] != table || path[1] != name {
			open = false
			continue
		}
		from := bytes.LastIndexByte(text[:at], '\n') + 1
		to := lineEnd(text, max(at, int(e.Raw.Offset+e.Raw.Length)))
		if open {
			parts[len(parts)-1].to = to
		} else {
			parts = append(parts, splice{from: emptyLineBefore(text, from), to: to})
		}
		open = true
	}
	return parts
}

// keyOf returns the dotted key of an expression, and where it begins.
func keyOf(e *unstable.Node) (path []string, at int) {
	at = -1
	for key := e.Key(); key.Next(); {
		if at < 0 {
			at = int(key.Node().Raw.Offset)
		}
		path = append(path, string(key.Node().Data))
	}
	return path, at
}

// lineEnd returns the offset behind the line that an offset is in.
func lineEnd(text []byte, offset int) int {
	if i := bytes.IndexByte(text[offset:], '\n'); i >= 0 {
		return offset + i + 1
	}
	return len(text)
}

// emptyLineBefore returns where the line before an offset begins if it is empty, else the offset.
func emptyLineBefore(text []byte, offset int) int {
	switch before := text[:offset]; {
	case bytes.HasSuffix(before, []byte("\n\r\n")):
		return offset - len("\r\n")
	case bytes.HasSuffix(before, []byte("\n\n")):
		return offset - len("\n")
	}
	return offset
}

// parseTOML decodes a text.
func parseTOML(text []byte) (map[string]any, error) {
	tree := map[string]any{}
	err := toml.Unmarshal(text, &tree)
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, column := bad.Position()
		return nil, &ParseError{Line: line, Column: column, Err: errors.New(strings.TrimPrefix(bad.Error(), "toml: "))}
	}
	return tree, err
}

// verifyTOML compares two texts: with must be without plus the entry, and nothing else.
func verifyTOML(without, with []byte, table, name string, entry map[string]any) error {
	bare, err := parseTOML(without)
	if err != nil {
		return fmt.Errorf("the edited text would be broken: %v", err) // not wrapped: the place is none of the file
	}
	full, err := parseTOML(with)
	if err != nil {
		return fmt.Errorf("the table %q is written inline, where no entry can be added; write it as [%s]", table, table)
	}
	servers, _ := full[table].(map[string]any)
	found := servers[name]
	delete(servers, name)
	for _, tree := range []map[string]any{full, bare} { // a table without entries is as good as none
		if left, ok := tree[table].(map[string]any); ok && len(left) == 0 {
			delete(tree, table)
		}
	}
	if entry != nil && !reflect.DeepEqual(found, any(entry)) || !reflect.DeepEqual(full, bare) {
		return errors.New("the edit would change more than the entry; please report the shape of this file")
	}
	return nil
}
