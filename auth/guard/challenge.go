package guard

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// refusal is an HTTP answer in place of the protected server's.
type refusal struct {
	status  int
	verdict Verdict
	code    string // error of RFC 6750 section 3.1; "" says nothing
	text    string // for the caller; printable ASCII
	rule    string // of the policy
	cause   error  // for the audit and the log; what it says may be the issuer's words
	scopes  []string
	acr     []string
	maxAge  time.Duration
	// retryAfter is when to come again; zero if that is not known.
	retryAfter time.Duration

	body any // the JSON to answer with; if nil, the error of RFC 6750
}

// noToken is the invitation to get a token: it names no error (RFC 6750 section 3.1).
func noToken() *refusal {
	return &refusal{status: http.StatusUnauthorized, verdict: Unauthenticated, text: "this server needs an access token"}
}

func badToken(text string) *refusal {
	return &refusal{status: http.StatusUnauthorized, verdict: Unauthenticated, code: "invalid_token", text: text}
}

// badRequest is for what another token would not cure.
func badRequest(text string) *refusal {
	return &refusal{status: http.StatusBadRequest, verdict: Malformed, code: "invalid_request", text: text}
}

// unavailable is for a token that may well be good: a 401 would make clients throw it away and ask a person to sign in.
func unavailable(text string, cause error) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, verdict: Unavailable, text: text, cause: cause, retryAfter: issuerPause}
}

// because keeps the cause for the audit.
func (r *refusal) because(err error) *refusal {
	r.cause = err
	return r
}

// refused translates a decision that is not Allow.
func (d Decision) refused() *refusal {
	r := &refusal{status: http.StatusForbidden, verdict: Denied, text: d.Reason, rule: d.Rule}
	switch d.Outcome {
	case NeedScopes:
		r.verdict, r.code, r.scopes = ScopeNeeded, "insufficient_scope", d.Scopes
	case StepUp:
		// RFC 9470 section 3: the status is 401, although the token is valid.
		r.status, r.verdict, r.code = http.StatusUnauthorized, StepUpNeeded, "insufficient_user_authentication"
		r.acr, r.maxAge, r.scopes = d.ACR, d.MaxAge, d.Scopes
	case Busy:
		r.status, r.verdict, r.retryAfter = http.StatusTooManyRequests, Limited, d.RetryAfter
	case NoSession:
		r.status, r.verdict = http.StatusNotFound, ForeignSession
	}
	return r
}

// reason is what the audit is told.
func (r *refusal) reason() string {
	if r.cause == nil {
		return r.text
	}
	return r.text + ": " + r.cause.Error()
}

// issuerPause is how long a client should wait when the issuer does not answer.
const issuerPause = 5 * time.Second

// write sends the refusal. The body says the same as the header, for people and for clients that show nothing else.
func (g *Guard) write(w http.ResponseWriter, r *refusal) {
	h := w.Header()
	if challenge := g.challenge(r); challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
	if r.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.retryAfter+time.Second-1)/time.Second)))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_ = json.NewEncoder(w).Encode(r.answer()) // the caller has gone
}

func (r *refusal) answer() any {
	if r.body != nil {
		return r.body
	}
	body := map[string]string{"error_description": r.text}
	if r.code != "" {
		body["error"] = r.code
	}
	return body
}

// challenge returns the value of WWW-Authenticate (RFC 6750 section 3, RFC 9728 section 5.1), or "" where none helps.
func (g *Guard) challenge(r *refusal) string {
	if r.status != http.StatusUnauthorized && r.code == "" {
		return ""
	}
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, name+`="`+escaped(value)+`"`)
		}
	}
	add("error", r.code)
	if r.code != "" {
		add("error_description", r.text)
	}
	add("scope", strings.Join(g.wanted(r), " "))
	add("acr_values", strings.Join(r.acr, " "))
	if r.maxAge > 0 {
		add("max_age", strconv.Itoa(int(r.maxAge/time.Second)))
	}
	add("resource_metadata", g.metadataURL)
	return "Bearer " + strings.Join(params, ", ")
}

// wanted are the scopes that a challenge names: those of the operation, or, where there is no valid token, what to ask
// for to begin with.
func (g *Guard) wanted(r *refusal) []string {
	if r.verdict == Unauthenticated {
		return g.cfg.Scopes
	}
	return r.scopes
}

// escaped makes text fit between the quotes of a challenge. error_description may hold neither quotes nor backslashes
// (RFC 6750 section 3), so they are replaced instead of escaped.
func escaped(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' {
			return '\''
		}
		return r
	}, printable(s))
}
