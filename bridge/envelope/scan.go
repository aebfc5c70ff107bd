package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxDepth bounds nesting, as encoding/json does, so that hostile input cannot exhaust the stack.
const maxDepth = 10_000

var errDepth = errors.New("nested too deeply")

// scanner walks JSON text (RFC 8259) without building values. It is strict about syntax, so that a cut or broken
// message is noticed here and not by the peer, and it does not look at what strings and numbers mean.
type scanner struct {
	b     []byte
	i     int
	depth int
}

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("at byte %d: %w", s.i, fmt.Errorf(format, args...))
}

func (s *scanner) space() {
	for s.i < len(s.b) && isSpace(s.b[s.i]) {
		s.i++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// peek returns the next byte, or 0 at the end: 0 is legal nowhere outside strings.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// value skips one value and returns its bytes.
func (s *scanner) value() ([]byte, error) {
	start := s.i
	var err error
	switch c := s.peek(); {
	case c == '{':
		err = s.object(nil)
	case c == '[':
		err = s.array(nil)
	case c == '"':
		err = s.str()
	case c == '-' || c >= '0' && c <= '9':
		err = s.number()
	default:
		err = s.literal()
	}
	return s.b[start:s.i], err
}

// object skips an object and calls member, if not nil, with each key (quotes included) and value.
func (s *scanner) object(member func(key, value []byte)) error {
	return s.composite('}', func() error {
		start := s.i
		if s.peek() != '"' {
			return s.unexpected("a key")
		}
		if err := s.str(); err != nil {
			return err
		}
		key := s.b[start:s.i]
		s.space()
		if s.peek() != ':' {
			return s.unexpected("a colon")
		}
		s.i++
		s.space()
		value, err := s.value()
		if err == nil && member != nil {
			member(key, value)
		}
		return err
	})
}

// array skips an array and calls element, if not nil, with each value.
func (s *scanner) array(element func(value []byte)) error {
	return s.composite(']', func() error {
		value, err := s.value()
		if err == nil && element != nil {
			element(value)
		}
		return err
	})
}

// composite skips the brackets and commas around what part skips.
func (s *scanner) composite(end byte, part func() error) error {
	if s.depth++; s.depth > maxDepth {
		return errDepth
	}
	defer func() { s.depth-- }()
	s.i++
	s.space()
	if s.peek() == end {
		s.i++
		return nil
	}
	for {
		if err := part(); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
			s.space()
		case end:
			s.i++
			return nil
		default:
			return s.unexpected("a comma or the end of a list")
		}
	}
}

func (s *scanner) unexpected(want string) error {
	if s.i >= len(s.b) {
		return s.errorf("the text ends where %s should be", want)
	}
	return s.errorf("%q where %s should be", s.b[s.i], want)
}

// str skips a string. Most bytes of most messages are in strings, so it looks at eight at a time.
func (s *scanner) str() error {
	s.i++
	for s.i < len(s.b) {
		if s.i+8 <= len(s.b) && plain(binary.LittleEndian.Uint64(s.b[s.i:])) {
			s.i += 8
			continue
		}
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < 0x20:
			return s.errorf("control character %#x in a string", c)
		default:
			s.i++
		}
	}
	return s.errorf("the text ends inside a string")
}

// plain reports whether none of the eight bytes of w is a quote, a backslash or a control character. It may say no for
// a plain group, never yes for another (the borrow of a subtraction only adds bits).
func plain(w uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	return ((w-ones*0x20)&^w|(quote-ones)&^quote|(slash-ones)&^slash)&high == 0
}

func (s *scanner) escape() error {
	s.i++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		s.i++
		return s.hex4()
	}
	return s.unexpected("an escape")
}

func (s *scanner) hex4() error {
	for range 4 {
		c := s.peek() | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return s.unexpected("a hex digit")
		}
		s.i++
	}
	return nil
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.i++
	}
	if s.peek() == '0' {
		s.i++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.peek() == '.' {
		s.i++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.peek()|0x20 == 'e' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		return s.digits()
	}
	return nil
}

func (s *scanner) digits() error {
	if c := s.peek(); c < '0' || c > '9' {
		return s.unexpected("a digit")
	}
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.i++
	}
	return nil
}

func (s *scanner) literal() error {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(s.b)-s.i >= len(word) && string(s.b[s.i:s.i+len(word)]) == word {
			s.i += len(word)
			return nil
		}
	}
	return s.unexpected("a value")
}
