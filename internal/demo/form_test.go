package demo

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/secret"
)

func TestFirstForm(t *testing.T) {
	const page = `<html><head><title>T</title><style>p{}</style></head><body><h1>A &amp; B</h1>
<form method="post" action="/login?a=1&amp;b=2">
<input type="hidden" name="csrf" value="x&#34;y"><INPUT NAME="user" type="text" required>
<input name="password" type="password"><input value="nameless">
<button type="submit" name="decision" value="allow">Go</button><button name="decision" value="deny">No</button>
</form><form action="/other"></form></body></html>`
	f := firstForm(page)
	f.fill("ada", secret.New("p"), false)
	if f.action != "/login?a=1&b=2" {
		t.Errorf("action %q", f.action)
	}
	want := url.Values{"csrf": {`x"y`}, "user": {"ada"}, "password": {"p"}, "decision": {"allow"}}
	if diff := cmp.Diff(want, f.values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	f.fill("ada", secret.New("p"), true)
	if got := f.values["decision"]; !cmp.Equal(got, []string{"deny"}) {
		t.Errorf("the other button gave %q", got)
	}
	if got := pageText(page); got != "A & B Go No" {
		t.Errorf("text %q", got)
	}
	if firstForm("<p>none</p>") != nil {
		t.Error("a form where there is none")
	}
}

// FuzzFirstForm: the last page of a sign-in is the client's, so its bytes are foreign.
func FuzzFirstForm(f *testing.F) {
	f.Add(`<form action="/x"><input name="a" value="b"></form>`)
	f.Add(`<form><button name=x></form><style`)
	f.Fuzz(func(t *testing.T, page string) {
		if found := firstForm(page); found != nil {
			found.fill("u", secret.New("p"), false)
		}
		if text := pageText(page); strings.Contains(text, "\n") {
			t.Errorf("text of %q has a line break: %q", page, text)
		}
	})
}
