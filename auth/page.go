package auth

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"drawbridge/internal/markup"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// page is what the human sees in the browser when the identity provider sends them back. It holds no secret.
type page struct {
	Title   string
	Text    string
	Good    bool
	Server  string
	Account string // "" when unknown
	Scopes  []string
}

// show writes p with headers that let the page do nothing but be read: no script, no frame, no referrer, no cache.
func (p page) show(w http.ResponseWriter, status int) {
	body, err := p.markup()
	if err != nil {
		http.Error(w, p.Title, http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Content-Security-Policy", contentSecurityPolicy())
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Connection", "close") // the port is given up right after
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the browser may be gone; the outcome does not depend on it
}

func (p page) markup() (markup.HTML, error) {
	outcome := "bad"
	if p.Good {
		outcome = "good"
	}
	return markup.Fill(markup.HTML(pageHTML), map[string]markup.HTML{
		"title": markup.Text(p.Title), "style": markup.HTML(pageCSS), "outcome": markup.Text(outcome), "text": markup.Text(p.Text), "details": p.details(),
	})
}

// details are the rows of what is known about the sign-in.
func (p page) details() (rows markup.HTML) {
	row := func(name string, value markup.HTML) {
		if value != "" {
			rows += "<dt>" + markup.Text(name) + "</dt><dd>" + value + "</dd>"
		}
	}
	var scopes markup.HTML
	for _, s := range p.Scopes {
		scopes += "<code>" + markup.Text(s) + "</code> "
	}
	row("Server", markup.Text(p.Server))
	row("Account", markup.Text(p.Account))
	row("Allowed", scopes)
	return rows
}

// contentSecurityPolicy allows the one style sheet by its hash and nothing else.
func contentSecurityPolicy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return strings.Join([]string{
		"default-src 'none'",
		"style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
}
