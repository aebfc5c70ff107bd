package auth

import (
	"slices"
	"strings"
)

// The character sets of RFC 6749 appendix A. What a server sends outside of them could play tricks on the terminal or page
// that shows it.

// isVisible reports whether s consists of VSCHAR only, as client ids and tokens do, apart from spaces.
func isVisible(s string) bool { return consists(s, func(r rune) bool { return ' ' <= r && r <= '~' }) }

// isScope reports whether s is a scope-token (appendix A.4).
func isScope(s string) bool {
	return s != "" && consists(s, func(r rune) bool { return '!' <= r && r <= '~' && r != '"' && r != '\\' })
}

func consists(s string, of func(rune) bool) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !of(r) })
}

// legible returns the scopes that are some. It is for lists that name what may be asked for.
func legible(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !isScope(s) })
}
