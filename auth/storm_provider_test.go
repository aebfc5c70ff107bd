//go:build unix

package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"time"
)

// stormProvider is an authorization server that rotates refresh tokens and revokes the family when a spent one comes
// back, together with the server that it protects. It says of every answer whose it is, which the demo's provider does
// not: that is what tells a kill inside the unavoidable window from one outside.
type stormProvider struct {
	*httptest.Server
	clock    stormClock
	lifetime time.Duration // of access tokens, real time
	honest   bool          // every answer says how long its token lives

	// received is asked before a token request is looked at, committed after it was granted and before it is answered.
	// Either may kill the worker; then there is no answer.
	received, committed func(worker string) (answer bool)

	mu       sync.Mutex // held too while a worker dies, so that nothing is granted meanwhile
	codes    map[string]*stormCode
	refresh  map[string]*stormRefresh
	access   map[string]*stormAccess
	owed     map[string]stormGrant // by worker: what was granted to it and is not yet saved
	clients  map[string]string     // redirect URI by client id
	served   map[string]int        // requests let through, by worker
	gone     map[string]bool       // workers that were killed
	counts   stormCounts
	accident []string // what must not happen
}

type stormCounts struct {
	Registrations, SignIns, Expiries, Reuses int
}

// stormFamily is what came of one sign-in.
type stormFamily struct {
	revoked bool
	lost    bool // its live refresh token died with a worker
}

type stormCode struct {
	challenge, redirectURI, client string
	arrived                        bool         // the browser has begun to deliver it
	family                         *stormFamily // what came of it; nil until it is spent
	ended                          bool         // the worker that it had arrived at died
}

type stormRefresh struct {
	family *stormFamily
	spent  bool
}

type stormAccess struct {
	family *stormFamily
	until  time.Time // the server refuses it from then on; zero: never, as its holder was told when it expires
}

// stormGrant is a refresh token on its way to a worker's store.
type stormGrant struct {
	token  string
	family *stormFamily
	code   bool // granted for an authorization code
}

func newStormProvider(clock stormClock, lifetime time.Duration) *stormProvider {
	p := &stormProvider{
		clock: clock, lifetime: lifetime, codes: map[string]*stormCode{}, refresh: map[string]*stormRefresh{},
		access: map[string]*stormAccess{}, owed: map[string]stormGrant{}, clients: map[string]string{}, served: map[string]int{}, gone: map[string]bool{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /mcp", p.serve)
	mux.HandleFunc("GET /.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, r *http.Request) {
		answerJSON(object{"resource": p.resource(), "authorization_servers": []string{p.URL}})(w, r)
	})
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, r *http.Request) {
		metadata := goodMetadata(p.URL)
		metadata["authorization_response_iss_parameter_supported"] = true
		answerJSON(metadata)(w, r)
	})
	mux.HandleFunc("POST /register", p.register)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	p.received, p.committed = func(string) bool { return true }, func(string) bool { return true }
	p.Server = httptest.NewServer(mux)
	return p
}

func (p *stormProvider) resource() string { return p.URL + "/mcp" }

