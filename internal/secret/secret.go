// Package secret holds text that no formatter, logger or encoder shows.
//
// A token, client secret or key is a [Text] from the moment it is parsed until the moment it is used. The only way
// out is [Text.Reveal]; `git grep 'Reveal()'` lists every place where a secret leaves its wrapping.
package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Text is a secret string. Its zero value is the empty secret.
//
// It is a struct around a pointer, not a named string, because fmt, slog and reflection print named strings that sit
// in unexported fields without asking any method; a pointer shows at most an address.
type Text struct{ p *string }

// redacted stands in for every secret that something tries to print.
const redacted = "[secret]"

// errMarshal is returned by the encoders: a secret that reaches one by accident must fail loudly, not leak.
var errMarshal = errors.New("a secret cannot be marshalled; reveal it on purpose")

// New wraps s.
func New(s string) Text { return Text{&s} }

// Reveal returns the secret itself. Its callers are the places that send, store or compare secrets, and no others.
func (t Text) Reveal() string {
	if t.p == nil {
		return ""
	}
	return *t.p
}

// IsZero reports whether the secret is empty.
func (t Text) IsZero() bool { return t.p == nil || *t.p == "" }

// Equal compares two secrets in constant time.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(other.Reveal())) == 1
}

// Format implements [fmt.Formatter] for every verb, so that no verb falls back to reflection.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns a stand-in.
func (t Text) String() string { return redacted }

// LogValue implements [slog.LogValuer].
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses, which also covers encoding/json.
func (t Text) MarshalText() ([]byte, error) { return nil, errMarshal }

// MarshalBinary refuses, which covers encoding/gob.
func (t Text) MarshalBinary() ([]byte, error) { return nil, errMarshal }
