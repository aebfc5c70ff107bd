package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// maxResends bounds how often one request is sent again because a better token was at hand.
const maxResends = 3

// Challenged judges resp, a 401 or 403 to a request that [Session.Authorize] saw. It may read resp.Body and does not
// close it. Refused without an error means that the server's own answer says it best (a 403 that asks for no other
// scope). It takes as long as discovery takes and no longer than ctx; a sign-in that it started goes on without ctx.
func (s *Session) Challenged(ctx context.Context, resp *http.Response, a Attempt) (Verdict, error) {
	if resp.Request == nil || !sameOrigin(resp.Request.URL, s.server) {
		return Refused, nil // no credential of ours belongs there
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return s.unauthorized(ctx, resp, a)
	case http.StatusForbidden:
		return s.forbidden(ctx, resp, a)
	}
	return Refused, nil
}

// unauthorized tries what costs least first: a newer token that is already there, a refresh, a human.
func (s *Session) unauthorized(ctx context.Context, resp *http.Response, a Attempt) (Verdict, error) {
	sent := s.sent(resp.Request)
	h, err := s.newest(ctx, sent)
	if err != nil {
		return Refused, fmt.Errorf("the server wants a sign-in: %w", passing{err})
	}
	if h.isKey() && h.token().Equal(sent) {
		return Refused, s.keyRefused(resp)
	}
	if a.Resent >= maxResends {
		return Refused, s.serverRefuses(resp, "the server refuses one token after another")
	}
	if h.alive(s.now()) && !h.token().Equal(sent) {
		return Resend, nil
	}
	if w := readChallenge(resp.Header); len(w.demands) > 0 && !sent.IsZero() {
		return s.signInAsDemanded(ctx, resp, w, h, a) // a refresh would not change how the person signed in
	}
	if a.SignedIn && !sent.IsZero() {
		err := s.serverRefuses(resp, "the server refuses the token of a sign-in that just succeeded")
		s.update(func(st *state) { st.rejected = rejected{s.now(), err} })
		return Refused, err
	}
	if a.Background && s.isIdle() {
		return Refused, hint(errors.New("nobody used this connection for a while"), "the next request renews the sign-in")
	}
	// One refresh a request: a token that came from one and is refused needs a human.
	if h.refreshable() && !(a.Resent > 0 && h.renewed) {
		if _, err := s.renew(ctx, h); err == nil {
			return Resend, nil
		} else if !errors.Is(err, errNeedsHuman) {
			return Refused, err
		}
	} else if h.refreshable() && !within(h.credential.IssuedAt, s.now(), renewalDoubt) {
		return Refused, hint(passing{errors.New("the server refuses the renewed token, long after it was issued")}, "try again: the next request renews it")
	}
	return s.needHuman(ctx, readChallenge(resp.Header), h, a)
}

// renewalDoubt is how soon after its issue a renewed token must be refused for that to mean that renewing does not help. One
// that got older on its way to the server (a suspended machine, a server that holds requests up) has ended like any other.
const renewalDoubt = 30 * time.Second

func (s *Session) needHuman(ctx context.Context, w wanted, h held, a Attempt) (Verdict, error) {
	st := s.view()
	switch {
	case a.Background && st.pending == nil:
		return Refused, s.required(st.reason)
	case a.SignedIn:
		return Refused, s.required(st.reason)
	case st.rejected.recently(s.now()):
		return Refused, st.rejected.err
	}
	return s.ask(ctx, want{wanted: w, generation: h.generation, reason: st.reason})
}

func (s *Session) required(reason string) error {
	err := ErrSignInRequired
	if reason != "" {
		err = fmt.Errorf("%w: %s", ErrSignInRequired, reason)
	}
	return hint(err, "sign in with: drawbridge login %s", s.cfg.ServerURL)
}

// newest returns the held credential, or the store's when the held one is what the server just refused.
func (s *Session) newest(ctx context.Context, sent secret.Text) (held, error) {
	h, err := s.load(ctx)
	if err != nil || !h.token().Equal(sent) {
		return h, err
	}
	return share(ctx, &s.flights, "load", func() (held, error) {
		ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
		defer cancel()
		return s.reload(ctx)
	})
}

