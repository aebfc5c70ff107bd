package guard

import (
	"context"
	"net/http"
)

// ruling is a call and what was decided about it.
type ruling struct {
	call     Call
	decision Decision
}

// authorize lets a request with a good token through to next, if the policy lets every call of it through. A batch passes
// as a whole or not at all, because the server would answer it as a whole.
func (g *Guard) authorize(w http.ResponseWriter, r *http.Request, e Event, next http.Handler) {
	calls, batch, refused := g.readCalls(w, r)
	if refused != nil {
		g.refuse(w, r, e, refused)
		return
	}
	rulings := make([]ruling, len(calls))
	for i, call := range calls {
		rulings[i] = ruling{call, g.decide(r, &Request{Identity: e.Identity, HTTP: r, Call: call})}
	}
	if refused := refusalOf(rulings, batch); refused != nil {
		g.refuseCalls(w, r, e, rulings, refused)
		return
	}
	leave, busy := g.admit(e.Identity)
	if busy.Outcome != Allow {
		for i := range rulings {
			rulings[i].decision = busy
		}
		g.refuseCalls(w, r, e, rulings, busy.refused())
		return
	}
	defer leave()
	g.forward(w, r, e, rulings, next)
}

// admit takes a place for a request.
func (g *Guard) admit(id *Identity) (leave func(), d Decision) {
	if g.cfg.Admit == nil {
		return func() {}, Decision{Outcome: Allow}
	}
	return g.cfg.Admit(id)
}

// forward writes down that every call is allowed, and passes the request on.
func (g *Guard) forward(w http.ResponseWriter, r *http.Request, e Event, rulings []ruling, next http.Handler) {
	calls := make([]Call, len(rulings))
	for i, ruled := range rulings {
		calls[i] = ruled.call
		e.Call, e.Verdict, e.Reason, e.Rule = ruled.call, Allowed, ruled.decision.Reason, ruled.decision.Rule
		if err := g.record(r, e); err != nil {
			g.write(w, unavailable("the audit cannot be written", nil))
			return
		}
	}
	next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callsKey{}, calls)))
}

// refuseCalls writes down what became of each call, and answers all of them.
func (g *Guard) refuseCalls(w http.ResponseWriter, r *http.Request, e Event, rulings []ruling, refused *refusal) {
	for _, ruled := range rulings {
		own := ruled.decision.refused()
		if ruled.decision.Outcome == Allow {
			own = &refusal{verdict: Denied, text: besideRefused}
		}
		e.Call, e.Verdict, e.Reason, e.Rule, e.Status = ruled.call, own.verdict, own.reason(), own.rule, refused.status
		if err := g.record(r, e); err != nil {
			refused = unavailable("the audit cannot be written", nil)
			break
		}
	}
	g.write(w, refused)
}

// decide asks the policy. An identity whose groups are not known is denied before it: a rule that looks at groups would
// be wrong about it.
func (g *Guard) decide(r *http.Request, q *Request) Decision {
	switch {
	case q.Identity.GroupsUnknown != "":
		return Decision{Reason: q.Identity.GroupsUnknown}
	case g.cfg.Authorize == nil:
		return Decision{Outcome: Allow}
	}
	return g.cfg.Authorize(r.Context(), q)
}

// refusalOf returns the answer to a request some of whose calls are not allowed, and nil if all are. What holds for the
// whole request comes first, then what no token cures: a person should not sign in again only to be told no.
func refusalOf(rulings []ruling, batch bool) *refusal {
	var needed *refusal
	for _, ruled := range rulings {
		if o := ruled.decision.Outcome; o == Busy || o == NoSession {
			return ruled.decision.refused()
		}
	}
	for _, ruled := range rulings {
		switch ruled.decision.Outcome {
		case Allow:
		case NeedScopes, StepUp:
			needed = needed.and(ruled.decision.refused())
		default:
			return denial(rulings, batch)
		}
	}
	return needed
}

// and joins what two calls of a batch need into one challenge. A stronger sign-in is asked for first; the scopes are
// asked for in the same challenge.
func (r *refusal) and(other *refusal) *refusal {
	if r == nil {
		return other
	}
	if other.verdict == StepUpNeeded {
		r, other = other, r
	}
	r.scopes = union(r.scopes, other.scopes)
	return r
}

type callsKey struct{}

// CallsFromContext returns the MCP messages that the request with ctx carries; nil if it carries none.
func CallsFromContext(ctx context.Context) []Call {
	calls, _ := ctx.Value(callsKey{}).([]Call)
	return calls
}
