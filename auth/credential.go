package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// state is what a session knows. It changes as a whole, under the session's mutex, and nothing slow happens there.
type state struct {
	held    held
	pending *signIn // nil when no human is asked
	reason  string  // why the next sign-in is needed; "" on a first one

	// unsaved is a renewed credential that the store did not take. It must not be used before it is stored, and must
	// not be lost, since the refresh token it replaces is spent.
	unsaved *unsaved

	lastRequest     time.Time         // the client's last request; zero before
	renewing        chan struct{}     // of the last renewal; closed when it ended
	noRefreshBefore time.Time         // after trouble with store or lock, while the token lives
	backoff         backoff           // after failures of the token endpoint
	rejected        rejected          // brake against sign-in loops
	stepUps         map[string]stepUp // by operation
}

// held is the credential in memory.
type held struct {
	loaded     bool // the store was read; the credential may still be zero
	generation int  // grows with every change
	renewed    bool // it came from a refresh by this process
	credential tokenstore.Credential
}

type unsaved struct {
	replaces secret.Text // the refresh token it was bought with
	next     tokenstore.Credential
}

func (h held) token() secret.Text { return h.credential.AccessToken }

// refreshable reports whether a refresh could bring another token.
func (h held) refreshable() bool { return !h.credential.RefreshToken.IsZero() }

// alive reports whether the token has not expired, as far as we know.
func (h held) alive(now time.Time) bool {
	return !h.token().IsZero() && (h.credential.Expiry.IsZero() || now.Before(h.credential.Expiry))
}

// refreshAhead is how long before its expiry a token is renewed, unless a tenth of its lifetime is less.
const refreshAhead = time.Minute

// stale reports whether it is time to renew.
func (h held) stale(now time.Time) bool {
	c := h.credential
	if c.Expiry.IsZero() {
		return false
	}
	ahead := min(refreshAhead, c.Expiry.Sub(c.IssuedAt)/10)
	return !now.Before(c.Expiry.Add(-ahead))
}

func (s *Session) view() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *Session) update(f func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.state)
}

// adopt makes c the credential of the session and forgets why a human was needed.
func (s *Session) adopt(c tokenstore.Credential, renewed bool) held {
	var h held
	s.update(func(st *state) {
		h = held{true, st.held.generation + 1, renewed, c}
		st.held, st.reason, st.unsaved, st.noRefreshBefore, st.backoff = h, "", nil, time.Time{}, backoff{}
	})
	return h
}

// drop forgets the credential in memory, which the store no longer has. reason says why a human will be needed; "" is that
// the record was gone.
func (s *Session) drop(reason string) {
	var old tokenstore.Credential
	s.update(func(st *state) {
		old = st.held.credential
		st.held = held{loaded: true, generation: st.held.generation + 1}
		st.unsaved, st.backoff = nil, backoff{}
		if reason == "" && !old.AccessToken.IsZero() {
			reason = reasonGone
		}
		if reason != "" {
			st.reason = reason
		}
	})
	if !old.AccessToken.IsZero() {
		s.cfg.Forgotten(old.ServerURL, old.Profile, old.Subject)
	}
}

