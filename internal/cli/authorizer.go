package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"drawbridge/auth"
	"drawbridge/bridge"
)

// This file joins bridge and auth, which do not know each other.

// signedIn authorizes requests with the person's sign-in, and adds the headers of the command line.
type signedIn struct {
	session *auth.Session
	headers []header
}

// Authorize implements [bridge.Authorizer].
func (a signedIn) Authorize(req *http.Request) error {
	setHeaders(req, a.headers)
	if bridge.IsBackground(req.Context()) {
		*req = *req.WithContext(auth.Background(req.Context()))
	}
	return a.session.Authorize(req)
}

// Challenged implements [bridge.Authorizer].
func (a signedIn) Challenged(ctx context.Context, resp *http.Response, at bridge.Attempt) (bridge.Verdict, error) {
	verdict, err := a.session.Challenged(ctx, resp, auth.Attempt(at))
	switch verdict {
	case auth.Resend:
		return bridge.Resend, err
	case auth.Pending:
		return bridge.Pending, err
	}
	return bridge.Refused, err
}

// Pending implements [bridge.Authorizer].
func (a signedIn) Pending() (bridge.SignIn, bool) {
	s, ok := a.session.Pending()
	return bridge.SignIn{URL: s.URL, Other: byDevice(s.Device), Reason: s.Reason, Deadline: s.Deadline, Done: s.Done, Err: s.Err, Present: s.Present}, ok
}

// byDevice says how to sign in with a code; "" where there is none.
func byDevice(d auth.DeviceCode) string {
	if d.UserCode == "" {
		return ""
	}
	return "open " + d.URI + " on any device and enter the code " + d.UserCode
}

// keyed authorizes requests with the Authorization header of the command line. There is nobody to sign in.
type keyed struct{ headers []header }

// Authorize implements [bridge.Authorizer].
func (a keyed) Authorize(req *http.Request) error {
	setHeaders(req, a.headers)
	return nil
}

// Challenged implements [bridge.Authorizer].
func (a keyed) Challenged(_ context.Context, resp *http.Response, _ bridge.Attempt) (bridge.Verdict, error) {
	if resp.StatusCode == http.StatusForbidden {
		return bridge.Refused, nil
	}
	return bridge.Refused, hinted{fmt.Errorf("the server does not accept the Authorization header given with --header (HTTP %d)", resp.StatusCode),
		"renew the key, or leave --header out to sign in instead"}
}

// Pending implements [bridge.Authorizer].
func (a keyed) Pending() (bridge.SignIn, bool) { return bridge.SignIn{}, false }

// refusing lets no request out, because the configuration is wrong. The client shows the reason to its user, who would
// not see why a process ended.
type refusing struct{ cause error }

// Authorize implements [bridge.Authorizer].
func (a refusing) Authorize(*http.Request) error { return a.cause }

// Challenged implements [bridge.Authorizer].
func (a refusing) Challenged(context.Context, *http.Response, bridge.Attempt) (bridge.Verdict, error) {
	return bridge.Refused, errors.New("no request was sent")
}

// Pending implements [bridge.Authorizer].
func (a refusing) Pending() (bridge.SignIn, bool) { return bridge.SignIn{}, false }
