package envelope

import (
	"errors"
	"fmt"
)

// maxDepth bounds nesting, as encoding/json does, so that hostile input cannot exhaust memory.
const maxDepth = 10_000

var errDepth = errors.New("nested too deeply")

// scanner walks JSON text (RFC 8259) without building values. It is strict about syntax, so that a cut or broken
// message is noticed here and not by the peer, and it does not look at what strings and numbers mean.
type scanner struct {
	b     []byte
	i     int
	depth int  // of the containers that object and array are in
	lines bool // there are line ends between tokens
}

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("at byte %d: %w", s.i, fmt.Errorf(format, args...))
}

func (s *scanner) space() {
	for s.i < len(s.b) && s.b[s.i] <= ' ' {
		switch s.b[s.i] {
		case '\n', '\r':
			s.lines = true
		case ' ', '\t':
		default:
			return
		}
		s.i++
	}
}

// peek returns the next byte, or 0 at the end: 0 is legal nowhere outside strings.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// object skips an object and calls member with each key (quotes included) and value, up to an error.
func (s *scanner) object(member func(key, value []byte) error) error {
	return s.composite('}', func() error {
		start := s.i
		if err := s.name('}'); err != nil {
			return err
		}
		key := s.b[start:s.afterString(start)]
		value, err := s.value()
		if err != nil {
			return err
		}
		return member(key, value)
	})
}

// afterString returns where the string that begins at start and was skipped before ends. Only white space and a colon
// follow it up to where the scanner is.
func (s *scanner) afterString(start int) int {
	end := s.i
	for end > start && s.b[end-1] != '"' {
		end--
	}
	return end
}

// array skips an array and calls element with each value.
func (s *scanner) array(element func(value []byte)) error {
	return s.composite(']', func() error {
		value, err := s.value()
		if err == nil {
			element(value)
		}
		return err
	})
}

// composite skips the brackets and commas around what part skips.
func (s *scanner) composite(end byte, part func() error) error {
	s.depth++
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

// value skips one value and returns its bytes. It does not recurse: most messages are a few deep, some lists are long.
func (s *scanner) value() ([]byte, error) {
	start := s.i
	var room [32]byte
	ends := room[:0] // the brackets that are still to come, the innermost last
	for {
		end, err := s.begin()
		if err != nil {
			return nil, err
		}
		if end != 0 {
			if ends = append(ends, end); len(ends)+s.depth > maxDepth {
				return nil, errDepth
			}
			if s.space(); s.peek() != end {
				if err := s.name(end); err != nil {
					return nil, err
				}
				continue
			}
		}
		if ends, err = s.finish(ends); err != nil {
			return nil, err
		}
		if len(ends) == 0 {
			return s.b[start:s.i], nil
		}
	}
}

// begin skips a scalar, or the bracket that opens a container, whose other bracket it returns.
func (s *scanner) begin() (end byte, err error) {
	switch c := s.peek(); {
	case c == '"':
		return 0, s.str()
	case c == '{':
		s.i++
		return '}', nil
	case c == '[':
		s.i++
		return ']', nil
	case c == '-' || c >= '0' && c <= '9':
		return 0, s.number()
	}
	return 0, s.literal()
}

// finish closes the containers that end here, up to the next value or the end of the outermost.
func (s *scanner) finish(ends []byte) ([]byte, error) {
	for len(ends) > 0 {
		s.space()
		end := ends[len(ends)-1]
		switch s.peek() {
		case end:
			s.i++
			ends = ends[:len(ends)-1]
		case ',':
			s.i++
			s.space()
			return ends, s.name(end)
		default:
			return nil, s.unexpected("a comma or the end of a list")
		}
	}
	return ends, nil
}

// name skips the key and the colon in front of a value, in the container that end closes. Arrays have none.
func (s *scanner) name(end byte) error {
	if end != '}' {
		return nil
	}
	if s.peek() != '"' {
		return s.unexpected("a key")
	}
	if err := s.str(); err != nil {
		return err
	}
	s.space()
	if s.peek() != ':' {
		return s.unexpected("a colon")
	}
	s.i++
	s.space()
	return nil
}

func (s *scanner) unexpected(want string) error {
	if s.i >= len(s.b) {
		return s.errorf("the text ends where %s should be", want)
	}
	return s.errorf("%q where %s should be", s.b[s.i], want)
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
