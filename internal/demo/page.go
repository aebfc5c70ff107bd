package demo

import (
	"embed"
	"net/http"
	"net/url"

	"drawbridge/internal/markup"
)

//go:embed pages
var pageFiles embed.FS

// pages are the HTML pages of the identity provider. None has a script.
type pages struct {
	layout markup.HTML
	bodies map[string]markup.HTML
	css    []byte
}

func readPages() (*pages, error) {
	all := &pages{bodies: map[string]markup.HTML{}}
	for _, name := range []string{"layout", "login", "consent", "problem"} {
		text, err := pageFiles.ReadFile("pages/" + name + ".html")
		if err != nil {
			return nil, err
		}
		all.bodies[name] = markup.HTML(text)
	}
	all.layout = all.bodies["layout"]
	var err error
	all.css, err = pageFiles.ReadFile("pages/style.css")
	return all, err
}

// page is what the pages show. Path is the issuer's path, in front of every link.
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
	all.write(w, status, "login", "Sign in", formTargets(v.redirectURI), data)
}

func (all *pages) consent(w http.ResponseWriter, path string, v view) {
	all.write(w, http.StatusOK, "consent", "Allow access", formTargets(v.redirectURI), pageOf(path, v))
}

func (all *pages) problem(w http.ResponseWriter, status int, text string) {
	all.write(w, status, "problem", "Not possible", "'none'", page{Problem: text})
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

func (all *pages) write(w http.ResponseWriter, status int, name, title, formAction string, data page) {
	body, err := all.fill(name, title, data)
	if err != nil {
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
	_, _ = w.Write([]byte(body)) // the browser may have left
}

// fill puts a page into the layout.
func (all *pages) fill(name, title string, data page) (markup.HTML, error) {
	content, err := markup.Fill(all.bodies[name], data.places())
	if err != nil {
		return "", err
	}
	return markup.Fill(all.layout, map[string]markup.HTML{"title": markup.Text(title), "path": markup.Text(data.Path), "content": content})
}

func (p page) places() map[string]markup.HTML {
	at := map[string]markup.HTML{"path": markup.Text(p.Path), "request": markup.Text(p.Request), "csrf": markup.Text(p.CSRF),
		"user": markup.Text(p.User), "client": markup.Text(p.Client), "resource": markup.Text(p.Resource), "answer": markup.Text(p.Answer),
		"where": "", "warning": "", "problem": "", "scopes": ""}
	if p.Loopback {
		at["where"] = " (a program on this computer)"
		at["warning"] = `<p class="note">Go on only if you have just started the sign-in on this computer yourself.</p>`
	}
	if p.Problem != "" {
		at["problem"] = `<p class="problem" role="alert">` + markup.Text(p.Problem) + "</p>"
	}
	for _, s := range p.Scopes {
		at["scopes"] += "<li>" + markup.Text(s) + "</li>"
	}
	return at
}

func (all *pages) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(all.css) // the browser may have left
}
