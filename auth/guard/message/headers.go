package message

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// CodeHeaderMismatch is the JSON-RPC code for headers that contradict the body (2026-07-28).
const CodeHeaderMismatch = -32020

// modern is the first revision whose headers repeat what the body says.
const modern = "2026-07-28"

// The headers of Streamable HTTP that are looked at.
const (
	versionHeader = "Mcp-Protocol-Version"
	methodHeader  = "Mcp-Method"
	nameHeader    = "Mcp-Name"
)

// CheckHeaders holds the headers that repeat the body (MCP 2026-07-28, Streamable HTTP) against it. A header that is there
// must be right in every revision, because something between here and the server may believe it; from 2026-07-28 on the
// headers must be there. Its error is answered with 400 and [CodeHeaderMismatch].
func (b Body) CheckHeaders(h http.Header) error {
	version, sent, err := single(h, versionHeader)
	if err != nil {
		return err
	}
	for _, m := range b.Messages {
		if m.Kind == Response {
			continue
		}
		if err := m.checkVersion(version, sent); err != nil {
			return err
		}
		required := version >= modern && m.Kind == Request
		if err := check(h, methodHeader, m.Method, required); err != nil {
			return err
		}
		if err := check(h, nameHeader, m.mirrored, required && m.mirrored != ""); err != nil {
			return err
		}
	}
	return nil
}

func (m Message) checkVersion(header string, sent bool) error {
	switch {
	case m.Version != "" && !sent:
		return fmt.Errorf("header %s is missing, the message says %.40q", versionHeader, m.Version)
	case m.Version != "" && header != m.Version:
		return fmt.Errorf("header %s is %.40q, the message says %.40q", versionHeader, header, m.Version)
	}
	return nil
}

// check compares one header with the body. want is "" if the message has no such value.
func check(h http.Header, name, want string, required bool) error {
	value, sent, err := single(h, name)
	if err != nil {
		return err
	}
	if !sent {
		if required {
			return fmt.Errorf("header %s is missing, the message says %.100q", name, want)
		}
		return nil
	}
	got, err := decode(value)
	if err != nil {
		return fmt.Errorf("header %s: %w", name, err)
	}
	if got != want {
		return fmt.Errorf("header %s is %.100q, the message says %.100q", name, got, want)
	}
	return nil
}

// single returns a header's value. One that stands twice is an error: readers differ in which they take.
func single(h http.Header, name string) (value string, sent bool, err error) {
	values := h[name]
	if len(values) > 1 {
		return "", true, fmt.Errorf("header %s stands %d times", name, len(values))
	}
	if len(values) == 0 {
		return "", false, nil
	}
	return values[0], true, nil
}

// decode undoes the encoding of values that are no plain ASCII (2026-07-28, Streamable HTTP, value encoding).
func decode(value string) (string, error) {
	const prefix, suffix = "=?base64?", "?="
	inner, ok := strings.CutPrefix(value, prefix)
	if !ok || !strings.HasSuffix(inner, suffix) {
		return value, nil
	}
	text, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(inner, suffix))
	if err != nil {
		return "", fmt.Errorf("value %.100q is no base64", value)
	}
	return string(text), nil
}
