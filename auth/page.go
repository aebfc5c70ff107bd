package auth

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

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
	var b bytes.Buffer
	data := struct {
		page
		Style template.CSS
	}{p, template.CSS(pageCSS)}
	if err := pageTemplate.Execute(&b, data); err != nil {
		http.Error(w, p.Title, http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Content-Security-Policy", contentSecurityPolicy())
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Connection", "close") // the port is given up right after
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser may be gone; the outcome does not depend on it
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
