package demo

import (
	"html"
	"net/url"
	"regexp"
	"strings"

	"drawbridge/internal/secret"
)

// form is an HTML form as far as the identity provider's pages use them.
type form struct {
	action   string
	values   url.Values // of the fields that have a name
	password string     // name of the password field, or ""
	user     string     // name of the text field, or ""
	buttons  []button
}

type button struct{ name, value string }

var (
	formElement = regexp.MustCompile(`(?is)<form\b([^>]*)>(.*?)</form>`)
	formField   = regexp.MustCompile(`(?is)<(input|button)\b([^>]*)>`)
	attribute   = regexp.MustCompile(`(?s)([a-zA-Z-]+)(?:\s*=\s*"([^"]*)")?`)
	hiddenText  = regexp.MustCompile(`(?is)<(head|style|script)\b.*?</(head|style|script)>`)
	anyTag      = regexp.MustCompile(`(?s)<[^>]*>`)
)

// firstForm reads the first form of a page, or returns nil. It understands double-quoted attributes, which is what
// the pages have.
func firstForm(page string) *form {
	found := formElement.FindStringSubmatch(page)
	if found == nil {
		return nil
	}
	f := &form{action: attributes(found[1])["action"], values: url.Values{}}
	for _, field := range formField.FindAllStringSubmatch(found[2], -1) {
		f.add(strings.ToLower(field[1]), attributes(field[2]))
	}
	return f
}

func (f *form) add(element string, a map[string]string) {
	switch {
	case a["name"] == "":
	case element == "button" || a["type"] == "submit":
		f.buttons = append(f.buttons, button{a["name"], a["value"]})
	case a["type"] == "password":
		f.password = a["name"]
	case a["type"] == "hidden":
		f.values.Set(a["name"], a["value"])
	default:
		f.user = a["name"]
	}
}

func attributes(tag string) map[string]string {
	found := map[string]string{}
	for _, a := range attribute.FindAllStringSubmatch(tag, -1) {
		found[strings.ToLower(a[1])] = html.UnescapeString(a[2])
	}
	return found
}

// fill does what a person does: user and password where they are asked for, and one of the buttons.
func (f *form) fill(user string, password secret.Text, deny bool) {
	if f.user != "" {
		f.values.Set(f.user, user)
	}
	if f.password != "" {
		f.values.Set(f.password, password.Reveal())
	}
	for _, b := range f.buttons {
		if (b.value == "deny") == deny {
			f.values.Set(b.name, b.value)
		}
	}
}

// pageText is what a person reads on a page, on one line.
func pageText(page string) string {
	text := anyTag.ReplaceAllString(hiddenText.ReplaceAllString(page, " "), " ")
	return strings.Join(strings.Fields(html.UnescapeString(text)), " ")
}
