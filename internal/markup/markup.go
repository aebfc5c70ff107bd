// Package markup fills HTML pages.
//
// It stands in for html/template, which calls methods by name: the linker then has to keep every exported method of
// every package, 2.3 MB of a program that shows one page. In exchange a page may only have places in text and in
// double-quoted attributes, where one way of escaping is right, and choices and loops are Go.
package markup

import (
	"fmt"
	"html"
	"strings"
)

// HTML is markup that a browser may be given.
type HTML string

// Text turns any text into markup that shows it.
func Text(s string) HTML { return HTML(html.EscapeString(s)) }

// Fill replaces each {{name}} of page by values[name]. A name without a value is an error, so that no page is shown
// with a hole in it.
func Fill(page HTML, values map[string]HTML) (HTML, error) {
	var out strings.Builder
	rest := string(page)
	for {
		before, after, found := strings.Cut(rest, "{{")
		out.WriteString(before)
		if !found {
			return HTML(out.String()), nil
		}
		name, tail, closed := strings.Cut(after, "}}")
		value, known := values[name]
		if !closed || !known {
			return "", fmt.Errorf("a page has no value for %.40q", name)
		}
		out.WriteString(string(value))
		rest = tail
	}
}
