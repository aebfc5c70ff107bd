package auth

import (
	"context"
	"time"
)

// closeLimit bounds Close, all in all: MCP clients kill a server half a second after they asked it to end.
const closeLimit = 350 * time.Millisecond

// EndSignIn frees the port of a sign-in whose human is under way and starts no other one; the sign-in stays a record in
// the store, with which another process goes on. Authorize and Challenged still work, and tokens are still renewed. It
// does not wait.
func (s *Session) EndSignIn() { s.cancel() }

// Settle waits until nothing is under way that spends a credential: a renewal, or the exchange of a code that arrived.
// Until its outcome is stored, the store holds a spent one. It waits no longer than ctx and reports whether all is done.
// A sign-in counts until its human is done, unless EndSignIn was called.
func (s *Session) Settle(ctx context.Context) bool {
	st := s.view()
	for _, done := range []<-chan struct{}{st.renewing, st.pending.ended()} {
		if done == nil {
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// ended is closed when p has ended; it is nil where there is no sign-in.
func (p *signIn) ended() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.done
}

// Close does what EndSignIn does, and what Settle does for no longer than 350 milliseconds. It may be called more than
// once; all calls return together.
func (s *Session) Close() {
	s.closed.Do(func() {
		s.EndSignIn()
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		if !s.Settle(ctx) {
			s.log.Warn("the process ends while a token is on its way; the next one may have to sign in again")
		}
		s.fetch.close()
	})
}
