// Package audit writes down what was decided, one JSON line each, so that a line that is changed, taken out or put in later
// is noticed.
//
//	{"instance":"4f1c...","seq":7,"prev":"<hash of line 6>","time":...,...,"hash":"<SHA-256 of all before this member>"}
//
// Every instance has a chain of its own: lines are numbered from 1, and each holds the hash of the one before. [Log] writes
// the chain and goes on with it after a restart or a crash; [Verify] reads it, in one file or many.
//
// The chain proves that lines belong together, not who wrote them: whoever may write the file can write a new chain. So the
// head (the last number and hash) should be kept elsewhere from time to time, and a file whose end was cut off at a line's
// end is noticed by that head only.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Entry is what a line says. It holds no token, and arguments of calls only where the guard was asked for them.
type Entry struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"` // EventStart or EventDecision

	Issuer   string   `json:"issuer,omitempty"`
	Subject  string   `json:"subject,omitempty"`
	Email    string   `json:"email,omitempty"`
	Username string   `json:"username,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Client   string   `json:"client,omitempty"`
	Token    string   `json:"token,omitempty"` // the beginning of its hash
	Via      string   `json:"via,omitempty"`

	HTTPMethod string `json:"http_method,omitempty"`
	Remote     string `json:"remote,omitempty"`
	Session    string `json:"session,omitempty"` // the beginning of its hash
	Method     string `json:"method,omitempty"`
	Target     string `json:"target,omitempty"` // tool, prompt or resource
	Name       string `json:"name,omitempty"`
	ID         string `json:"id,omitempty"`        // JSON text
	Arguments  string `json:"arguments,omitempty"` // JSON text

	Decision   string        `json:"decision,omitempty"`
	Reason     string        `json:"reason,omitempty"`
	Rule       string        `json:"rule,omitempty"`
	Status     int           `json:"status,omitempty"`
	Deprecated string        `json:"deprecated,omitempty"`
	Took       time.Duration `json:"took_ns,omitempty"`
	Trace      string        `json:"trace,omitempty"`
}

// What a line is about.
const (
	EventStart    = "start"    // the log was opened
	EventDecision = "decision" // a request was judged
)

// maxText is how many bytes of one text are written; a client decides how long a name is.
const maxText = 1024

// maxArguments is how many bytes of the arguments of a call are written.
const maxArguments = 8 << 10

// position is a place in a chain.
type position struct {
	Instance string `json:"instance"`
	Seq      uint64 `json:"seq"`
	Prev     string `json:"prev"`
}

// record is a line without its hash.
type record struct {
	position
	Entry
}

// genesis is what the first line of a chain has for prev.
var genesis = hex.EncodeToString(make([]byte, sha256.Size))

// The hash stands last, so that what it covers is the text before it, byte by byte.
const (
	hashPrefix = `,"hash":"`
	hashSuffix = `"}`
	tailLen    = len(hashPrefix) + 2*sha256.Size + len(hashSuffix)
)

// encode returns the line, its end included, and its hash.
func encode(at position, e Entry) (line []byte, hash string, err error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(record{at, e.cut()}); err != nil {
		return nil, "", err
	}
	line = bytes.TrimSuffix(out.Bytes(), []byte("}\n"))
	hash = sum(line)
	return fmt.Appendf(line, "%s%s%s\n", hashPrefix, hash, hashSuffix), hash, nil
}

func sum(text []byte) string {
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}

// cut shortens what others decide the length of.
func (e Entry) cut() Entry {
	for _, s := range []*string{
		&e.Issuer, &e.Subject, &e.Email, &e.Username, &e.Client, &e.HTTPMethod, &e.Remote, &e.Session, &e.Method, &e.Name, &e.ID,
		&e.Reason, &e.Rule, &e.Deprecated, &e.Trace,
	} {
		*s = cut(*s, maxText)
	}
	e.Arguments = cut(e.Arguments, maxArguments)
	return e
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s... (%d bytes)", s[:end], len(s))
}

// errAltered means that a line is not what was written.
type errAltered string

// Error says what is wrong with the line.
func (e errAltered) Error() string { return string(e) }

// decode checks a line, without its end, against its own hash and returns its place. stated is the hash that the line says
// it has, as far as one can be read.
func decode(line []byte) (at position, when time.Time, hash, stated string, err error) {
	if len(line) < tailLen {
		return at, when, "", "", errAltered("the line is too short to be one")
	}
	covered, tail := line[:len(line)-tailLen], line[len(line)-tailLen:]
	hash, stated = sum(covered), string(tail[len(hashPrefix):tailLen-len(hashSuffix)])
	if !bytes.HasPrefix(tail, []byte(hashPrefix)) || !bytes.HasSuffix(tail, []byte(hashSuffix)) {
		return at, when, hash, stated, errAltered("the line does not end with a hash")
	}
	if hash != stated {
		return at, when, hash, stated, errAltered("the line was altered: its hash does not fit")
	}
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return at, when, hash, stated, errAltered("the line is no record")
	}
	return r.position, r.Time, hash, stated, nil
}
