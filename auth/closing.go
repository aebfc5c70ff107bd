package auth

import (
	"context"
	"time"
)

// closeLimit bounds Close, all in all: MCP clients kill a server half a second after they asked it to end.
const closeLimit = 350 * time.Millisecond

// EndSignIn waits for no human any more: the ports of sign-ins are free at once, and another process can go on with what
// is a record in the store. Else the session goes on: tokens are used and renewed, and who needs a sign-in learns of its
// address. It does not block. Close is to follow.
func (s *Session) EndSignIn() { s.askNone() }

// Settle waits until nothing is under way that spends a credential: a renewal, or the exchange of a code that arrived.
// Until its outcome is stored, the store holds a spent one. It waits no longer than ctx and reports whether all is done.
// A sign-in counts until its human is done, unless EndSignIn was called.
func (s *Session) Settle(ctx context.Context) bool {
	st := s.view()
	waits := []<-chan struct{}{st.renewing}
	if st.pending != nil {
		waits = append(waits, st.pending.free)
	}
	return waitFor(ctx, waits...)
}

// waitFor waits until all of the channels that are not nil are closed, and reports whether they are before ctx ends.
func waitFor(ctx context.Context, all ...<-chan struct{}) bool {
	for _, done := range all {
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

// Close ends a pending sign-in and frees its port, and lets what spends a credential end, all within 350 milliseconds.
// Authorize and Challenged still work afterwards, but start no other sign-in. It may be called more than once; all calls
// return together.
func (s *Session) Close() {
	s.closed.Do(func() {
		s.cancel()
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		p := s.view().pending
		if done := s.Settle(ctx); !done || p != nil && !waitFor(ctx, p.done) {
			s.log.Warn("the process ends while a token is on its way; the next one may have to sign in again")
		}
		s.fetch.close()
	})
}
