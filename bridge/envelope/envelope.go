// Package envelope reads and edits JSON-RPC 2.0 messages as bytes.
//
// It finds where a message's id, method, params, result and error are and touches nothing else, so that big integers,
// key order and unknown members pass through a bridge as the sender wrote them.
package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// ErrNotMessage means that the text is JSON but no JSON-RPC message (answered with -32600, not -32700).
var ErrNotMessage = errors.New("not a JSON-RPC message")

// Kind tells the four shapes apart.
type Kind int

const (
	// Invalid is none of the others.
	Invalid Kind = iota
	// Request has a method and an id.
	Request
	// Notification has a method and no id.
	Notification
	// Response has a result or an error.
	Response
)

// Message is a JSON-RPC message. Its slices share Raw's memory; absent members are nil.
type Message struct {
	Raw    []byte
	ID     []byte // JSON text: a string, a number, or null
	Method string
	Params []byte
	Result []byte
	Error  []byte

	hasMethod bool
}

// Parse checks that raw is one JSON object and finds its members. Where a member stands twice, the last one counts, as
// in most decoders. Line ends between tokens become spaces, in place, so that Raw is one line: JSON strings must not
// hold any, so nothing that means something changes. An error wraps ErrNotMessage where the text is good JSON.
func Parse(raw []byte) (Message, error) {
	s := scanner{b: raw}
	s.space()
	if s.peek() != '{' {
		return Message{}, notObject(raw)
	}
	start := s.i
	var m Message
	if err := s.object(m.member); err != nil {
		return Message{}, err
	}
	m.Raw = raw[start:s.i]
	if err := s.end(); err != nil {
		return Message{}, err
	}
	if s.lines {
		oneLine(m.Raw)
	}
	return m, nil
}

func notObject(raw []byte) error {
	s := scanner{b: raw}
	s.space()
	if _, err := s.value(); err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	return ErrNotMessage
}

func (s *scanner) end() error {
	s.space()
	if s.i != len(s.b) {
		return s.unexpected("the end of the message")
	}
	return nil
}

func (m *Message) member(key, value []byte) error {
	switch {
	case named(key, "id"):
		m.ID = value
	case named(key, "method"):
		m.hasMethod = value[0] == '"'
		m.Method = unquote(value)
	case named(key, "params"):
		m.Params = value
	case named(key, "result"):
		m.Result = value
	case named(key, "error"):
		m.Error = value
	}
	return nil
}

// named reports whether key, a string that the scanner passed, is name, which holds nothing to escape.
func named(key []byte, name string) bool {
	if len(key) == len(name)+2 {
		return string(key[1:len(key)-1]) == name
	}
	return len(key) > len(name) && bytes.IndexByte(key, '\\') >= 0 && unquote(key) == name
}

// unquote decodes a string that the scanner passed; "" if text is no string.
func unquote(text []byte) string {
	if len(text) < 2 || text[0] != '"' {
		return ""
	}
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1])
	}
	var out string
	_ = json.Unmarshal(text, &out) // the scanner passed it; lone surrogates become U+FFFD and name nothing of ours
	return out
}

// Kind returns the message's shape. A request whose id is null, or of a type JSON-RPC does not know, is Invalid.
func (m Message) Kind() Kind {
	switch {
	case m.hasMethod && m.ID == nil:
		return Notification
	case m.hasMethod && m.legalID():
		return Request
	case !m.hasMethod && (m.Result != nil || m.Error != nil):
		return Response
	}
	return Invalid
}

func (m Message) legalID() bool {
	c := m.ID[0]
	return c == '"' || c == '-' || c >= '0' && c <= '9'
}

// SameID reports whether two ids, as JSON text, are one that was written in another way: escapes, another form of a number, a
// number that lost digits as a float64, or that became a string.
func SameID(a, b []byte) bool {
	if string(idText(a)) == string(idText(b)) {
		return true
	}
	x, errX := strconv.ParseFloat(string(a), 64)
	y, errY := strconv.ParseFloat(string(b), 64)
	return errX == nil && errY == nil && x == y
}

func idText(id []byte) []byte {
	if len(id) > 0 && id[0] == '"' {
		return []byte(unquote(id))
	}
	return id
}

// WithID returns the message with its id replaced, or added where it has none. The other bytes stay.
func (m Message) WithID(id []byte) []byte {
	if bytes.Equal(m.ID, id) {
		return m.Raw
	}
	if m.ID != nil {
		at := offset(m.Raw, m.ID)
		return splice(m.Raw[:at], id, m.Raw[at+len(m.ID):])
	}
	comma := ","
	if bytes.IndexByte(m.Raw, ':') < 0 {
		comma = ""
	}
	return splice([]byte(`{"id":`), id, []byte(comma), m.Raw[1:])
}

// offset returns where part, a slice of whole, begins.
func offset(whole, part []byte) int { return cap(whole) - cap(part) }

func splice(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// IsBatch reports whether raw begins as a JSON array (MCP 2025-03-26 batches).
func IsBatch(raw []byte) bool {
	s := scanner{b: raw}
	s.space()
	return s.peek() == '['
}

// Split returns the elements of a batch.
func Split(raw []byte) ([][]byte, error) {
	s := scanner{b: raw}
	s.space()
	if s.peek() != '[' {
		return nil, ErrNotMessage
	}
	var out [][]byte
	if err := s.array(func(v []byte) { out = append(out, v) }); err != nil {
		return nil, err
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("an empty batch: %w", ErrNotMessage)
	}
	return out, nil
}

// Member returns the value of an object's member as JSON text.
func Member(object []byte, name string) ([]byte, bool) {
	s := scanner{b: object}
	s.space()
	if s.peek() != '{' {
		return nil, false
	}
	var out []byte
	err := s.object(func(key, value []byte) error {
		if named(key, name) {
			out = value
		}
		return nil
	})
	return out, err == nil && out != nil
}

// FirstString returns the value of the first member of an object that has one of the names and is a string, else "". It
// looks no further, so that a name in front of something big is found at once.
func FirstString(object []byte, names ...string) (found string) {
	s := scanner{b: object}
	s.space()
	if s.peek() != '{' {
		return ""
	}
	_ = s.object(func(key, value []byte) error { // a broken object has no more members
		for _, name := range names {
			if named(key, name) && value[0] == '"' {
				found = unquote(value)
				return errFound
			}
		}
		return nil
	})
	return found
}

// errFound ends a search.
var errFound = errors.New("found")

// Members calls member with each member of an object, in order and as often as a name stands there. It fails if object
// is not one JSON object.
func Members(object []byte, member func(name string, value []byte)) error {
	s := scanner{b: object}
	s.space()
	if s.peek() != '{' {
		return notObject(object)
	}
	err := s.object(func(key, value []byte) error {
		member(unquote(key), value)
		return nil
	})
	if err != nil {
		return err
	}
	return s.end()
}

// StringMember returns the value of an object's member if it is a string, else "".
func StringMember(object []byte, name string) string {
	value, _ := Member(object, name)
	return unquote(value)
}

// oneLine replaces line ends by spaces.
func oneLine(raw []byte) {
	for _, c := range []byte{'\n', '\r'} {
		for rest := raw; ; {
			i := bytes.IndexByte(rest, c)
			if i < 0 {
				break
			}
			rest[i] = ' '
			rest = rest[i+1:]
		}
	}
}
