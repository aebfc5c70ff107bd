package auth

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseChallenges(t *testing.T) {
	bearer := func(pairs ...string) challenge {
		c := challenge{"bearer", map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			c.params[pairs[i]] = pairs[i+1]
		}
		return c
	}
	other := func(scheme string, pairs ...string) challenge {
		c := bearer(pairs...)
		c.scheme = scheme
		return c
	}
	for _, c := range []struct {
		lines []string
		want  []challenge
	}{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"Bearer"}, []challenge{bearer()}},
		{[]string{`Bearer realm="x", scope="a b"`}, []challenge{bearer("realm", "x", "scope", "a b")}},
		{[]string{`BEARER Scope="a"`}, []challenge{bearer("scope", "a")}},
		{[]string{`Bearer realm=""`}, []challenge{bearer("realm", "")}},
		{[]string{`Bearer realm=, error=invalid_token`}, []challenge{bearer("realm", "", "error", "invalid_token")}},
		{[]string{`Bearer error="invalid_token" resource_metadata="https://a/b"`},
			[]challenge{bearer("error", "invalid_token", "resource_metadata", "https://a/b")}},
		{[]string{"Bearer\trealm=\"x\",\terror=\"e\""}, []challenge{bearer("realm", "x", "error", "e")}},
		{[]string{`Bearer error = "e" , scope = s`}, []challenge{bearer("error", "e", "scope", "s")}},
		{[]string{`Bearer error_description="say \"hi\", then \\ go"`},
			[]challenge{bearer("error_description", `say "hi", then \ go`)}},
		{[]string{`Bearer realm="never closed, error=e`}, []challenge{bearer("realm", "never closed, error=e")}},
		{[]string{`Negotiate, Bearer realm="x"`}, []challenge{other("negotiate"), bearer("realm", "x")}},
		{[]string{`Negotiate YIIabc==, Bearer realm="x"`}, []challenge{other("negotiate"), bearer("realm", "x")}},
		{[]string{`NTLM TlRMTVNTUAAB, Bearer scope=a`}, []challenge{other("ntlm"), bearer("scope", "a")}},
		{[]string{`Basic realm="b", Bearer realm="x", DPoP algs="ES256"`},
			[]challenge{other("basic", "realm", "b"), bearer("realm", "x"), other("dpop", "algs", "ES256")}},
		{[]string{`Basic realm="b"`, `Bearer realm="x"`}, []challenge{other("basic", "realm", "b"), bearer("realm", "x")}},
		{[]string{`Bearer scope="first", scope="second"`}, []challenge{bearer("scope", "first")}},
		{[]string{`realm="nowhere", Bearer a=b`}, []challenge{bearer("a", "b")}},
		{[]string{`,,, Bearer a=b,,`}, []challenge{bearer("a", "b")}},
		{[]string{`"stray" Bearer a=b "stray"`}, []challenge{bearer("a", "b")}},
		{[]string{`Bearer resource_metadata=https://h/p?a=b&c=d`}, []challenge{bearer("resource_metadata", "https://h/p?a=b&c=d")}},
	} {
		got := parseChallenges(c.lines)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(challenge{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.lines, diff)
		}
	}
}

func TestReadChallenge(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  wanted
	}{
		{nil, wanted{}},
		{[]string{"Basic realm=x"}, wanted{schemes: []string{"basic"}}},
		{[]string{`Bearer error="insufficient_scope", scope="a  b", error_description="more"`},
			wanted{bearer: true, schemes: []string{"bearer"}, scopes: []string{"a", "b"}, err: "insufficient_scope", errText: "more"}},
		{[]string{`DPoP resource_metadata="https://d"`, `Bearer realm=r`, `Bearer resource_metadata="https://b", realm=s`},
			wanted{bearer: true, schemes: []string{"dpop", "bearer", "bearer"}, metadata: "https://b"}},
		{[]string{`DPoP resource_metadata="https://d"`}, wanted{schemes: []string{"dpop"}, metadata: "https://d"}},
	} {
		got := readChallenge(http.Header{"Www-Authenticate": c.lines})
		if len(got.scopes) == 0 {
			got.scopes = nil
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(wanted{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.lines, diff)
		}
	}
}

// FuzzChallenges checks that any header ends in challenges with sound names, and that what was understood is
// understood again when it is written by the book.
func FuzzChallenges(f *testing.F) {
	for _, seed := range []string{
		`Bearer realm="x", scope="a b"`, `Negotiate YII==, Bearer a="\"", b=`, "a=b=c", `"`, `Bearer "x`, "\x00=\xff",
		`A b= "`, `A =`, `A b==c`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		found := parseChallenges([]string{line})
		for _, c := range found {
			if c.scheme == "" || strings.ContainsAny(c.scheme, ", \t=\"") || c.params == nil {
				t.Fatalf("%q gives the challenge %+v", line, c)
			}
		}
		again := parseChallenges([]string{formatChallenges(found)})
		if diff := cmp.Diff(found, again, cmp.AllowUnexported(challenge{})); diff != "" && len(line) < maxChallengeBytes/4 {
			t.Fatalf("%q is read differently when written by the book (-first +again):\n%s", line, diff)
		}
	})
}

func formatChallenges(all []challenge) string {
	var b strings.Builder
	for i, c := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(c.scheme)
		sep := " "
		for name, value := range c.params {
			b.WriteString(sep + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`)
			sep = ", "
		}
	}
	return b.String()
}

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                       `"plain"`,
		"\x1b[31mred\x07\r\nnew line": `"[31mrednew line"`,
		"bidi\u202eevil\u200b":        `"bidievil"`,
		"bad \xff utf8":               `"bad  utf8"`,
		strings.Repeat("ä", 300):      strconv.Quote(strings.Repeat("ä", 100)),
	} {
		if got := quoted(in); got != want {
			t.Errorf("quoted(%.30q) is %s, want %s", in, got, want)
		}
	}
}
