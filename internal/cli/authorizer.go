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

// signedIn authorizes requests with the headers of the command line and, where there is no Authorization among them, with the
// person's sign-in.
type signedIn struct {
	session *auth.Session
	headers *headerSource
}

// Authorize implements [bridge.Authorizer].
func (a signedIn) Authorize(req *http.Request) error {
	headers, err := a.headers.get(req.Context())
	if err != nil {
		return err
	}
	setHeaders(req, headers)
	if bridge.IsBackground(req.Context()) {
		*req = *req.WithContext(auth.Background(req.Context()))
	}
	if hasAuthorization(headers) {
		return nil // there is nobody to sign in
	}
	return a.session.Authorize(req)
}

// maxHeaderResends bounds how often one request is sent again because its headers were renewed.
const maxHeaderResends = 3

// Challenged implements [bridge.Authorizer].
func (a signedIn) Challenged(ctx context.Context, resp *http.Response, at bridge.Attempt) (bridge.Verdict, error) {
	if resp.StatusCode == http.StatusUnauthorized && at.Resent < maxHeaderResends {
		if renewed, err := a.headers.renew(ctx, resp.Request); err != nil || renewed {
			return resendIf(renewed), err
		}
	}
	headers, err := a.headers.get(ctx)
	if err != nil {
		return bridge.Refused, err
	}
	if hasAuthorization(headers) {
		return bridge.Refused, keyRefused(resp.StatusCode)
	}
	verdict, err := a.session.Challenged(ctx, resp, auth.Attempt(at))
	switch verdict {
	case auth.Resend:
		return bridge.Resend, err
	case auth.Pending:
		return bridge.Pending, err
	}
	return bridge.Refused, err
}

func resendIf(yes bool) bridge.Verdict {
	if yes {
		return bridge.Resend
	}
	return bridge.Refused
}

// keyRefused explains the refusal of an Authorization header of the user's own. A 403 speaks for itself.
func keyRefused(status int) error {
	if status == http.StatusForbidden {
		return nil
	}
	return hinted{fmt.Errorf("the server does not accept the Authorization header given with --header, --header-file or --header-command (HTTP %d)", status),
		"renew the key, or leave it out to sign in instead"}
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
