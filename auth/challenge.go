package auth

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// challenge is one entry of a WWW-Authenticate header (RFC 9110 section 11.6.1). Scheme and parameter names are lower
// case.
type challenge struct {
	scheme string
	params map[string]string
}

// maxChallengeBytes bounds what is read of one header line; the rest is ignored.
const maxChallengeBytes = 16 << 10

// parseChallenges reads WWW-Authenticate lines. It never fails: what servers send is often not quite the grammar
// (missing commas, empty values, tabs, stray quotes), and what is legible is used. Of a repeated parameter the first
// counts.
func parseChallenges(lines []string) []challenge {
	var all []challenge
	for _, line := range lines {
		p := challengeParser{rest: cut(line, maxChallengeBytes)}
		all = append(all, p.parse()...)
	}
	return all
}

type challengeParser struct {
	rest  string
	found []challenge
}

// parse tells apart what the grammar makes ambiguous by looking one character ahead: a word before "=" is a parameter
// of the challenge before it, any other word begins a challenge, unless it stands where a token68 may stand.
func (p *challengeParser) parse() []challenge {
	for p.skip(", \t"); p.rest != ""; p.skip(", \t") {
		word := p.word()
		switch {
		case word == "":
			p.value() // a stray "=" or quoted string belongs to nothing
		case p.skip(" \t") && strings.HasPrefix(p.rest, "="):
			p.param(word)
		default:
			p.found = append(p.found, challenge{strings.ToLower(word), map[string]string{}})
			p.token68()
		}
	}
	return p.found
}

// skip drops leading characters of set. It always reports true.
func (p *challengeParser) skip(set string) bool {
	p.rest = strings.TrimLeft(p.rest, set)
	return true
}

// word reads up to a character that ends a token.
func (p *challengeParser) word() string { return p.until(", \t=\"") }

func (p *challengeParser) until(set string) string {
	end := strings.IndexAny(p.rest, set)
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

// param stores the value after "=" under name in the last challenge; before the first one there is nowhere to put it.
func (p *challengeParser) param(name string) {
	value := p.value()
	if len(p.found) == 0 {
		return
	}
	params, name := p.found[len(p.found)-1].params, strings.ToLower(name)
	if _, repeated := params[name]; !repeated {
		params[name] = value
	}
}

// value reads "=" and a token or quoted string. It always consumes something.
func (p *challengeParser) value() string {
	p.skip("=")
	p.skip(" \t")
	if !strings.HasPrefix(p.rest, `"`) {
		return p.until(", \t\"")
	}
	return p.quotedString()
}

// quotedString reads RFC 9110 section 5.6.4, to the end of the line where the closing quote is missing.
func (p *challengeParser) quotedString() string {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	p.rest = ""
	return b.String()
}

// token68 drops the credentials-like blob that may follow a scheme ("Negotiate YII=").
func (p *challengeParser) token68() {
	end := strings.IndexAny(p.rest, ", \t\"")
	if end < 0 {
		end = len(p.rest)
	}
	blob := strings.TrimRight(p.rest[:end], "=")
	if !strings.Contains(blob, "=") && !p.beginsParam(blob, end) {
		p.rest = p.rest[end:]
	}
}

// beginsParam reports whether what looks like a token68 of length end is the name of a parameter: something follows
// its "=".
func (p *challengeParser) beginsParam(blob string, end int) bool {
	if len(blob) < end { // "name=" and then a quote, or "blob=="
		return strings.HasPrefix(p.rest[end:], `"`) || end == len(blob)+1
	}
	return strings.HasPrefix(strings.TrimLeft(p.rest[end:], " \t"), "=")
}

// wanted is what the WWW-Authenticate header of a refusal says, Bearer challenges merged.
type wanted struct {
	bearer   bool
	schemes  []string // all schemes, in order
	metadata string   // resource_metadata (RFC 9728 section 5.1); any scheme may carry it
	scopes   []string // RFC 6750 section 3
	err      string
	errText  string
	demands  url.Values // parameters of the authorization request: how to sign in, as opposed to what for
	open     bool       // the server answered without asking for anything
}

func readChallenge(h http.Header) wanted {
	var w wanted
	bearer := map[string]string{}
	for _, c := range parseChallenges(h.Values("WWW-Authenticate")) {
		w.schemes = append(w.schemes, c.scheme)
		if w.metadata == "" {
			w.metadata = c.params["resource_metadata"]
		}
		if c.scheme == "bearer" {
			w.bearer = true
			merged := maps.Clone(c.params)
			maps.Copy(merged, bearer)
			bearer = merged
		}
	}
	if m := bearer["resource_metadata"]; m != "" {
		w.metadata = m
	}
	w.scopes, w.err, w.errText = legible(strings.Fields(bearer["scope"])), bearer["error"], bearer["error_description"]
	w.demands = demandsOf(bearer)
	return w
}

// union returns the scopes of both lists, each once, in order.
func union(a, b []string) []string {
	var all []string
	for _, s := range slices.Concat(a, b) {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
