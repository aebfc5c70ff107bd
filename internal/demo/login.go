package demo

import (
	"net/http"
	"net/url"

	"drawbridge/internal/secret"
)

// loginPage asks for user and password, unless this browser has given them before.
func (p *IdP) loginPage(w http.ResponseWriter, r *http.Request) {
	v, ok := p.pending(r)
	if !ok {
		p.pages.problem(w, http.StatusBadRequest, expiredSignIn)
		return
	}
	if v.user != "" && !v.askPassword {
		http.Redirect(w, r, p.path+"/consent?request="+v.id, http.StatusSeeOther)
		return
	}
	p.pages.login(w, http.StatusOK, p.path, v, "")
}

// login judges user and password.
func (p *IdP) login(w http.ResponseWriter, r *http.Request) {
	v, ok := p.pendingForm(w, r)
	if !ok {
		return
	}
	a, ok := p.checkPassword(r.PostFormValue("user"), secret.New(r.PostFormValue("password")))
	switch {
	case !ok:
		p.pages.login(w, http.StatusForbidden, p.path, v, "Wrong user or password.")
	case a.inactive:
		p.log.Info("refused a deactivated account", "user", a.Name)
		p.deny(w, r, v, "this account is deactivated")
	default:
		p.admit(w, r, v, a.Name)
	}
}

// checkPassword compares in constant time, and also for a user who does not exist.
func (p *IdP) checkPassword(name string, password secret.Text) (a account, ok bool) {
	p.update(func(s *state) {
		if found := s.users[name]; found != nil {
			a, ok = *found, true
		}
	})
	right := a.Password.Equal(password)
	return a, ok && right && !password.IsZero()
}

func (p *IdP) admit(w http.ResponseWriter, r *http.Request, v view, user string) {
	p.update(func(s *state) {
		s.logIn(v.session, user)
		if req := s.requests[v.id]; req != nil {
			req.askPassword = false
		}
	})
	p.setCookie(w, v.session)
	http.Redirect(w, r, p.path+"/consent?request="+v.id, http.StatusSeeOther)
}

// deny ends the request and tells the client.
func (p *IdP) deny(w http.ResponseWriter, r *http.Request, v view, why string) {
	p.update(func(s *state) { delete(s.requests, v.id) })
	p.redirectBack(w, r, &v.authRequest, url.Values{"error": {"access_denied"}, "error_description": {why}})
}

// consentPage shows who asks for what.
func (p *IdP) consentPage(w http.ResponseWriter, r *http.Request) {
	v, ok := p.pending(r)
	switch {
	case !ok:
		p.pages.problem(w, http.StatusBadRequest, expiredSignIn)
	case v.user == "" || v.askPassword:
		http.Redirect(w, r, p.path+"/login?request="+v.id, http.StatusSeeOther)
	default:
		p.pages.consent(w, p.path, v)
	}
}

// consent turns the human's decision into an authorization response.
func (p *IdP) consent(w http.ResponseWriter, r *http.Request) {
	v, ok := p.pendingForm(w, r)
	if !ok {
		return
	}
	if r.PostFormValue("decision") != "allow" {
		p.deny(w, r, v, "the user refused")
		return
	}
	code, ok := p.issueCode(v)
	if !ok {
		p.pages.problem(w, http.StatusBadRequest, expiredSignIn)
		return
	}
	p.log.Info("signed in", "user", v.user, "client", v.client.ID)
	p.redirectBack(w, r, &v.authRequest, url.Values{"code": {code}})
}

// issueCode ends the request with an authorization code. It refuses when the person is not logged in (any more), or
// when the form was sent twice.
func (p *IdP) issueCode(v view) (text string, ok bool) {
	p.update(func(s *state) {
		req := s.requests[v.id]
		if req == nil || req.session.user == "" || req.askPassword {
			return
		}
		delete(s.requests, v.id)
		g := &grant{client: req.client, user: req.session.user, resource: req.resource, scopes: req.scopes,
			nonce: req.nonce}
		s.grants = append(s.grants, g)
		text, ok = s.newSecret("code"), true
		s.codes[text] = &code{grant: g, challenge: req.challenge, redirectURI: req.redirectURI,
			expires: p.now().Add(codeLifetime)}
		s.counts.SignIns++
	})
	return text, ok
}
