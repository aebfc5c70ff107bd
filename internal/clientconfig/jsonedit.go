package clientconfig

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// field is a member that is to be written.
type field struct {
	name  string
	value any // string, bool, []string or fields
}

type fields []field

// layout is how a text is laid out, so that what is inserted looks like its surroundings.
type layout struct {
	newline string // "" for everything on one line
	unit    string // of indentation
	colon   string
	comma   string
}

// maxInline is the longest array that is written on one line, in bytes.
const maxInline = 100

// render writes an object whose first line is indented already.
func (f fields) render(l layout, indent string) []byte {
	var parts []string
	for _, member := range f {
		parts = append(parts, member.render(l, indent+l.unit))
	}
	return []byte(l.join("{", parts, "}", indent))
}

func (f field) render(l layout, indent string) string {
	return quote(f.name) + l.colonOr(":") + renderValue(f.value, l, indent)
}

func (l layout) colonOr(colon string) string {
	if l.colon != "" {
		return l.colon
	}
	return colon
}

// join puts the parts of an object or array together.
func (l layout) join(open string, parts []string, closing, indent string) string {
	switch {
	case len(parts) == 0:
		return open + closing
	case l.newline == "":
		return open + strings.Join(parts, ","+l.comma) + closing
	}
	inner := l.newline + indent + l.unit
	return open + inner + strings.Join(parts, ","+inner) + l.newline + indent + closing
}

func renderValue(v any, l layout, indent string) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case bool:
		if v {
			return "true"
		}
		return "false"
	case []string:
		var parts []string
		for _, s := range v {
			parts = append(parts, quote(s))
		}
		if inline := "[" + strings.Join(parts, ", ") + "]"; l.newline != "" && len(inline) <= maxInline {
			return inline
		}
		return l.join("[", parts, "]", indent)
	}
	return string(v.(fields).render(l, indent))
}

// quote writes a JSON string, which is a basic string of TOML too.
func quote(s string) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return strings.TrimSuffix(out.String(), "\n")
}

// freshJSON is a file that holds nothing else.
func freshJSON(f fields) []byte {
	return append(f.render(layout{newline: "\n", unit: "  ", colon: ": "}, ""), '\n')
}

// layoutOf finds how a text is laid out, from the members of its outermost object.
func layoutOf(text []byte, tree hujson.Value) layout {
	l := layout{newline: newlineOf(text), unit: "  ", colon: ": ", comma: " "}
	members := tree.Value.(*hujson.Object).Members
	if len(members) == 0 {
		return l
	}
	if lead, ok := leadOf(text, members[0]); ok && lead != "" {
		l.unit = lead
	}
	if first := members[0]; first.Value.StartOffset-first.Name.EndOffset == len(":") {
		l.colon, l.comma = ":", ""
	}
	return l
}

// newlineOf returns how lines end, or "" where there is only one.
func newlineOf(text []byte) string {
	i := bytes.IndexByte(text, '\n')
	switch {
	case i < 0:
		return ""
	case i > 0 && text[i-1] == '\r':
		return "\r\n"
	}
	return "\n"
}

// leadOf returns the indentation of a member that begins its line.
func leadOf(text []byte, m hujson.ObjectMember) (string, bool) {
	start := m.Name.StartOffset
	line := bytes.LastIndexByte(text[:start], '\n') + 1
	lead := text[line:start]
	return string(lead), line > 0 && len(trimSpace(lead)) == 0
}

// indentAt returns the white space at the beginning of the line of an offset.
func indentAt(text []byte, offset int) string {
	line := text[bytes.LastIndexByte(text[:offset], '\n')+1 : offset]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// splice is a piece of a text to replace.
type splice struct {
	from, to int
	with     string
}

// apply makes changes, which are in order and do not overlap.
func apply(text []byte, changes ...splice) []byte {
	var out []byte
	at := 0
	for _, c := range changes {
		out = append(append(out, text[at:c.from]...), c.with...)
		at = c.to
	}
	return append(out, text[at:]...)
}

// insert puts a field at the end of an object.
func insert(text []byte, tree, table hujson.Value, f field) []byte {
	l := layoutOf(text, tree)
	members := table.Value.(*hujson.Object).Members
	if len(members) == 0 {
		return insertFirst(text, table, f, l)
	}
	last := members[len(members)-1]
	gap := text[last.Value.EndOffset : table.EndOffset-1]
	comma, end := scanGap(gap)
	lead, own := leadOf(text, last)
	lineComment := bytes.Contains(gap, []byte("//"))
	if !own && !lineComment {
		l.newline = ""
	}
	if !own {
		lead = indentAt(text, table.StartOffset)
	}
	new := l.comma + f.render(l, lead)
	if l.newline != "" {
		new = l.newline + lead + f.render(l, lead)
	}
	at := last.Value.EndOffset
	if comma >= 0 {
		return apply(text, splice{at + end, at + end, new + ","})
	}
	return apply(text, splice{at, at, ","}, splice{at + end, at + end, new})
}

// insertFirst puts a field into an object without members, which may have comments.
func insertFirst(text []byte, table hujson.Value, f field, l layout) []byte {
	from, to := table.StartOffset+1, table.EndOffset-1
	_, end := scanGap(text[from:to])
	indent := indentAt(text, table.StartOffset)
	if l.newline == "" && len(text) > len("{ }\n") {
		return apply(text, splice{from + end, from + end, f.render(l, indent)})
	}
	if l.newline == "" {
		l.newline = "\n"
	}
	member := l.newline + indent + l.unit + f.render(l, indent+l.unit)
	return apply(text, splice{from + end, to, member + l.newline + indent})
}

// erase takes a member out, with the white space before it and the comma that it leaves without use. Comments stay.
func erase(text []byte, table hujson.Value, name string) []byte {
	members := table.Value.(*hujson.Object).Members
	i := len(members) - 1
	for nameOf(members[i]) != name {
		i--
	}
	before, after := table.StartOffset+1, table.EndOffset-1
	if i > 0 {
		before = members[i-1].Value.EndOffset
	}
	if i < len(members)-1 {
		after = members[i+1].Name.StartOffset
	}
	commaBefore, end := scanGap(text[before:members[i].Name.StartOffset])
	entry := splice{from: before + end, to: members[i].Value.EndOffset}
	commaAfter, _ := scanGap(text[entry.to:after])
	var changes []splice
	switch {
	case commaAfter == 0:
		entry.to++
	case commaAfter > 0:
		changes = append(changes, splice{entry.to + commaAfter, entry.to + commaAfter + 1, ""})
	case i > 0: // the last: the comma before it goes
		changes = append(changes, splice{before + commaBefore, before + commaBefore + 1, ""})
	case end == 0 && len(trimSpace(text[entry.to:after])) == 0: // the only one
		entry.to = after
	}
	if endsInLineComment(text[before:entry.from]) && !startsWithNewline(text[entry.to:]) {
		entry.with = "\n" // else what follows would become part of the comment
	}
	changes = append(changes, entry)
	slices.SortFunc(changes, func(a, b splice) int { return a.from - b.from })
	return apply(text, changes...)
}

// endsInLineComment looks at the last line of what stands between values.
func endsInLineComment(gap []byte) bool {
	return bytes.Contains(gap[bytes.LastIndexByte(gap, '\n')+1:], []byte("//"))
}

func startsWithNewline(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r"), []byte("\n"))
}