// serve is the protected server. It does not refuse a request that it refused before for an older token: a slow machine
// would else see its tokens expire faster than it can use them.
func (p *stormProvider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	a := p.access[sentToken(r).Reveal()]
	ok := a != nil && !a.family.revoked && (a.until.IsZero() || time.Now().Before(a.until) || r.Header.Get(againHeader) != "")
	if ok {
		p.served[r.Header.Get(workerHeader)]++
	}
	p.mu.Unlock()
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+p.URL+`/.well-known/oauth-protected-resource/mcp"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func (p *stormProvider) register(w http.ResponseWriter, r *http.Request) {
	var asked registrationRequest
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.RedirectURIs) != 1 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	id := rand.Text()
	p.mu.Lock()
	p.clients[id] = asked.RedirectURIs[0]
	p.counts.Registrations++
	p.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	answerJSON(object{"client_id": id, "redirect_uris": asked.RedirectURIs, "token_endpoint_auth_method": "none"})(w, r)
}

// authorize has a human behind it who says yes.
func (p *stormProvider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.mu.Lock()
	defer p.mu.Unlock()
	client := q.Get("client_id")
	if p.clients[client] != q.Get("redirect_uri") || q.Get("resource") != p.resource() || q.Get("code_challenge_method") != "S256" {
		p.accident = append(p.accident, "a malformed authorization request")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.codes[code] = &stormCode{challenge: q.Get("code_challenge"), redirectURI: q.Get("redirect_uri"), client: client}
	p.counts.SignIns++
	back := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.URL}}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
}

func (p *stormProvider) token(w http.ResponseWriter, r *http.Request) {
	worker := r.Header.Get(workerHeader)
	if err := r.ParseForm(); err != nil || !p.received(worker) {
		return
	}
	p.mu.Lock()
	answer, refusal := p.redeem(worker, r)
	p.mu.Unlock()
	if refusal != "" {
		w.WriteHeader(http.StatusBadRequest)
		answerJSON(object{"error": "invalid_grant", "error_description": refusal})(w, r)
		return
	}
	if p.committed(worker) {
		answerJSON(answer)(w, r)
	}
}

// redeem grants or refuses. A worker that has died while its request waited gets nothing.
func (p *stormProvider) redeem(worker string, r *http.Request) (answer object, refusal string) {
	if p.gone[worker] {
		return nil, "nobody is there"
	}
	if r.PostForm.Get("grant_type") == "refresh_token" {
		return p.redeemRefresh(worker, r.PostForm)
	}
	c := p.codes[r.PostForm.Get("code")]
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	switch {
	case c == nil:
		return nil, "unknown"
	case c.family != nil:
		// OAuth 2.1 section 4.1.3: what came of it is revoked.
		c.family.revoked = true
		if !c.family.lost {
			p.accident = append(p.accident, "a spent code came back, and no kill explains it")
		}
		return nil, "the code is spent"
	case c.redirectURI != r.PostForm.Get("redirect_uri") || c.client != r.PostForm.Get("client_id"),
		base64.RawURLEncoding.EncodeToString(sum[:]) != c.challenge:
		p.accident = append(p.accident, "a code was redeemed by somebody else")
		return nil, "the code is another client's"
	}
	c.family = &stormFamily{}
	return p.grant(worker, c.family, true), ""
}

func (p *stormProvider) redeemRefresh(worker string, form url.Values) (answer object, refusal string) {
	t := p.refresh[form.Get("refresh_token")]
	switch {
	case t == nil:
		p.accident = append(p.accident, "an unknown refresh token")
		return nil, "unknown"
	case t.family.revoked:
		return nil, "the family was revoked"
	case t.spent:
		p.counts.Reuses++
		t.family.revoked = true
		if !t.family.lost {
			p.accident = append(p.accident, "a spent refresh token came back, and no kill explains it")
		}
		return nil, "the refresh token was used before"
	}
	t.spent = true
	p.counts.Expiries++
	return p.grant(worker, t.family, false), ""
}

// grant issues tokens. Of two access tokens one says when it expires, the other is refused by the server out of the
// blue: the first is renewed ahead of time, the second after a 401.
func (p *stormProvider) grant(worker string, f *stormFamily, code bool) object {
	access, refresh := rand.Text(), rand.Text()
	p.refresh[refresh] = &stormRefresh{family: f}
	p.owed[worker] = stormGrant{refresh, f, code}
	told := p.lifetime * time.Duration(p.clock.Speed)
	a := &stormAccess{family: f}
	if !p.honest && p.counts.Expiries%2 == 0 {
		a.until, told = time.Now().Add(p.lifetime), 50*told
	}
	p.access[access] = a
	return object{"access_token": access, "token_type": "Bearer", "refresh_token": refresh, "expires_in": told.Seconds()}
}

// settled notes that a worker has saved what was granted to it.
func (p *stormProvider) settled(worker string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.owed, worker)
}
