package demo

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
)

//go:embed pages
var pageFiles embed.FS

// pages are the HTML pages of the identity provider. None has a script.
type pages struct {
	templates map[string]*template.Template
	css       []byte
}

func parsePages() (*pages, error) {
	all := &pages{templates: map[string]*template.Template{}}
	for _, name := range []string{"login", "consent", "problem"} {
		t, err := template.ParseFS(pageFiles, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, err
		}
		all.templates[name] = t
	}
	var err error
	all.css, err = pageFiles.ReadFile("pages/style.css")
	return all, err
}

// page is what the templates know. Path is the issuer's path, in front of every link.
type page struct {
	Path, Request, CSRF  string
	User, Client, Answer string // Answer is the host that gets the authorization response
	Loopback             bool   // Answer is a program on this computer
	Resource             string
	Scopes               []string
	Problem              string
}

func pageOf(path string, v view) page {
	to, err := url.Parse(v.redirectURI)
	if err != nil {
		to = &url.URL{Host: "an unreadable address"}
	}
	name := v.client.Name
	if name == "" {
		name = v.client.ID
	}
	return page{Path: path, Request: v.id, CSRF: v.csrf, User: v.user, Client: name, Answer: to.Host,
		Loopback: isLoopback(to.Hostname()), Resource: v.resource, Scopes: v.scopes}
}

func (all *pages) login(w http.ResponseWriter, status int, path string, v view, problem string) {
	data := pageOf(path, v)
	data.Problem = problem
	all.write(w, status, "login", formTargets(v.redirectURI), data)
}

func (all *pages) consent(w http.ResponseWriter, path string, v view) {
	all.write(w, http.StatusOK, "consent", formTargets(v.redirectURI), pageOf(path, v))
}

func (all *pages) problem(w http.ResponseWriter, status int, text string) {
	all.write(w, status, "problem", "'none'", page{Problem: text})
}

// formTargets is the form-action of a page whose form ends in a redirect to the client: Chromium applies form-action
// to redirects as well. CSP has no way to write an IPv6 address, so those get the whole scheme.
func formTargets(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	switch {
	case err != nil:
		return "'self'"
	case u.Host == "" || u.Host[0] == '[':
		return "'self' " + u.Scheme + ":"
	}
	return "'self' " + u.Scheme + "://" + u.Host
}

func (all *pages) write(w http.ResponseWriter, status int, name, formAction string, data page) {
	var body bytes.Buffer
	if err := all.templates[name].ExecuteTemplate(&body, "layout.html", data); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "+formAction)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the browser may have left
}

func (all *pages) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(all.css) // the browser may have left
}
