package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"drawbridge/auth/guard"
	"drawbridge/internal/secret"
)

// Sessions binds the session ids of the server behind to the person who got them, without a table: the id handed out is the
// server's, a dot, and a MAC over it and the account. Whoever knows the keys can check it, so instances of a guard need
// to share nothing else. (MCP, security best practices, session hijacking: bind sessions to the user.)
type Sessions struct {
	keys [][]byte // the first makes ids, all check them
}

// minKey is how many bytes a key must have: as many as the hash puts out (RFC 2104 section 3).
const minKey = sha256.Size

// macBytes of the MAC are handed out: 128 bits, as RFC 2104 section 5 allows.
const macBytes = 16

var macText = base64.RawURLEncoding

// NewSessions takes the keys that all instances share. The first is used for new sessions, the others for those that were
// begun before a change.
func NewSessions(keys ...secret.Text) (*Sessions, error) {
	s := &Sessions{}
	for i, key := range keys {
		raw := []byte(key.Reveal())
		if len(raw) < minKey {
			return nil, fmt.Errorf("session key %d has %d bytes, want at least %d", i+1, len(raw), minKey)
		}
		s.keys = append(s.keys, raw)
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("no session key")
	}
	return s, nil
}

// Bind returns the id to hand out for a session of the server behind.
func (s *Sessions) Bind(upstream string, id *guard.Identity) string {
	return upstream + "." + macText.EncodeToString(mac(s.keys[0], upstream, id))
}

// Open returns the server's session id, if the bound one was handed out to this account.
func (s *Sessions) Open(bound string, id *guard.Identity) (upstream string, ok bool) {
	dot := strings.LastIndexByte(bound, '.')
	if dot <= 0 {
		return "", false
	}
	sent, err := macText.Strict().DecodeString(bound[dot+1:])
	if err != nil {
		return "", false
	}
	for _, key := range s.keys {
		if hmac.Equal(sent, mac(key, bound[:dot], id)) {
			return bound[:dot], true
		}
	}
	return "", false
}

// mac covers each part with its length, so that no two lists of parts are the same text.
func mac(key []byte, upstream string, id *guard.Identity) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range []string{"drawbridge session 1", upstream, id.Issuer, id.Subject} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		_, _ = h.Write(size[:]) // a hash takes everything
		_, _ = h.Write([]byte(part))
	}
	return h.Sum(nil)[:macBytes]
}
