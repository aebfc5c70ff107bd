package guard

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// staticIssuer is the [Identity.Issuer] of static tokens. It is no URL, so no authorization server can be called that.
const staticIssuer = "static"

// StaticToken is a bearer token from before: still accepted for a while, so that a team can see who uses it and switch it
// off. Only its hash is known here. The hash protects a token that was made at random; one that somebody thought up can
// be guessed from it.
type StaticToken struct {
	// Name says which token it is, in the audit and to its user. It becomes the subject.
	Name string

	// SHA256 is the hash of the token in hex.
	SHA256 string

	// Until is when it ends. It is required: a static token without an end is what the guard is there to remove.
	Until time.Time

	// Scopes and Groups are granted to whoever has the token.
	Scopes, Groups []string
}

// staticTokens finds static tokens by their hash. What is compared is the hash of what the caller sent, whose bytes he
// cannot choose: the time it takes tells nothing.
type staticTokens map[tokenKey]StaticToken

func readStaticTokens(list []StaticToken) (staticTokens, error) {
	tokens, names := staticTokens{}, map[string]bool{}
	for _, t := range list {
		key, err := t.key()
		if err != nil {
			return nil, fmt.Errorf("static token %s: %w", quoted(t.Name), err)
		}
		if _, twice := tokens[key]; twice || names[t.Name] {
			return nil, fmt.Errorf("static token %s: its name or hash is there twice", quoted(t.Name))
		}
		tokens[key], names[t.Name] = t, true
	}
	return tokens, nil
}

func (t StaticToken) key() (key tokenKey, err error) {
	hash, err := hex.DecodeString(t.SHA256)
	switch {
	case t.Name == "" || printable(t.Name) != t.Name:
		return key, errors.New("want a name in printable ASCII")
	case err != nil || len(hash) != len(key):
		return key, errors.New("want the SHA-256 of the token as 64 hexadecimal digits")
	case t.Until.IsZero():
		return key, errors.New("want the date on which it ends")
	case hash[0] == 0 && [32]byte(hash) == [32]byte{}:
		return key, errors.New("the hash is all zeros")
	}
	return tokenKey(hash), nil
}

// identity returns whom a static token speaks for; false if it is none.
func (s staticTokens) identity(key tokenKey, now time.Time) (*Identity, bool, *refusal) {
	t, ok := s[key]
	if !ok {
		return nil, false, nil
	}
	end := t.Until.UTC().Format(time.DateOnly)
	if !now.Before(t.Until) {
		return nil, true, badToken(fmt.Sprintf("the static token %q ended on %s: sign in instead", t.Name, end))
	}
	return &Identity{
		Issuer: staticIssuer, Subject: t.Name, ClientID: t.Name, Scopes: t.Scopes, Groups: t.Groups, Expiry: t.Until,
		TokenHash: key.String(), Via: ViaStatic, sunset: t.Until,
		Deprecated: fmt.Sprintf("the static token %q is accepted until %s: sign in instead", t.Name, end),
	}, true, nil
}

// announce tells the user of a static token about its end: the date for programs (RFC 8594), the words for people.
func (id *Identity) announce(h http.Header, now time.Time) {
	if id.Deprecated == "" {
		return
	}
	h.Set("Deprecation", "@"+strconv.FormatInt(now.Unix(), 10)) // RFC 9745: deprecated already
	h.Set("Sunset", id.sunset.UTC().Format(http.TimeFormat))
	h.Set("Deprecation-Notice", printable(id.Deprecated))
}
