package bridge

import (
	"context"
	"net/http"
	"time"
)

// Authorizer gives requests their credentials. It is request-level, so that proofs of possession (DPoP) and client
// certificates fit behind it.
//
// The bridge calls it from many goroutines at once. It never waits for a human: where one is needed it says so with
// [Pending] and the bridge decides who waits, how long, and what the client is told meanwhile.
type Authorizer interface {
	// Authorize sets the headers that req needs. It may refresh a token that is about to expire, within req's context.
	// Without a usable credential it leaves req as it is: the server's 401 then says what it wants. An error means that
	// the request must not be sent; it is shown to the client.
	Authorize(req *http.Request) error

	// Challenged judges a 401 or 403 that resp is. It may read resp.Body, which the caller closes. Per request there
	// is at most one refresh, one sign-in and one step-up, so a caller's loop ends. An error with a method Passing() bool
	// that returns true may be gone at another try.
	Challenged(ctx context.Context, resp *http.Response, a Attempt) (Verdict, error)

	// Pending returns the sign-in under way, if there is one.
	Pending() (SignIn, bool)
}

// Attempt says what the request was that the server refused.
type Attempt struct {
	// Operation is the JSON-RPC method, followed by the name of the tool, prompt or resource where there is one. Caps
	// on step-up count per operation.
	Operation string

	// Background marks traffic that no client request asked for (the GET stream). It never starts a sign-in.
	Background bool

	// Resent counts how often this request was already sent again.
	Resent int

	// SignedIn reports that a sign-in ended since this request was first sent.
	SignedIn bool
}

// Verdict is what to do with a refused request.
type Verdict int

const (
	// Refused means that no credential cures it: the client gets an error.
	Refused Verdict = iota
	// Resend means that a better credential is at hand: the request is sent again.
	Resend
	// Pending means that a human is needed: wait for the sign-in that [Authorizer.Pending] returns, then send again.
	Pending
)

// SignIn is a sign-in that waits for a human.
type SignIn struct {
	// URL is the page to open. It carries no secret that outlives the sign-in.
	URL string

	// Other is another way to sign in, in words, for a person whose browser is on another device; "" if there is none.
	Other string

	// Reason says in a sentence why it is needed; "" on a first sign-in.
	Reason string

	// Deadline is when the sign-in ends by itself.
	Deadline time.Time

	// Done is closed when the sign-in ended, whatever the outcome.
	Done <-chan struct{}

	// Err returns nil after a good end, and why it failed after a bad one. It is to be called after Done is closed.
	Err func() error

	// Present shows URL to the human (a browser tab, a line on a terminal), once however often it is called. If instead
	// is not nil, it is called in the place of opening a tab, where and when a tab would be opened; if it fails, the tab
	// is opened after all. Present waits for nothing.
	Present func(instead func() error)
}