// share runs f once for all callers that ask for key at the same time. A caller whose ctx ends leaves; f goes on for
// the others, within limits of its own.
func share[T any](ctx context.Context, g *singleflight.Group, key string, f func() (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	select {
	case r := <-g.DoChan(key, func() (any, error) { return f() }):
		if r.Err != nil {
			return zero, r.Err
		}
		return r.Val.(T), nil
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

// storeLimit bounds what one operation spends on the store, which has deadlines of its own.
const storeLimit = 15 * time.Second

// load returns the credential, from the store the first time. A read that failed is tried again by the next caller.
func (s *Session) load(ctx context.Context) (held, error) {
	if h := s.view().held; h.loaded {
		return h, nil
	}
	return share(ctx, &s.flights, "load", func() (held, error) {
		ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
		defer cancel()
		return s.reload(ctx)
	})
}

// reload reads the store and takes over what is there, if it is not what is already held.
func (s *Session) reload(ctx context.Context) (held, error) {
	c, err := s.read(ctx)
	if err != nil && !errors.Is(err, tokenstore.ErrNotFound) {
		return held{}, err
	}
	h := s.view().held
	switch {
	case h.loaded && h.token().Equal(c.AccessToken):
		return h, nil
	case c.AccessToken.IsZero():
		s.drop("")
		return s.view().held, nil
	}
	return s.adopt(c, false), nil
}

// read loads the record and refuses one that does not belong to this configuration any more: an edited URL, issuer or
// client is a new trust decision, not a new place for an old token.
func (s *Session) read(ctx context.Context) (tokenstore.Credential, error) {
	c, err := tokenstore.LoadCredential(ctx, s.cfg.Store, s.name)
	switch {
	case errors.Is(err, tokenstore.ErrDamaged):
		s.log.Warn("the stored sign-in is damaged and counts as absent", "cause", err)
		return tokenstore.Credential{}, fmt.Errorf("%w: %w", tokenstore.ErrNotFound, err)
	case err != nil:
		return tokenstore.Credential{}, err
	}
	if what := s.mismatch(c); what != "" {
		s.log.Warn("the stored sign-in is for another "+what+" and counts as absent", "issuer", printable(c.Issuer))
		return tokenstore.Credential{}, fmt.Errorf("%w: the stored sign-in is for another %s", tokenstore.ErrNotFound, what)
	}
	return c, nil
}

// mismatch names what differs between a record and the configuration; "" when nothing does.
func (s *Session) mismatch(c tokenstore.Credential) string {
	id := s.cfg.Client
	sameIssuer := strings.TrimSuffix(c.Issuer, "/") == strings.TrimSuffix(s.cfg.Issuer, "/")
	switch {
	case c.ServerURL != s.cfg.ServerURL || c.Profile != s.cfg.Profile || !s.coversServer(c.Resource):
		return "resource"
	case c.IsKey() && !c.AccessToken.IsZero():
		return "" // it comes from no issuer and belongs to no client
	case s.cfg.Issuer != "" && !sameIssuer:
		return "issuer"
	case id.ID != "" && c.Client.ID != id.ID:
		return "client"
	case c.AccessToken.IsZero():
		return "token"
	}
	return ""
}

// coversServer reports whether a token for resource may go to the server.
func (s *Session) coversServer(resource string) bool {
	return resourceCovers(resource, s.server) != resourceForeign
}

// save writes c and, where the store does not know whether it was written, looks.
func (s *Session) save(ctx context.Context, c tokenstore.Credential) error {
	err := tokenstore.SaveCredential(ctx, s.cfg.Store, c)
	if err == nil {
		return nil
	}
	stored, loadErr := tokenstore.LoadCredential(ctx, s.cfg.Store, s.name)
	if loadErr == nil && stored.AccessToken.Equal(c.AccessToken) && stored.RefreshToken.Equal(c.RefreshToken) {
		return nil
	}
	return fmt.Errorf("keep the sign-in in %s: %w", s.cfg.Store.Location(), err)
}

// lockWait bounds the wait for another process. After it the caller makes do with what it has; it never goes on
// without the lock.
const lockWait = 15 * time.Second

// lock takes the lock that all processes of this user share for what they do with the item.
func (s *Session) lock(ctx context.Context, what string, item tokenstore.Name) (func(), error) {
	return lockItem(ctx, s.cfg.Store, what, item)
}

func lockItem(ctx context.Context, store tokenstore.Store, what string, item tokenstore.Name) (func(), error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	_, hash, _ := strings.Cut(string(item), ":")
	unlock, err := store.Lock(ctx, what+"-"+hash)
	if err != nil {
		return nil, hint(passing{fmt.Errorf("wait for another process's %s: %w", what, err)},
			"another drawbridge process holds the lock; end it if it does not react")
	}
	return unlock, nil
}

// expiry turns a lifetime into a moment; unknown stays unknown.
func expiry(issued time.Time, lifetime time.Duration) time.Time {
	if lifetime == 0 {
		return time.Time{}
	}
	return issued.Add(lifetime)
}

// renewedBy returns c with the tokens of a refresh. What the answer leaves out stays as it was (RFC 6749 section 6).
func renewedBy(c tokenstore.Credential, t tokens, now time.Time) tokenstore.Credential {
	c.AccessToken, c.IssuedAt, c.Expiry = t.access, now, expiry(now, t.lifetime)
	if !t.refresh.IsZero() {
		c.RefreshToken = t.refresh
	}
	if t.scopes != nil {
		c.Scopes = t.scopes
	}
	return c
}

// within reports whether now is less than d after since. A moment to come counts as long ago: the clock was set back, and
// nobody should wait until it has caught up.
func within(since, now time.Time, d time.Duration) bool {
	age := now.Sub(since)
	return 0 <= age && age < d
}

// now is the clock without its monotonic part, which a stored time does not have either.
func (s *Session) now() time.Time { return s.cfg.Now().UTC().Round(0) }
