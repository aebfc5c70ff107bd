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
	block := firstBlock
	for {
		s.plain(block)
		switch c := s.peek(); {
		case c == '"':
			s.i++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
			block = firstBlock
		case s.i >= len(s.b):
			return s.errorf("the text ends inside a string")
		default:
			return s.errorf("control character %#x in a string", c)
		}
	}
}

// plain skips what a string may hold, up to a quote, a backslash, a control character or the end.
func (s *scanner) plain(block int) {
	for range firstBlock / 8 {
		if s.i+8 > len(s.b) {
			break
		}
		if found := special(binary.LittleEndian.Uint64(s.b[s.i:])); found != 0 {
			s.i += bits.TrailingZeros64(found) / 8
			return
		}
		s.i += 8
	}
	for s.i < len(s.b) {
		chunk := s.b[s.i:min(s.i+block, len(s.b))]
		n := plainIn(chunk)
		if s.i += n; n < len(chunk) {
			return
		}
		block = min(2*block, maxBlock)
	}
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
