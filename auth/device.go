package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// The device authorization grant (RFC 8628) runs beside the browser's way in where no browser can be opened: the human
// types a code on any device. Whichever ends first is the sign-in.

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

const (
	// devicePause is the pause between two polls unless the server names one (RFC 8628 section 3.2), deviceSlower what
	// slow_down adds to it (section 3.5).
	devicePause, deviceSlower = 5 * time.Second, 5 * time.Second
	// deviceMaxPause bounds the pause after failures of the network.
	deviceMaxPause = time.Minute
)

// deviceAnswer is RFC 8628 section 3.2.
type deviceAnswer struct {
	DeviceCode      string  `json:"device_code"`
	UserCode        string  `json:"user_code"`
	VerificationURI string  `json:"verification_uri"`
	CompleteURI     string  `json:"verification_uri_complete"`
	ExpiresIn       float64 `json:"expires_in"`
	Interval        float64 `json:"interval"`
	Error           string  `json:"error"`
	Description     string  `json:"error_description"`
}

// offersDevice reports whether the device grant can be used.
func (m *serverMetadata) offersDevice() bool {
	return m.DeviceEndpoint != "" && (len(m.GrantTypes) == 0 || slices.Contains(m.GrantTypes, deviceGrant))
}

// startDevice asks for a device code. It is an addition: a failure leaves the browser's way in.
func (s *Session) startDevice(ctx context.Context, p *signIn) {
	if s.cfg.Open != nil || !p.target.as.offersDevice() {
		return
	}
	d, err := s.requestDevice(ctx, p)
	if err != nil {
		s.log.Warn("the identity provider gave no device code", "cause", err)
		return
	}
	p.device = d
}

func (s *Session) requestDevice(ctx context.Context, p *signIn) (tokenstore.Device, error) {
	a, err := s.fetch.postForm(ctx, "device authorization endpoint", p.target.as.DeviceEndpoint, p.client, p.deviceParams(), s.cfg.Issuer != "")
	if err != nil {
		return tokenstore.Device{}, err
	}
	return parseDevice(a, s.now())
}

func parseDevice(a answer, now time.Time) (tokenstore.Device, error) {
	var j deviceAnswer
	bad := json.Unmarshal(a.body, &j) != nil
	switch {
	case !bad && j.Error != "":
		return tokenstore.Device{}, &OAuthError{j.Error, j.Description, a.status}
	case a.status != http.StatusOK || bad:
		return tokenstore.Device{}, fmt.Errorf("status %d, no device code", a.status)
	case j.ExpiresIn < 0:
		return tokenstore.Device{}, errors.New("the device_code has expired already")
	case j.DeviceCode == "" || j.UserCode == "" || printable(j.UserCode) != j.UserCode:
		return tokenstore.Device{}, errors.New("the answer has no usable device_code and user_code")
	}
	if _, err := secureURL("verification_uri", j.VerificationURI); err != nil {
		return tokenstore.Device{}, err
	}
	if _, err := secureURL("verification_uri_complete", j.CompleteURI); err != nil {
		j.CompleteURI = "" // optional
	}
	pause := time.Duration(j.Interval * float64(time.Second))
	if pause <= 0 || pause > deviceMaxPause {
		pause = devicePause
	}
	return tokenstore.Device{
		Code: secret.New(j.DeviceCode), UserCode: j.UserCode, URI: j.VerificationURI, CompleteURI: j.CompleteURI,
		Interval: pause, Expiry: now.Add(time.Duration(min(j.ExpiresIn, maxLifetime.Seconds()) * float64(time.Second))),
	}, nil
}

// pollDevice asks for the tokens until the human is done, the code expires, or the sign-in ends in another way.
func (s *Session) pollDevice(p *signIn) {
	defer close(p.polled)
	pause := p.device.Interval
	for {
		select {
		case <-time.After(pause):
		case <-p.done:
			return
		case <-s.asking.Done():
			return
		}
		t, err := s.redeemDevice(p)
		if err == nil {
			s.finishDevice(p, t)
			return
		}
		if pause, err = pollLater(pause, err, s.now()); err != nil {
			s.log.Info("the device code leads nowhere", "cause", err)
			return // the browser's way in is still open
		}
	}
}

// pollLater is nextPoll where the server has a say in it.
func pollLater(pause time.Duration, err error, now time.Time) (time.Duration, error) {
	next, end := nextPoll(pause, err)
	var asked *retryLater
	if errors.As(err, &asked) && end == nil {
		next = max(next, min(asked.pause(now), deviceMaxPause))
	}
	return next, end
}

// nextPoll returns the pause before the next poll, or the error that ends polling (RFC 8628 section 3.5).
func nextPoll(pause time.Duration, err error) (time.Duration, error) {
	var refusal *OAuthError
	switch {
	case !errors.As(err, &refusal):
		return min(2*pause, deviceMaxPause), nil // a passing fault: "exponential backoff"
	case refusal.Code == "authorization_pending":
		return pause, nil
	case refusal.Code == "slow_down":
		return pause + deviceSlower, nil
	case refusal.temporary():
		return min(2*pause, deviceMaxPause), nil
	}
	return 0, err
}

func (s *Session) redeemDevice(p *signIn) (tokens, error) {
	// Once the human is done, the answer to any poll holds the tokens, once.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), tokenTimeout)
	defer cancel()
	form := tokenParams(p.target.resource, p.idp)
	form.Set("grant_type", deviceGrant)
	form.Set("device_code", p.device.Code.Reveal())
	return s.fetch.redeem(ctx, p.target.as.TokenEndpoint, p.client, form, s.cfg.Issuer != "")
}

// finishDevice makes the tokens the outcome of p, unless the browser was faster.
func (s *Session) finishDevice(p *signIn, t tokens) {
	if !p.taken.CompareAndSwap(false, true) {
		return
	}
	s.markTaken(p, secret.Text{})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), exchangeLimit)
	defer cancel()
	c := s.credentialFor(p, t)
	err := s.pin(ctx, c.Issuer)
	if err == nil {
		err = s.land(ctx, c)
	}
	p.credential = c
	p.outcome <- err
}
