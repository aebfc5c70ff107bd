package demo

import (
	"maps"
	"net/http"
	"time"
)

// Faults are the refusals and the misbehaviour that the identity provider can be told to show. The zero value is a
// provider that behaves. They may be changed while it runs: [IdP.SetFaults].
type Faults struct {
	// TokenStatus, if not zero, is the status of every answer of the token endpoint, with an empty body unless
	// TokenError or TokenHTML fills it. Nothing is redeemed.
	TokenStatus int
	// TokenError, if not empty, is the RFC 6749 §5.2 error code that the token endpoint answers ("invalid_grant",
	// "temporarily_unavailable"), with TokenStatus or 400.
	TokenError string
	// TokenHTML makes the token endpoint answer an HTML page, with TokenStatus or 200, as a proxy in the way does.
	TokenHTML bool
	// TokenRedirect, if not empty, is where the token endpoint sends its callers with 307.
	TokenRedirect string
	// TokenDelay is how long the token endpoint waits before it does anything, or until the caller leaves.
	TokenDelay time.Duration
	// TokenLost makes the token endpoint do its work and then cut the connection: the answer is lost on the way.
	TokenLost bool

	// RegistrationError, if not empty, is the RFC 7591 §3.2.2 error code that every registration is refused with.
	RegistrationError string
	// NoRegistration removes dynamic registration: not in the metadata, 404.
	NoRegistration bool
	// NoManagement gives registrations without a way to delete them (RFC 7592).
	NoManagement bool
	// NoRevocation leaves revocation_endpoint out of the metadata, as Entra ID does.
	NoRevocation bool
	// NoClientDocuments removes client id metadata documents: not in the metadata, and such a client is unknown.
	NoClientDocuments bool

	// MetadataIssuer, if not empty, stands in the metadata instead of the issuer.
	MetadataIssuer string
	// MetadataStatus, if not zero, is the status of every metadata answer, which is then HTML.
	MetadataStatus int
	// MetadataDelay is how long metadata is held back, or until the caller leaves.
	MetadataDelay time.Duration
	// NoPKCEMethods leaves code_challenge_methods_supported out of the metadata.
	NoPKCEMethods bool

	// NoIss leaves `iss` out of authorization responses.
	NoIss bool
	// WrongIss, if not empty, is the `iss` of authorization responses.
	WrongIss string
	// NoIssAdvertised leaves authorization_response_iss_parameter_supported out of the metadata.
	NoIssAdvertised bool

	// NoRefreshTokens makes the token endpoint give access tokens only.
	NoRefreshTokens bool
	// OfflineAccessOnly makes it give refresh tokens only where the scope offline_access was granted.
	OfflineAccessOnly bool
	// NoRotation keeps a refresh token valid after use, and leaves it out of the answer to a refresh.
	NoRotation bool
}

// Counts is what an identity provider has done since it started.
type Counts struct {
	// SignIns is the number of authorization codes issued: people who signed in and consented.
	SignIns int
	// AuthorizationRequests is the number of valid requests at the authorization endpoint: tabs opened.
	AuthorizationRequests int
	// TokenRequests counts requests at the token endpoint by grant_type, refused ones included.
	TokenRequests map[string]int
	// Refreshes is the number of refresh tokens redeemed.
	Refreshes int
	// Reuses is the number of spent codes and refresh tokens that were presented again.
	Reuses int
	// Registrations is the number of clients registered dynamically.
	Registrations int
	// Deregistrations is the number of clients deleted by themselves (RFC 7592).
	Deregistrations int
	// Revocations is the number of tokens ended at the revocation endpoint.
	Revocations int
}

func (c Counts) clone() Counts {
	c.TokenRequests = maps.Clone(c.TokenRequests)
	return c
}

// answerToken gives the answer of the token endpoint that the faults ask for, if they do.
func (f Faults) answerToken(w http.ResponseWriter, r *http.Request) (answered bool) {
	status := func(otherwise int) int {
		if f.TokenStatus != 0 {
			return f.TokenStatus
		}
		return otherwise
	}
	switch {
	case f.TokenRedirect != "":
		http.Redirect(w, r, f.TokenRedirect, http.StatusTemporaryRedirect)
	case f.TokenError != "":
		(&refusal{Status: status(http.StatusBadRequest), Code: f.TokenError}).write(w)
	case f.TokenHTML:
		proxyPage(w, status(http.StatusOK))
	case f.TokenStatus != 0:
		w.WriteHeader(f.TokenStatus)
	default:
		return false
	}
	return true
}
