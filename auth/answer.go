package auth

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"drawbridge/tokenstore"
)

// Limits of the callback's server. The browser is on this machine.
const (
	callbackReadTimeout = 5 * time.Second
	callbackHeaderBytes = 32 << 10
)

// loggedRejections bounds what a flood of wrong requests writes into the log of one sign-in.
const loggedRejections = 20

func (s *Session) callbackServer(p *signIn) *http.Server {
	return &http.Server{
		Handler:        http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.answerBrowser(w, r, p) }),
		ReadTimeout:    callbackReadTimeout,
		WriteTimeout:   callbackReadTimeout + exchangeLimit + landLimit, // both come before the page
		MaxHeaderBytes: callbackHeaderBytes,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// answerBrowser handles one request to the open port. All but the awaited response change nothing.
func (s *Session) answerBrowser(w http.ResponseWriter, r *http.Request, p *signIn) {
	resp, err := p.callback.read(r)
	if err != nil {
		s.reject(w, p, err)
		return
	}
	if !p.taken.CompareAndSwap(false, true) {
		page{Title: "Already done", Text: "This sign-in has ended. You can close this tab."}.show(w, http.StatusBadRequest)
		return
	}
	s.markTaken(p, resp.code)
	c, err := s.complete(p, resp)
	p.credential = c
	s.pageFor(c, err).show(w, statusFor(err))
	_ = http.NewResponseController(w).Flush() // the process may end right after; the browser may be gone
	p.outcome <- err
}

func (s *Session) reject(w http.ResponseWriter, p *signIn, err error) {
	var rej *rejection
	if !errors.As(err, &rej) {
		rej = &rejection{status: http.StatusBadRequest, reason: "not understood"}
	}
	switch n := p.rejections.Add(1); {
	case n < loggedRejections:
		s.log.Warn("request to the sign-in port ignored", "reason", rej.reason)
	case n == loggedRejections:
		s.log.Warn("request to the sign-in port ignored; further ones are not logged", "reason", rej.reason)
	}
	if rej.mixUp && p.mixUp.Swap(rej) == nil {
		s.cfg.Notice("an answer to the sign-in was refused: " + rej.reason)
	}
	text := "Nothing was changed: " + rej.reason + "."
	if rej.hint != "" {
		s.cfg.Notice("hint: " + rej.hint)
		text += " Hint: " + rej.hint + "."
	}
	page{Title: "Not this sign-in", Text: text}.show(w, rej.status)
}

func (s *Session) pageFor(c tokenstore.Credential, err error) page {
	if err != nil {
		return page{Title: "Sign-in failed", Text: err.Error(), Server: s.server.Host}
	}
	return page{
		Title: "You are signed in", Text: "You can close this tab and go back to your work.", Good: true,
		Server: s.cfg.ServerURL, Account: c.Subject, Scopes: c.Scopes,
	}
}

func statusFor(err error) int {
	var refusal *OAuthError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &refusal) && refusal.Status == 0:
		return http.StatusForbidden // the identity provider said no at the redirect
	}
	return http.StatusBadGateway
}
