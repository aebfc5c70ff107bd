package demo

import (
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// authServerMetadata is what RFC 8414 §2 has, and what OpenID Connect Discovery §3 requires besides.
type authServerMetadata struct {
	oauthex.AuthServerMeta
	SubjectTypesSupported            []string `json:"subject_types_supported"`
	IDTokenSigningAlgValuesSupported []string `json:"id_token_signing_alg_values_supported"`
}

// metadata answers RFC 8414 and OpenID Connect Discovery with the same document.
func (p *IdP) metadata(w http.ResponseWriter, r *http.Request) {
	f := p.faults()
	if f.MetadataDelay > 0 && !wait(r.Context(), f.MetadataDelay) {
		return
	}
	if f.MetadataStatus != 0 {
		proxyPage(w, f.MetadataStatus)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	writeJSON(w, http.StatusOK, p.document(f))
}

func (p *IdP) document(f Faults) authServerMetadata {
	methods := []string{"none", "client_secret_basic", "client_secret_post"}
	m := authServerMetadata{
		AuthServerMeta: oauthex.AuthServerMeta{
			Issuer:                                     p.issuer,
			AuthorizationEndpoint:                      p.issuer + "/authorize",
			TokenEndpoint:                              p.issuer + "/token",
			JWKSURI:                                    p.issuer + "/jwks",
			RegistrationEndpoint:                       p.issuer + "/register",
			RevocationEndpoint:                         p.issuer + "/revoke",
			ScopesSupported:                            p.scopes,
			ResponseTypesSupported:                     []string{"code"},
			ResponseModesSupported:                     []string{"query"},
			GrantTypesSupported:                        []string{"authorization_code", "refresh_token"},
			TokenEndpointAuthMethodsSupported:          methods,
			RevocationEndpointAuthMethodsSupported:     methods,
			CodeChallengeMethodsSupported:              []string{"S256"},
			ClientIDMetadataDocumentSupported:          !f.NoClientDocuments,
			AuthorizationResponseIssParameterSupported: !f.NoIssAdvertised,
		},
		SubjectTypesSupported:            []string{"public"},
		IDTokenSigningAlgValuesSupported: []string{signingAlgorithm},
	}
	m.misstate(f)
	return m
}

// misstate applies the faults that change or drop a member.
func (m *authServerMetadata) misstate(f Faults) {
	if f.MetadataIssuer != "" {
		m.Issuer = f.MetadataIssuer
	}
	if f.NoPKCEMethods {
		m.CodeChallengeMethodsSupported = nil
	}
	if f.NoRegistration {
		m.RegistrationEndpoint = ""
	}
	if f.NoRevocation {
		m.RevocationEndpoint = ""
	}
}

// jwks publishes the signing key (RFC 7517 §5).
func (p *IdP) jwks(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, p.signer.keySet())
}

// proxyPage is the HTML that a proxy or a captive portal answers in place of the server behind it.
func proxyPage(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte("<!doctype html><title>Gateway</title><h1>The gateway has something else to say</h1>\n")) // the caller may have left
}