// forbidden starts a step-up when the server says which scopes are missing (RFC 6750 section 3.1, MCP 2025-11-25 scope
// challenge handling). Any other 403 is the server's last word: signing in again would not change it.
func (s *Session) forbidden(ctx context.Context, resp *http.Response, a Attempt) (Verdict, error) {
	w := readChallenge(resp.Header)
	if w.err != "insufficient_scope" || s.view().held.isKey() {
		return Refused, nil
	}
	sent := sentToken(resp.Request)
	h, err := s.newest(ctx, sent)
	if err != nil {
		return Refused, fmt.Errorf("the server wants other scopes: %w", passing{err})
	}
	if h.alive(s.now()) && !h.token().Equal(sent) && a.Resent < maxResends {
		return Resend, nil
	}
	if err := s.mayStepUp(w, h, a); err != nil {
		return Refused, fmt.Errorf("%s: %w", s.serverRefuses(resp, "the server wants other scopes"), err)
	}
	return s.ask(ctx, want{
		wanted: w, generation: h.generation, have: askedAndGranted(h.credential),
		reason: "the server asks for more rights" + listed(w.scopes),
	})
}

// askedAndGranted are the scopes that a step-up adds to (MCP 2026-07-28: the previously requested ones).
func askedAndGranted(c tokenstore.Credential) []string { return union(c.Scopes, c.IdP.Asked) }

func listed(scopes []string) string {
	if len(scopes) == 0 {
		return ""
	}
	return ": " + printable(strings.Join(scopes, " "))
}

// mayStepUp refuses a step-up that cannot help or that already failed to.
func (s *Session) mayStepUp(w wanted, h held, a Attempt) error {
	missing := without(w.scopes, h.credential.Scopes)
	switch {
	case a.Background:
		return s.required("")
	case len(w.scopes) > 0 && len(missing) == 0:
		return errors.New("the sign-in already has them")
	case len(s.cfg.Scopes) > 0 && len(without(w.scopes, s.cfg.Scopes)) > 0:
		return hint(errors.New("--scope leaves them out"), "add %s to --scope", flagScopes(missing))
	case !s.countStepUp(a.Operation):
		return fmt.Errorf("%d sign-ins for it did not help", maxStepUps)
	}
	return nil
}

// without returns the scopes of a that b lacks.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// Caps on step-up (MCP 2025-11-25: "retry no more than a few times", for the same resource and operation).
const (
	maxStepUps    = 2
	stepUpMemory  = 10 * time.Minute
	stepUpEntries = 1000 // operations remembered; more are a flood, and then the oldest count is given up
)

// stepUp counts the step-ups for one operation.
type stepUp struct {
	count int
	since time.Time
}

// countStepUp reports whether the operation may have another step-up, and counts it.
func (s *Session) countStepUp(operation string) (ok bool) {
	now := s.now()
	s.update(func(st *state) {
		if st.stepUps == nil || len(st.stepUps) >= stepUpEntries {
			st.stepUps = map[string]stepUp{}
		}
		n := st.stepUps[operation]
		if !within(n.since, now, stepUpMemory) {
			n = stepUp{since: now}
		}
		if ok = n.count < maxStepUps; ok {
			n.count++
		}
		st.stepUps[operation] = n
	})
	return ok
}

// rejected remembers that the server refused a token right after a sign-in. Another sign-in would end the same way.
type rejected struct {
	at  time.Time
	err error
}

// rejectedMemory is how long nobody is asked again after that.
const rejectedMemory = time.Minute

func (r rejected) recently(now time.Time) bool {
	return r.err != nil && within(r.at, now, rejectedMemory)
}

// sentToken is the access token that a request carried.
func sentToken(req *http.Request) secret.Text {
	_, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	return text(token)
}

// serverRefuses quotes the server.
func (s *Session) serverRefuses(resp *http.Response, step string) error {
	w := readChallenge(resp.Header)
	said := strings.TrimSpace(w.err + " " + w.errText)
	if said == "" {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4*quoteLimit)) // what can be read of it is quoted
		said = strings.TrimSpace(string(body))
	}
	err := fmt.Errorf("%s: status %d", step, resp.StatusCode)
	if said != "" && !strings.HasPrefix(said, "<") {
		err = fmt.Errorf("%w, %s", err, quoted(scrub(said, sentToken(resp.Request))))
	}
	return hint(err, "the server's administrator can tell why it does not accept tokens of this identity provider")
}
