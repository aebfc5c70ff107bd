package demo

import (
	"context"
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// requestLimit is how long the human may take between opening the authorization URL and consenting.
const requestLimit = 10 * time.Minute

// authRequest is an authorization request that passed every check and waits for its human.
type authRequest struct {
	id          string
	session     *session // of the browser that brought it; no other may go on with it
	client      Client
	redirectURI string
	state       string
	challenge   string // PKCE S256
	resource    string
	nonce       string
	scopes      []string
	askPassword bool // prompt=login, until the password was given
	expires     time.Time
}

// s256Challenge is what RFC 7636 §4.2 makes of a SHA-256 sum.
var s256Challenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// authorize is the authorization endpoint (OAuth 2.1 §4.1.1).
func (p *IdP) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	client, problem := p.authorizingClient(r.Context(), q)
	if problem != "" {
		// OAuth 2.1 §4.1.2.1: without a trusted redirect URI the human is told, and nobody is redirected.
		p.pages.problem(w, http.StatusBadRequest, problem)
		return
	}
	req := &authRequest{id: rand.Text(), client: client, redirectURI: q.Get("redirect_uri"), state: q.Get("state"),
		challenge: q.Get("code_challenge"), nonce: q.Get("nonce"), askPassword: q.Get("prompt") == "login"}
	if f := p.checkRequest(q, req); f != nil {
		p.redirectBack(w, r, req, url.Values{"error": {f.Code}, "error_description": {f.Description}})
		return
	}
	p.remember(w, r, req)
	http.Redirect(w, r, p.path+"/login?request="+req.id, http.StatusSeeOther)
}

// authorizingClient identifies the client and makes sure that the redirect URI is one of its own. A problem is text
// for the human.
func (p *IdP) authorizingClient(ctx context.Context, q url.Values) (_ Client, problem string) {
	id := q.Get("client_id")
	if len(q["client_id"]) != 1 || len(q["redirect_uri"]) != 1 {
		return Client{}, "The request must have one client_id and one redirect_uri."
	}
	client, known := p.client(id)
	if isClientDocument(id) && !p.faults().NoClientDocuments {
		var err error
		if client, err = p.fetchClient(ctx, id); err != nil {
			p.log.Warn("refused a client id metadata document", "client", id, "err", err)
			return Client{}, "The client's metadata document cannot be used."
		}
	} else if !known {
		return Client{}, "This client is not known here."
	}
	if !client.allowsRedirect(q.Get("redirect_uri"), p.anyLoopbackPort) {
		return Client{}, "The redirect URI is not registered for this client."
	}
	return client, ""
}

// checkRequest fills in what it checks.
func (p *IdP) checkRequest(q url.Values, req *authRequest) *refusal {
	for name, values := range q {
		if len(values) > 1 && name != "resource" { // RFC 8707 §2 lets resource repeat
			return invalidRequest("a parameter is repeated")
		}
	}
	switch {
	case q.Get("response_type") != "code":
		return &refusal{Code: "unsupported_response_type", Description: "response_type must be code"}
	case q.Get("code_challenge_method") != "S256" || !s256Challenge.MatchString(req.challenge):
		return invalidRequest("PKCE with code_challenge_method S256 is required")
	case q.Get("prompt") == "none":
		return &refusal{Code: "interaction_required", Description: "this provider asks a human every time"}
	}
	var f *refusal
	if req.resource, f = p.knownResource(q["resource"]); f != nil {
		return f
	}
	req.scopes, f = p.requestedScopes(q.Get("scope"), req.client)
	return f
}

// knownResource demands one resource that exists. RFC 8707 §2 leaves it to the server to insist on one.
func (p *IdP) knownResource(resources []string) (_ string, f *refusal) {
	if len(resources) != 1 {
		return "", invalidTarget("one resource is required")
	}
	p.update(func(s *state) {
		if !s.resources[resources[0]] {
			f = invalidTarget("unknown resource")
		}
	})
	return resources[0], f
}

// requestedScopes reads a scope parameter. A request that names none gets the first scope.
func (p *IdP) requestedScopes(scope string, c Client) ([]string, *refusal) {
	scopes := strings.Fields(scope)
	if len(scopes) == 0 {
		return p.scopes[:1], nil
	}
	for _, one := range scopes {
		if !slices.Contains(p.scopes, one) || c.Scopes != nil && !slices.Contains(c.Scopes, one) {
			return nil, &refusal{Code: "invalid_scope", Description: "a scope is unknown or not for this client"}
		}
	}
	return scopes, nil
}

// remember binds the request to the browser that brought it.
func (p *IdP) remember(w http.ResponseWriter, r *http.Request, req *authRequest) {
	p.update(func(s *state) {
		req.expires = p.now().Add(requestLimit)
		req.session = s.sessionOf(r, p.cookie)
		if req.session == nil {
			req.session = s.newSession()
		}
		maps.DeleteFunc(s.requests, func(_ string, old *authRequest) bool { return p.now().After(old.expires) })
		s.requests[req.id] = req
		s.counts.AuthorizationRequests++
	})
	p.setCookie(w, req.session)
}

// redirectBack sends the browser to the client with an authorization response, success or error.
func (p *IdP) redirectBack(w http.ResponseWriter, r *http.Request, req *authRequest, answer url.Values) {
	u, err := url.Parse(req.redirectURI)
	if err != nil {
		p.pages.problem(w, http.StatusBadRequest, "The redirect URI cannot be read.")
		return
	}
	q := u.Query()
	maps.Copy(q, answer)
	if req.state != "" {
		q.Set("state", req.state)
	}
	switch f := p.faults(); {
	case f.NoIss:
	case f.WrongIss != "":
		q.Set("iss", f.WrongIss)
	default:
		q.Set("iss", p.issuer) // RFC 9207 §2: in error responses as well
	}
	u.RawQuery = q.Encode()
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}
