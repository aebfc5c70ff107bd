package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// This file is about servers that want a key of their own instead of a sign-in. The key is kept in the place of a sign-in of
// that server and profile, so that all that holds for tokens holds for it: where it is kept, and that it goes to the server's
// origin alone. It cannot be renewed, and no identity provider knows it.

// authorizationHeader carries a key as a bearer token; every other header carries it as it is.
const authorizationHeader = "Authorization"

// KeepKey stores key for the server and profile, in place of a sign-in or another key. header names the header that carries
// it; "" is Authorization, as a bearer token.
func (s *Session) KeepKey(ctx context.Context, header string, key secret.Text) (tokenstore.Credential, error) {
	if header == "" {
		header = authorizationHeader
	}
	c := tokenstore.Credential{
		ServerURL: s.cfg.ServerURL, Profile: s.cfg.Profile, Resource: s.cfg.ServerURL, SignIn: rand.Text(),
		KeyHeader: http.CanonicalHeaderKey(header), AccessToken: key, IssuedAt: s.now(),
	}
	return c, s.land(ctx, c)
}

// isKey reports whether the credential is a static key.
func (h held) isKey() bool { return h.credential.IsKey() }

// set puts the credential on a request.
func (h held) set(req *http.Request) {
	if name := h.credential.KeyHeader; h.isKey() && name != authorizationHeader {
		req.Header.Set(name, h.token().Reveal())
		return
	}
	req.Header.Set(authorizationHeader, "Bearer "+h.token().Reveal())
}

// sent is the token or key that a request carried.
func (s *Session) sent(req *http.Request) secret.Text {
	if c := s.view().held.credential; c.IsKey() && c.KeyHeader != authorizationHeader {
		return text(req.Header.Get(c.KeyHeader))
	}
	return sentToken(req)
}

// keyRefused explains the refusal of a stored key: there is nobody to sign in.
func (s *Session) keyRefused(resp *http.Response) error {
	again := "drawbridge login " + s.cfg.ServerURL + " --key-stdin"
	if s.cfg.Profile != "" {
		again += " --profile " + s.cfg.Profile
	}
	return hint(fmt.Errorf("the server refused the stored key (status %d)", resp.StatusCode), "store a new one with: %s", again)
}

// errKeyOutlives is why a logout cannot confirm the end of a key.
var errKeyOutlives = errors.New("the server is not told; the key is still valid there until it is withdrawn")
