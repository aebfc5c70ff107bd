package auth

import (
	"context"
	"net/http"
	"time"
)

// idleLimit is how long after the client's last request traffic in the background may still renew the sign-in. Beyond
// it a bridge that nobody uses would keep a session at the identity provider alive that is meant to time out.
const idleLimit = 30 * time.Minute

type backgroundKey struct{}

// Background marks requests with ctx as traffic that no request of the client asked for. [Session.Authorize] renews a
// sign-in for them only within 30 minutes of the last other request.
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

func isBackground(ctx context.Context) bool { return ctx.Value(backgroundKey{}) != nil }

// mayRenew reports whether req may renew the sign-in, and notes that the client is at work.
func (s *Session) mayRenew(req *http.Request) bool {
	switch {
	case req.Method == http.MethodDelete:
		// It ends the MCP session, and the process ends with it: nobody would read the new tokens.
		return false
	case isBackground(req.Context()):
		return !s.isIdle()
	}
	s.update(func(st *state) { st.lastRequest = s.now() })
	return true
}

// isIdle reports whether the client made no request for idleLimit.
func (s *Session) isIdle() bool {
	last := s.view().lastRequest
	return !last.IsZero() && !within(last, s.now(), idleLimit)
}
