package demo

import (
	"net/http"

	"drawbridge/internal/secret"
)

// session is one browser. It begins with an authorization request, before anybody has logged in.
type session struct {
	cookie string
	csrf   string
	user   string // "" until login
}

func (s *state) newSession() *session {
	one := &session{cookie: s.newSecret("session"), csrf: s.newSecret("csrf")}
	s.sessions[one.cookie] = one
	return one
}

// sessionOf finds the browser of r, or nil.
func (s *state) sessionOf(r *http.Request, cookie string) *session {
	c, err := r.Cookie(cookie)
	if err != nil {
		return nil
	}
	return s.sessions[c.Value]
}

// logIn gives the session new secrets, so that a cookie planted before the login is worth nothing after it.
func (s *state) logIn(one *session, user string) {
	delete(s.sessions, one.cookie)
	one.cookie, one.csrf, one.user = s.newSecret("session"), s.newSecret("csrf"), user
	s.sessions[one.cookie] = one
}

func (p *IdP) setCookie(w http.ResponseWriter, one *session) {
	var value string
	p.update(func(*state) { value = one.cookie })
	// Secure is left out because the provider speaks plain http on loopback.
	http.SetCookie(w, &http.Cookie{Name: p.cookie, Value: value, Path: "/", HttpOnly: true,
		SameSite: http.SameSiteLaxMode})
}

// view is a request as its pages need it, copied while the state was locked.
type view struct {
	authRequest
	csrf string
	user string
}

// pending finds the authorization request that a page or a form is about. The browser must be the one that brought it.
func (p *IdP) pending(r *http.Request) (v view, ok bool) {
	p.update(func(s *state) {
		one, req := s.sessionOf(r, p.cookie), s.requests[r.FormValue("request")]
		if one == nil || req == nil || req.session != one || p.now().After(req.expires) {
			return
		}
		v, ok = view{*req, one.csrf, one.user}, true
	})
	return v, ok
}

// pendingForm is pending for a POST, which must carry the form token of the session.
func (p *IdP) pendingForm(w http.ResponseWriter, r *http.Request) (view, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	v, ok := p.pending(r)
	switch {
	case !ok:
		p.pages.problem(w, http.StatusBadRequest, expiredSignIn)
	case !secret.New(v.csrf).Equal(secret.New(r.PostFormValue("csrf"))):
		p.pages.problem(w, http.StatusForbidden, "This form was not sent by the page it belongs to.")
		ok = false
	}
	return v, ok
}

const expiredSignIn = "This sign-in has ended or belongs to another browser. Start again from your program."
