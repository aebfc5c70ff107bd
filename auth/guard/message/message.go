// Package message reads what an MCP client asks for in a POST: the methods, and the tools, prompts and resources that
// they name.
//
// Whoever judges a request must read it as the server behind will. Where two readers could disagree, the request is
// refused: members that stand twice or differ only in case (decoders take the first, the last, or either case), text
// that is not UTF-8, names with characters that some runtimes drop. What nobody judges is left alone.
package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"drawbridge/bridge/envelope"
)

// ErrSyntax means that the body is no JSON text (JSON-RPC -32700). Every other error of [Parse] means that it is no
// message that can be judged (-32600).
var ErrSyntax = errors.New("not JSON")

// Kind tells the messages of a client apart.
type Kind int

const (
	// Request has an id and wants an answer.
	Request Kind = iota
	// Notification has none, whatever its method.
	Notification
	// Response answers a request of the server.
	Response
)

// Body is what one POST carries.
type Body struct {
	Batch    bool // MCP 2025-03-26 knows batches, later revisions do not
	Messages []Message
}

// Message is one JSON-RPC message.
type Message struct {
	Kind    Kind
	ID      []byte // JSON text; nil for a notification
	Method  string // "" for a response
	Targets []Target
	Version string // the revision that the message itself names (2026-07-28 and later)

	// Arguments is what the parameters have under that name, as JSON text; nil if there is none. Nobody judges them.
	Arguments []byte

	mirrored string // what Mcp-Name has to say; "" if the method has no such header
}

// Target is what a message wants to use.
type Target struct {
	Type string // Tool, Prompt or Resource
	Name string // a resource's is its URI
}

// The types of targets.
const (
	Tool     = "tool"
	Prompt   = "prompt"
	Resource = "resource"
)

// Parse reads the body of a POST. The slices of the result share its memory.
func Parse(body []byte) (Body, error) {
	// RFC 8259 section 8.1: JSON text is UTF-8. Decoders replace, drop or refuse other bytes.
	if !utf8.Valid(body) {
		return Body{}, fmt.Errorf("%w: it is not UTF-8", ErrSyntax)
	}
	if !envelope.IsBatch(body) {
		m, err := parseMessage(body)
		return Body{Messages: []Message{m}}, err
	}
	parts, err := envelope.Split(body)
	if err != nil {
		return Body{}, classify(err)
	}
	b := Body{Batch: true, Messages: make([]Message, len(parts))}
	for i, part := range parts {
		if b.Messages[i], err = parseMessage(part); err != nil {
			return Body{}, fmt.Errorf("message %d of the batch: %w", i+1, err)
		}
	}
	return b, nil
}

func classify(err error) error {
	if errors.Is(err, envelope.ErrNotMessage) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrSyntax, err)
}

func parseMessage(raw []byte) (Message, error) {
	top, err := members(raw, "jsonrpc", "id", "method", "params", "result", "error")
	if err != nil {
		return Message{}, err
	}
	m := Message{ID: top["id"]}
	if _, ok := top["method"]; !ok {
		return m, m.response(top)
	}
	if m.Method, err = text("method", top["method"]); err != nil {
		return Message{}, err
	}
	if err := m.identify(); err != nil {
		return Message{}, err
	}
	return m, m.params(top["params"])
}

// response accepts what answers a request of the server.
func (m *Message) response(top map[string][]byte) error {
	m.Kind = Response
	if top["result"] == nil && top["error"] == nil {
		return fmt.Errorf("%w: it has neither method nor result nor error", envelope.ErrNotMessage)
	}
	return nil
}

// identify tells a request by its id, which JSON-RPC wants to be a string or a number.
func (m *Message) identify() error {
	switch {
	case m.ID == nil:
		m.Kind = Notification
	case m.ID[0] == '"' || m.ID[0] == '-' || m.ID[0] >= '0' && m.ID[0] <= '9':
		m.Kind = Request
	default:
		return fmt.Errorf("%w: the id is neither a string nor a number", envelope.ErrNotMessage)
	}
	return nil
}

// members returns the members of an object that have the given names. A name that stands twice, or in other case, is an
// error: encoding/json and others match names in any case.
func members(object []byte, names ...string) (map[string][]byte, error) {
	found := make(map[string][]byte, len(names))
	var ambiguous error
	err := envelope.Members(object, func(key string, value []byte) {
		for _, name := range names {
			if key != name && !strings.EqualFold(key, name) {
				continue
			}
			if _, again := found[name]; again || key != name {
				ambiguous = fmt.Errorf("member %q stands twice or in another case (%q): servers differ in what they read", name, key)
			}
			found[name] = value
		}
	})
	if err != nil {
		return nil, classify(err)
	}
	return found, ambiguous
}

// text decodes a string that names something. Control characters and the replacement character (which lone surrogates
// decode to) are refused: some runtimes end a name at them or drop them.
func text(member string, value []byte) (string, error) {
	var s string
	if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, &s) != nil {
		return "", fmt.Errorf("member %q is not a string", member)
	}
	if strings.ContainsFunc(s, unsafeRune) {
		return "", fmt.Errorf("member %q holds characters that are no part of a name", member)
	}
	return s, nil
}

func unsafeRune(r rune) bool {
	return unicode.IsControl(r) || r == utf8.RuneError
}

// present reports whether a member is there and not null.
func present(value []byte) bool { return value != nil && !bytes.Equal(value, []byte("null")) }
