package envelope

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Most bytes of most messages are in strings, and every message is scanned, so strings are skipped in the fastest way
// that Go has: short ones eight bytes at a time, long ones in blocks, with the search that bytes.IndexByte does in
// assembly. A block is short after each escape and grows, so that text full of escapes is not searched over and over.
const (
	firstBlock = 64
	maxBlock   = 8 << 10
)

// str skips a string.
func (s *scanner) str() error {
	s.i++
	for {
		s.i = skipPlain(s.b, s.i)
		switch c := s.peek(); {
		case c == '"':
			s.i++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case s.i >= len(s.b):
			return s.errorf("the text ends inside a string")
		default:
			return s.errorf("control character %#x in a string", c)
		}
	}
}

// skipPlain returns where, from i on, the next byte of b is that ends a string or must not stand in one, or the end. It
// also skips the escapes of two characters.
func skipPlain(b []byte, i int) int {
	for begun := i; i+8 <= len(b); {
		found := special(binary.LittleEndian.Uint64(b[i:]))
		if found == 0 {
			if i += 8; i-begun >= firstBlock {
				return skipBlocks(b, i)
			}
			continue
		}
		i += bits.TrailingZeros64(found) / 8
		if b[i] != '\\' || i+1 == len(b) || !short(b[i+1]) {
			return i
		}
		i += 2
		begun = i
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// short reports whether c makes an escape with the backslash before it: one of "\/bfnrt.
func short(c byte) bool {
	const marks, letters = 1 | 1<<('/'-'"') | 1<<('\\'-'"'), 1 | 1<<('f'-'b') | 1<<('n'-'b') | 1<<('r'-'b') | 1<<('t'-'b')
	return uint64(marks)>>(c-'"')&1 != 0 || uint64(letters)>>(c-'b')&1 != 0
}

// skipBlocks is skipPlain for what is likely to go on being plain.
func skipBlocks(b []byte, i int) int {
	for block := firstBlock; i < len(b); block = min(2*block, maxBlock) {
		chunk := b[i:min(i+block, len(b))]
		n := plainIn(chunk)
		if i += n; n < len(chunk) {
			break
		}
	}
	return i
}

// plainIn returns how many bytes at the beginning of b are neither quote nor backslash nor control character.
func plainIn(b []byte) int {
	if quote := bytes.IndexByte(b, '"'); quote >= 0 {
		b = b[:quote]
	}
	if slash := bytes.IndexByte(b, '\\'); slash >= 0 {
		b = b[:slash]
	}
	if !hasControl(b) {
		return len(b)
	}
	return bytes.IndexFunc(b, func(r rune) bool { return r < ' ' })
}

const ones, high = 0x0101010101010101, 0x8080808080808080

// special marks, by their high bits, the bytes of w that are a quote, a backslash or a control character. The lowest mark
// is exact; above it there may be too many (the borrow of a subtraction).
func special(w uint64) uint64 {
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	return (below(w) | (quote-ones)&^quote | (slash-ones)&^slash) & high
}

// below sets the high bit of the bytes of w that are less than 0x20, and perhaps of some that follow one.
func below(w uint64) uint64 { return (w - ones*0x20) &^ w }

func hasControl(b []byte) bool {
	var found uint64
	for ; len(b) >= 32; b = b[32:] {
		c := b[:32:32] // one bounds check instead of four
		found |= below(binary.LittleEndian.Uint64(c)) | below(binary.LittleEndian.Uint64(c[8:])) |
			below(binary.LittleEndian.Uint64(c[16:])) | below(binary.LittleEndian.Uint64(c[24:]))
	}
	for _, c := range b {
		if c < 0x20 {
			return true
		}
	}
	return found&high != 0
}

func (s *scanner) escape() error {
	s.i++
	switch c := s.peek(); {
	case short(c):
		s.i++
		return nil
	case c == 'u':
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
