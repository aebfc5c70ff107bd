package clientconfig

import (
	"slices"

	"github.com/tailscale/hujson"
)

// format is how a client writes its servers down.
type format interface {
	// entries returns the servers that are started as local commands, in the order of the file or by name.
	entries(text []byte, m Machine, s Scope) ([]Entry, error)

	// add returns the text with the entry.
	add(text []byte, m Machine, s Scope, e Entry) ([]byte, error)

	// remove returns the text without the entry: first with the tables left in place that are empty now, then without the
	// innermost of them, and so on.
	remove(text []byte, m Machine, s Scope, name string) ([][]byte, error)
}

// jsonFormat keeps servers in an object, by name.
type jsonFormat struct {
	dialect dialect
	shape   shape
	at      func(Machine, Scope) []string // names of the members that lead to the object
	fresh   fields                        // what a new file has beside the servers
}

func under(name string) func(Machine, Scope) []string {
	return func(Machine, Scope) []string { return []string{name} }
}

// shape is how an entry looks.
type shape struct {
	write func(Entry) fields
	read  func(members map[string]any) (command string, args []string)
}

var (
	plainShape    = shape{func(e Entry) fields { return commandFields(e) }, readCommand}
	typedShape    = shape{func(e Entry) fields { return append(fields{{"type", "stdio"}}, commandFields(e)...) }, readCommand}
	geminiShape   = shape{writeGemini, readCommand}
	opencodeShape = shape{writeOpencode, readOpencode}
)

func commandFields(e Entry) fields {
	args := e.Args
	if args == nil {
		args = []string{}
	}
	return fields{{"command", e.Command}, {"args", args}}
}

// writeGemini hands variables down by name: Gemini CLI keeps those from its servers whose names look like a secret's.
func writeGemini(e Entry) fields {
	f := commandFields(e)
	if len(e.Variables) == 0 {
		return f
	}
	var env fields
	for _, name := range e.Variables {
		env = append(env, field{name, "$" + name})
	}
	return append(f, field{"env", env})
}

func writeOpencode(e Entry) fields {
	return fields{{"type", "local"}, {"command", append([]string{e.Command}, e.Args...)}, {"enabled", true}}
}

func readCommand(members map[string]any) (string, []string) {
	command, _ := members["command"].(string)
	return command, texts(members["args"])
}

func readOpencode(members map[string]any) (string, []string) {
	words := texts(members["command"])
	if len(words) == 0 {
		return "", nil
	}
	return words[0], words[1:]
}

// texts returns the strings of an array.
func texts(v any) (out []string) {
	list, _ := v.([]any)
	for _, element := range list {
		if s, ok := element.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func (f jsonFormat) entries(text []byte, m Machine, s Scope) (entries []Entry, err error) {
	tree, err := f.dialect.parse(text)
	if err != nil || tree == nil {
		return nil, err
	}
	servers, rest, err := descend(text, *tree, f.at(m, s))
	if err != nil || len(rest) > 0 {
		return nil, err
	}
	for _, member := range servers.Value.(*hujson.Object).Members {
		members, _ := decoded(member.Value).(map[string]any)
		e := Entry{Name: nameOf(member)}
		if e.Command, e.Args = f.shape.read(members); e.Command != "" {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func (f jsonFormat) add(text []byte, m Machine, s Scope, e Entry) ([]byte, error) {
	tree, err := f.dialect.parse(text)
	if err != nil {
		return nil, err
	}
	at, entry := f.at(m, s), f.shape.write(e)
	if tree == nil {
		return freshJSON(append(slices.Clone(f.fresh), nest(at, field{e.Name, entry}))), nil
	}
	table, rest, err := descend(text, *tree, at)
	if err != nil {
		return nil, err
	}
	if old, ok := member(table, e.Name); ok && len(rest) == 0 {
		members, _ := decoded(old.Value).(map[string]any)
		return nil, f.collision(members, e)
	}
	edited := insert(text, *tree, table, nest(rest, field{e.Name, entry}))
	return edited, verifyJSON(f.dialect, text, edited, append(slices.Clone(at), e.Name), entry)
}

// collision says what it means that there is an entry of that name. What a person added beside the command does not count.
func (f jsonFormat) collision(members map[string]any, e Entry) error {
	if command, args := f.shape.read(members); command == e.Command && slices.Equal(args, e.Args) {
		return ErrUnchanged
	}
	return ErrTaken
}

func (f jsonFormat) remove(text []byte, m Machine, s Scope, name string) (variants [][]byte, err error) {
	path := append(slices.Clone(f.at(m, s)), name)
	for depth := len(path); depth > 0; depth-- {
		edited, err := f.cut(text, path[:depth])
		if err != nil {
			return nil, err
		}
		if err := verifyJSON(f.dialect, edited, text, path, nil); err != nil {
			return nil, err
		}
		variants = append(variants, edited)
		if tree, err := f.dialect.parse(edited); err != nil || depth > 1 && !emptyAt(edited, tree, path[:depth-1]) {
			return variants, err
		}
	}
	return variants, nil
}

// cut removes the member that a path leads to.
func (f jsonFormat) cut(text []byte, path []string) ([]byte, error) {
	tree, err := f.dialect.parse(text)
	if err != nil {
		return nil, err
	}
	if tree == nil {
		return nil, ErrNoEntry
	}
	last := len(path) - 1
	table, rest, err := descend(text, *tree, path[:last])
	if err != nil {
		return nil, err
	}
	if _, ok := member(table, path[last]); !ok || len(rest) > 0 {
		return nil, ErrNoEntry
	}
	return erase(text, table, path[last]), nil
}

// emptyAt reports whether a path leads to an object without members, and without comments.
func emptyAt(text []byte, tree *hujson.Value, path []string) bool {
	table, rest, err := descend(text, *tree, path)
	if err != nil || len(rest) > 0 {
		return false
	}
	inside := text[table.StartOffset+1 : table.EndOffset-1]
	return len(trimSpace(inside)) == 0
}

// nest wraps a field into objects.
func nest(path []string, f field) field {
	for _, name := range slices.Backward(path) {
		f = field{name, fields{f}}
	}
	return f
}
