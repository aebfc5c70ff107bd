package auth

import (
	"net/http"
	"slices"
	"testing"
)

func TestCharsets(t *testing.T) {
	for s, want := range map[string]struct{ visible, scope bool }{
		"":                  {true, false},
		"mcp":               {true, true},
		"a b":               {true, false},
		"https://x/y:z,~!#": {true, true},
		`a"b`:               {true, false},
		`a\b`:               {true, false},
		"a\tb":              {},
		"a\x1b[2J":          {},
		"a\x7f":             {},
		"a\nb":              {},
		"\u202egnp":         {},
		"\xff":              {},
		"ü":                 {},
	} {
		if isVisible(s) != want.visible || isScope(s) != want.scope {
			t.Errorf("%q: visible %v, scope %v; want %+v", s, isVisible(s), isScope(s), want)
		}
	}
}

// TestIllegibleScopes: what a challenge or metadata names as scope and is none is not asked for, and not shown.
func TestIllegibleScopes(t *testing.T) {
	w := readChallenge(http.Header{"Www-Authenticate": {"Bearer scope=\"mcp \x1b[2J \u202eadmin files\""}})
	if !slices.Equal(w.scopes, []string{"mcp", "files"}) {
		t.Errorf("the challenge asks for %q", w.scopes)
	}
	st := newStage(t)
	claimed("scopes_supported", always([]string{"mcp", "\x1b[2J", "a b", ""}))(st)
	p, _, _ := st.pending(st.session())
	if asked := st.pendingRecord().Scopes; !slices.Equal(asked, []string{"mcp"}) {
		t.Errorf("the sign-in at %s asks for %q", p.URL, asked)
	}
}
