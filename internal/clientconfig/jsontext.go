package clientconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/tailscale/hujson"
)

// dialect is how much beyond RFC 8259 a client reads. A file beyond it is broken for the client, and so it is for us.
type dialect int

const (
	strict    dialect = iota // JSON
	commented                // with comments
	relaxed                  // with comments and trailing commas
)

// parse returns the tree of a text, or nil for one that is empty.
func (d dialect) parse(text []byte) (*hujson.Value, error) {
	if len(trimSpace(text)) == 0 {
		return nil, nil
	}
	tree, err := hujson.Parse(text)
	if err != nil {
		return nil, syntaxError(text, err)
	}
	if _, ok := tree.Value.(*hujson.Object); !ok {
		return nil, badText(text, tree.StartOffset, errors.New("want an object"))
	}
	return &tree, d.check(text, tree)
}

// check refuses what the dialect does not have.
func (d dialect) check(text []byte, tree hujson.Value) error {
	if d == strict {
		var bad *json.SyntaxError
		if err := json.Unmarshal(text, new(json.RawMessage)); errors.As(err, &bad) {
			return badText(text, int(bad.Offset)-1, fmt.Errorf("%w; this client reads neither comments nor trailing commas", bad))
		}
	}
	if d == commented {
		if at, ok := trailingComma(text, tree); ok {
			return badText(text, at, errors.New("this client reads comments but no trailing commas"))
		}
	}
	return nil
}

// hujsonPlace is how hujson says where a mistake is.
var hujsonPlace = regexp.MustCompile(`^hujson: line (\d+), column (\d+): `)

func syntaxError(text []byte, err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		if place := hujsonPlace.FindStringSubmatch(err.Error()); place != nil {
			line, _ := strconv.Atoi(place[1]) // digits
			column, _ := strconv.Atoi(place[2])
			return &ParseError{Line: line, Column: column, Err: cause}
		}
	}
	return badText(text, 0, err)
}

// trailingComma finds a comma behind the last member or element of anything.
func trailingComma(text []byte, tree hujson.Value) (at int, found bool) {
	for v := range tree.All() {
		last := -1
		switch c := v.Value.(type) {
		case *hujson.Object:
			if len(c.Members) > 0 {
				last = c.Members[len(c.Members)-1].Value.EndOffset
			}
		case *hujson.Array:
			if len(c.Elements) > 0 {
				last = c.Elements[len(c.Elements)-1].EndOffset
			}
		}
		if last < 0 {
			continue
		}
		if comma, _ := scanGap(text[last : v.EndOffset-1]); comma >= 0 {
			return last + comma, true
		}
	}
	return 0, false
}

// scanGap looks at what stands between values: white space, comments and at most one comma. It returns where the comma
// is, or -1, and where the last token ends.
func scanGap(gap []byte) (comma, end int) {
	comma = -1
	for i := 0; i < len(gap); {
		n := 1
		switch {
		case bytes.HasPrefix(gap[i:], []byte("//")):
			n = len(bytes.TrimRight(upTo(gap[i:], "\n"), "\r\n"))
			end = i + n
		case bytes.HasPrefix(gap[i:], []byte("/*")):
			n = len(upTo(gap[i:], "*/"))
			end = i + n
		case gap[i] == ',':
			comma, end = i, i+1
		}
		i += n
	}
	return comma, end
}

// upTo returns the text up to the end of what.
func upTo(text []byte, what string) []byte {
	if i := bytes.Index(text, []byte(what)); i >= 0 {
		return text[:i+len(what)]
	}
	return text
}

const space = " \t\r\n"

func trimSpace(text []byte) []byte { return bytes.Trim(text, space) }

// descend follows a path of member names as far as there are objects. It returns the object it got to and the names that
// lead on from there.
func descend(text []byte, v hujson.Value, path []string) (hujson.Value, []string, error) {
	for i, name := range path {
		next, ok := member(v, name)
		if !ok {
			return v, path[i:], nil
		}
		if _, ok := next.Value.Value.(*hujson.Object); !ok {
			return v, nil, badText(text, next.Value.StartOffset, fmt.Errorf("want an object as the value of %q", name))
		}
		v = next.Value
	}
	return v, nil, nil
}

// member returns the member of that name; of several the last counts, as it does for JSON.parse.
func member(v hujson.Value, name string) (hujson.ObjectMember, bool) {
	for _, m := range slices.Backward(v.Value.(*hujson.Object).Members) {
		if nameOf(m) == name {
			return m, true
		}
	}
	return hujson.ObjectMember{}, false
}

func nameOf(m hujson.ObjectMember) string { return m.Name.Value.(hujson.Literal).String() }

// decoded returns a value as encoding/json decodes it, with numbers as they are written.
func decoded(v hujson.Value) (out any) {
	v = v.Clone()
	v.Standardize()
	d := json.NewDecoder(bytes.NewReader(v.Pack()))
	d.UseNumber()
	if err := d.Decode(&out); err != nil && err != io.EOF {
		return nil // hujson parsed it: only a number out of any range comes here, and an entry has none
	}
	return out
}

// verifyJSON compares two texts: with must be without plus the entry, and nothing else.
func verifyJSON(d dialect, without, with []byte, path []string, entry fields) error {
	var texts [2]any
	for i, text := range [][]byte{without, with} {
		tree, err := d.parse(text)
		if err != nil {
			return fmt.Errorf("the edited text would be broken: %v", err) // not wrapped: the place is none of the file
		}
		if tree != nil {
			texts[i] = decoded(*tree)
		}
	}
	found, rest := take(texts[1], path)
	_, bare := take(texts[0], path)
	var want any
	if entry != nil {
		_ = json.Unmarshal(entry.render(layout{}, ""), &want) // our own
	}
	if entry != nil && !reflect.DeepEqual(found, want) || !reflect.DeepEqual(rest, bare) {
		return errors.New("the edit would change more than the entry; please report the shape of this file")
	}
	return nil
}

// take removes what a path leads to, and the objects that are empty then. It returns it and what is left.
func take(v any, path []string) (found, rest any) {
	members, ok := v.(map[string]any)
	if !ok {
		return nil, v
	}
	if len(path) == 0 {
		return v, nil
	}
	members = maps.Clone(members)
	inner, there := members[path[0]]
	if len(path) == 1 {
		found = inner
		delete(members, path[0])
	} else if there {
		if found, inner = take(inner, path[1:]); inner == nil {
			delete(members, path[0])
		} else {
			members[path[0]] = inner
		}
	}
	if len(members) == 0 {
		return found, nil
	}
	return found, members
}
