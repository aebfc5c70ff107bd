package guard

import (
	"context"
	"net/http"
	"time"
)

// Request is what [Config.Authorize] judges.
type Request struct {
	Identity *Identity

	// HTTP is the request, without its Authorization header. Its body must not be read.
	HTTP *http.Request

	// Call is what an MCP message asks for; zero where the HTTP request carries none (GET, DELETE). The messages of a batch
	// (MCP 2025-03-26) are judged one by one, and so is each resource that a message names.
	Call Call
}

// Authorizer judges requests; see [Config.Authorize].
type Authorizer = func(context.Context, *Request) Decision

// Call is one MCP message: what [Config.Authorize] judges and the audit names.
type Call struct {
	// ID is the JSON-RPC id as it was sent; "" for a notification or response.
	ID string

	// Method is the MCP method; "" for a response.
	Method string

	// Type is what Name names: "tool", "prompt" or "resource"; "" where the method has none.
	Type string

	// Name is the tool or prompt of a call, or the URI of a resource; "" where the method has none. It has no control
	// characters.
	Name string

	// Arguments are those of a tool or prompt, as the JSON text that was sent; nil if there are none. In an [Event] they are
	// there only with [Config.AuditArguments].
	Arguments []byte
}

// Outcome is what a decision comes to.
type Outcome int

// Outcomes. The zero value is the refusal, so that a decision that somebody forgot to take is one.
const (
	// Deny: no token of this person would help. The caller is told [Decision.Reason].
	Deny Outcome = iota
	// Allow lets the request through.
	Allow
	// NeedScopes: a token with [Decision.Scopes] would do (RFC 6750 section 3.1, insufficient_scope).
	NeedScopes
	// StepUp: a newer or stronger sign-in would do (RFC 9470).
	StepUp
	// Busy: later would do. The answer is 429, with [Decision.RetryAfter].
	Busy
	// NoSession: the session is not one of this person. The answer is 404, which makes clients begin a new one (MCP
	// 2025-11-25, Streamable HTTP, session management); whether the session exists is not told.
	NoSession
)

// Decision is the answer of [Config.Authorize].
type Decision struct {
	Outcome Outcome

	// Reason tells the caller why ("needs group X"), and the audit. It must hold nothing that the caller may not know.
	Reason string

	// Rule names the rule that decided, for the audit. "" if the policy has no names.
	Rule string

	// Scopes are all that the operation needs, whether the token has some of them or not. For NeedScopes, and for StepUp if
	// the token lacks some as well.
	Scopes []string

	// ACR are the accepted authentication context classes, and MaxAge how long ago the sign-in may be. For StepUp; either
	// may be left out.
	ACR    []string
	MaxAge time.Duration

	// RetryAfter is when to come again. For Busy.
	RetryAfter time.Duration
}

// Event is one decision, for the audit and for metrics. It holds no token, and no arguments unless
// [Config.AuditArguments] asks for them.
type Event struct {
	Time time.Time

	// Took is how long it took to decide.
	Took time.Duration

	// Identity is whom the request speaks for; nil if that is not known.
	Identity *Identity

	// HTTPMethod, Call and SessionID say what was asked for.
	HTTPMethod string
	Call       Call
	SessionID  string

	// RemoteAddr is where the connection came from.
	RemoteAddr string

	// Traceparent is the W3C trace context of the request as it came; "" if there was none.
	Traceparent string

	// Verdict is what was decided.
	Verdict Verdict

	// Reason says why, in words; Rule is [Decision.Rule].
	Reason, Rule string

	// Status is the HTTP status of a refusal; 0 when the request was forwarded.
	Status int
}

// Verdict is what the audit calls a decision.
type Verdict string

// Verdicts.
const (
	Allowed         Verdict = "allow"
	Denied          Verdict = "deny"
	ScopeNeeded     Verdict = "insufficient_scope"
	StepUpNeeded    Verdict = "step_up"
	Unauthenticated Verdict = "unauthenticated" // no token, or none that is valid
	Malformed       Verdict = "malformed"       // a request that is none
	Limited         Verdict = "limited"         // too many requests
	ForeignSession  Verdict = "foreign_session" // a session id that was handed out to somebody else, or never
	Unavailable     Verdict = "unavailable"     // it could not be decided
)
