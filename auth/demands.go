package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"drawbridge/tokenstore"
)

// maxClaimsBytes bounds a claims challenge, which travels in a URL.
const maxClaimsBytes = 4 << 10

// demandsOf reads from the parameters of a Bearer challenge how the person is to sign in. What is malformed is no demand.
func demandsOf(params map[string]string) url.Values {
	demands := url.Values{}
	switch params["error"] {
	case "insufficient_user_authentication": // RFC 9470 section 3
		if acr := printable(params["acr_values"]); acr != "" && acr == params["acr_values"] {
			demands.Set("acr_values", acr)
		}
		if age, err := strconv.ParseUint(params["max_age"], 10, 32); err == nil {
			demands.Set("max_age", strconv.FormatUint(age, 10))
		}
	case "insufficient_claims": // Microsoft identity platform, claims challenge
		if claims := decodeClaims(params["claims"]); claims != "" {
			demands.Set("claims", claims)
		}
	}
	if len(demands) == 0 {
		return nil
	}
	return demands
}

// decodeClaims returns the claims request (OpenID Connect Core section 5.5) of a challenge, or "" when it is none. It is
// base64 in either alphabet, with padding or without.
func decodeClaims(encoded string) string {
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(encoded, "="))
	raw, err := base64.RawStdEncoding.DecodeString(plain)
	var object map[string]json.RawMessage
	if err != nil || len(raw) > maxClaimsBytes || json.Unmarshal(raw, &object) != nil || len(object) == 0 {
		return ""
	}
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil {
		return ""
	}
	return compact.String()
}

// asksFor reports whether the authorization request at address carries the demands.
func asksFor(address string, demands url.Values) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	query := u.Query()
	for name := range demands {
		if query.Get(name) != demands.Get(name) {
			return false
		}
	}
	return true
}

const (
	// demandProbe bounds the look at what the server says to the token that is stored.
	demandProbe = 3 * time.Second
	// demandMemory is how long after a demanded sign-in ran out another one still meets its demands.
	demandMemory = time.Hour
)

// demanded returns how the server wants a person to sign in who asks for it themselves, and so met no refusal: what it says to
// the token that is stored, else what the last sign-in was to meet that came to nothing. Nil is in no special way.
func (s *Session) demanded(ctx context.Context) url.Values {
	if h, err := s.load(ctx); err == nil && h.alive(s.now()) {
		look, cancel := context.WithTimeout(ctx, demandProbe)
		defer cancel()
		// What fails here fails again, and is told, where it matters.
		if w, err := s.probe(look, h.token()); err == nil && len(w.demands) > 0 {
			return w.demands
		}
	}
	rec, ok := s.record(ctx)
	if !ok || rec.Outcome == tokenstore.OutcomeDone || s.now().Sub(rec.Deadline) > demandMemory {
		return nil
	}
	return demandsIn(rec.URL)
}

// demandsIn returns the demands that the authorization request at address carries.
func demandsIn(address string) url.Values {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	var demands url.Values
	for _, name := range []string{"acr_values", "max_age", "claims"} {
		if value := u.Query().Get(name); value != "" {
			if demands == nil {
				demands = url.Values{}
			}
			demands.Set(name, value)
		}
	}
	return demands
}

// signInAsDemanded starts a sign-in that meets the demands of a challenge. The token that was refused is good for other
// requests and stays until the new one is there.
func (s *Session) signInAsDemanded(ctx context.Context, resp *http.Response, w wanted, h held, a Attempt) (Verdict, error) {
	const reason = "the server asks for a newer or stronger sign-in"
	switch {
	case a.Background:
		return Refused, s.required(reason)
	case !s.countStepUp(a.Operation):
		return Refused, fmt.Errorf("%w: %d sign-ins for it did not help", s.serverRefuses(resp, reason), maxStepUps)
	}
	return s.ask(ctx, want{wanted: w, generation: h.generation, have: askedAndGranted(h.credential), reason: reason})
}
