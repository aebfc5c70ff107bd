package guard

import "net/http"

// authorize lets a request with a good token through to next, if the policy does.
func (g *Guard) authorize(w http.ResponseWriter, r *http.Request, e Event, next http.Handler) {
	d := g.decide(r, &Request{Identity: e.Identity, HTTP: r, Call: e.Call})
	if d.Outcome != Allow {
		g.refuse(w, r, e, d.refused())
		return
	}
	e.Verdict, e.Reason, e.Rule = Allowed, d.Reason, d.Rule
	if err := g.record(r, e); err != nil {
		g.write(w, unavailable("the audit cannot be written", nil))
		return
	}
	next.ServeHTTP(w, r)
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
