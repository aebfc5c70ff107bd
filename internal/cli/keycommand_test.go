package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitCommand(t *testing.T) {
	for line, want := range map[string][]string{
		"pass show key":      {"pass", "show", "key"},
		"  pass\tshow \nkey": {"pass", "show", "key"},
		`"C:\Program Files\op.exe" read 'op://a b/c'`: {`C:\Program Files\op.exe`, "read", "op://a b/c"},
		`a "" b`:      {"a", "", "b"},
		`a b"c d"'e'`: {"a", "bc de"},
		"a \xcc\xcc":  {"a", "\xcc\xcc"},
		`a "it's"`:    {"a", "it's"},
		`$(id) ; a|b`: {"$(id)", ";", "a|b"},
		"":            nil,
		" ":           nil,
		`""`:          nil,
		`a "b`:        nil,
	} {
		got, err := splitCommand(line)
		if diff := cmp.Diff(want, got); diff != "" || (err != nil) != (want == nil) {
			t.Errorf("%q: error %v (-want +got):\n%s", line, err, diff)
		}
	}
}

func FuzzSplitCommand(f *testing.F) {
	f.Add(`a "b c" 'd'`)
	f.Fuzz(func(t *testing.T, line string) {
		args, err := splitCommand(line)
		if err == nil && (len(args) == 0 || len(strings.Join(args, "")) > len(line)) {
			t.Errorf("%q gives %q", line, args)
		}
	})
}
