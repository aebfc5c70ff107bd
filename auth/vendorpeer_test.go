package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/tokenstore"
)

const (
	vendorServer = "https://mcp.example.com/mcp"
	vendorClient = "client-1"
)

// fakeIdP plays an identity provider that refuses what a vendor's refuses.
type fakeIdP struct {
	issuer, authorization, token string
	metadataAt                   string // the one URL that has the metadata
	metadata                     object // beside issuer and endpoints
	serverScopes                 []string
	clientSecret                 string
	sendsIss                     bool

	// page refuses an authorization request in the browser, without a redirect back; "" accepts it.
	page func(url.Values) string
	// refuse refuses an authorization request at the redirect.
	refuse func(url.Values) *OAuthError
	// refuseToken refuses a request to the token endpoint. first are the parameters of the authorization request.
	refuseToken func(form, first url.Values) *OAuthError
	// audience is whom the access token is for.
	audience func(url.Values) string
	// renews reports whether a refresh token is issued.
	renews func(url.Values) bool
}

// vendorStage is a network in which every name leads to one server: the MCP server, an identity provider, a gateway.
type vendorStage struct {
	t         *testing.T
	web       *httptest.Server
	transport http.RoundTripper
	clock     *clock
	said      *diary
	store     tokenstore.Store
	port      int                           // of the redirect URI
	demand    func(first url.Values) string // parameters of the challenge to a good token; "" serves the request
	idp       fakeIdP
	extra     map[string]http.HandlerFunc // by URL without query

	browsing sync.WaitGroup

	mu     sync.Mutex
	count  int
	grants map[string]url.Values // authorization requests by code or refresh token
	tokens map[string]url.Values // authorization requests by access token
	asked  []url.Values          // authorization requests
	forms  []url.Values          // token requests
	pages  []string              // what the browser showed last
}

func newVendorStage(t *testing.T, idp fakeIdP) *vendorStage {
	v := &vendorStage{
		t: t, idp: idp, clock: &clock{}, said: &diary{}, store: tokenstore.NewMemory(), port: unusedPort(t),
		extra: map[string]http.HandlerFunc{}, grants: map[string]url.Values{}, tokens: map[string]url.Values{},
	}
	v.web = httptest.NewTLSServer(v)
	t.Cleanup(v.web.Close)
	transport := v.web.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.ServerName = "example.com" // what the server's certificate is for
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", v.web.Listener.Addr().String())
	}
	v.transport = plainRoundTripper{transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if said := v.said.String(); strings.Contains(said, "CANARY") {
			t.Errorf("a secret is in the log:\n%s", said)
		}
	})
	return v
}

// plainRoundTripper hides that it is an *http.Transport, whose connections to loopback would be refused.
type plainRoundTripper struct{ http.RoundTripper }

// unusedPort returns a port below those that systems give to outgoing connections, one of which could take it between
// two sign-ins.
func unusedPort(t *testing.T) int {
	for range 100 {
		port := 20000 + rand.IntN(12000)
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = ln.Close() // it was only to see
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func (v *vendorStage) session(edit ...func(*Config)) *Session {
	v.t.Helper()
	cfg := Config{
		ServerURL: vendorServer, Store: v.store, HTTP: &http.Client{Transport: v.transport}, Now: v.clock.Now,
		Client:   ClientIdentity{ID: vendorClient, Secret: text(v.idp.clientSecret)},
		Callback: CallbackConfig{Port: v.port}, LoginTimeout: 20 * time.Second, Open: v.open,
		Notice: func(line string) { fmt.Fprintln(v.said, line) },
		Log:    slog.New(slog.NewTextHandler(v.said, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, e := range edit {
		e(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(s.Close)
	return s
}

// open is a browser whose person agrees to everything.
func (v *vendorStage) open(address string) error {
	v.browsing.Add(1)
	defer v.browsing.Done()
	browser := &http.Client{Transport: v.transport, CheckRedirect: never}
	resp, err := browser.Get(address)
	if err == nil && resp.StatusCode == http.StatusFound {
		_ = resp.Body.Close() // a redirect has no page
		resp, err = http.Get(resp.Header.Get("Location"))
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pages = append(v.pages, string(page))
	return err
}

// call sends one request as the bridge would, and returns the last status.
func (v *vendorStage) call(s *Session) (int, error) {
	a := Attempt{Operation: "tools/call x"}
	for {
		req, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, vendorServer, strings.NewReader("{}"))
		if err != nil {
			return 0, err
		}
		if err := s.Authorize(req); err != nil {
			return 0, err
		}
		resp, err := v.transport.RoundTrip(req)
		if err != nil {
			return 0, err
		}
		if resp.StatusCode == http.StatusOK {
			return resp.StatusCode, drain(resp)
		}
		verdict, err := s.Challenged(v.t.Context(), resp, a)
		_ = drain(resp) // the verdict is what counts
		switch verdict {
		case Refused:
			return resp.StatusCode, err
		case Pending:
			if err := wait(v.t.Context(), s); err != nil {
				return resp.StatusCode, err
			}
			a.SignedIn = true
		}
		a.Resent++
	}
}

// credential returns what is stored.
func (v *vendorStage) credential() tokenstore.Credential {
	v.t.Helper()
	name, err := tokenstore.CredentialName(vendorServer, "")
	if err != nil {
		v.t.Fatal(err)
	}
	c, err := tokenstore.LoadCredential(v.t.Context(), v.store, name)
	if err != nil {
		v.t.Fatal(err)
	}
	return c
}

// requests returns the authorization requests so far, and the forms sent to the token endpoint.
func (v *vendorStage) requests() (asked, forms []url.Values) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.asked), slices.Clone(v.forms)
}

// lastPage returns what the browser has shown.
func (v *vendorStage) lastPage() string {
	v.browsing.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Join(v.pages, "\n")
}

func (v *vendorStage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := "https://" + r.Host + r.URL.Path
	switch extra := v.extra[at]; {
	case extra != nil:
		extra(w, r)
	case at == vendorServer:
		v.serve(w, r)
	case at == "https://mcp.example.com/.well-known/oauth-protected-resource/mcp":
		answerJSON(object{
			"resource": vendorServer, "authorization_servers": []string{v.idp.issuer}, "scopes_supported": v.idp.serverScopes,
		})(w, r)
	case at == v.idp.metadataAt:
		doc := object{"issuer": v.idp.issuer, "authorization_endpoint": v.idp.authorization, "token_endpoint": v.idp.token}
		maps.Copy(doc, v.idp.metadata)
		answerJSON(doc)(w, r)
	case at == v.idp.authorization:
		v.authorize(w, r)
	case at == v.idp.token:
		v.redeem(w, r)
	default:
		http.NotFound(w, r)
	}
}

// serve is the MCP server, which accepts tokens that are for it and meet its demands.
func (v *vendorStage) serve(w http.ResponseWriter, r *http.Request) {
	challenge := `Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`
	first := v.tokens[sentToken(r).Reveal()]
	switch {
	case sentToken(r).IsZero():
	case first == nil || v.idp.audience(first) != vendorServer:
		challenge += `, error="invalid_token"`
	case v.demand == nil || v.demand(first) == "":
		return
	default:
		challenge += ", " + v.demand(first)
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.WriteHeader(http.StatusUnauthorized)
}

func (v *vendorStage) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	v.asked = append(v.asked, query)
	if v.idp.page != nil {
		if refusal := v.idp.page(query); refusal != "" {
			answerStatus(http.StatusBadRequest, refusal)(w, r)
			return
		}
	}
	back := url.Values{"state": query["state"]}
	if v.idp.sendsIss {
		back.Set("iss", v.idp.issuer)
	}
	var refusal *OAuthError
	if v.idp.refuse != nil {
		refusal = v.idp.refuse(query)
	}
	if refusal != nil {
		back.Set("error", refusal.Code)
		back.Set("error_description", refusal.Description)
	} else {
		back.Set("code", v.remember("CANARY-code", query))
	}
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (v *vendorStage) remember(kind string, first url.Values) string {
	v.count++
	name := fmt.Sprintf("%s-%d", kind, v.count)
	v.grants[name] = first
	return name
}

func (v *vendorStage) redeem(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing is refused
	form, _ := url.ParseQuery(string(body))
	v.forms = append(v.forms, form)
	presented := form.Get("code") + form.Get("refresh_token")
	first := v.grants[presented]
	delete(v.grants, presented)
	refusal := v.judge(r, form, first)
	if refusal != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(object{"error": refusal.Code, "error_description": refusal.Description}) // seen by the test
		return
	}
	v.count++
	access := fmt.Sprintf("CANARY-access-%d", v.count)
	v.tokens[access] = first
	answer := object{"access_token": access, "token_type": "Bearer", "expires_in": 3600}
	if v.idp.renews(first) {
		answer["refresh_token"] = v.remember("CANARY-refresh", first)
	}
	answerJSON(answer)(w, r)
}

// judge refuses what every provider refuses, then what this one does.
func (v *vendorStage) judge(r *http.Request, form, first url.Values) *OAuthError {
	id, sent, _ := r.BasicAuth()
	challenge := sha256.Sum256([]byte(form.Get("code_verifier")))
	code := form.Get("grant_type") == "authorization_code"
	switch {
	case first == nil:
		return &OAuthError{Code: "invalid_grant"}
	case code && first.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(challenge[:]):
		return &OAuthError{Code: "invalid_grant", Description: "PKCE"}
	case code && first.Get("redirect_uri") != form.Get("redirect_uri"):
		return &OAuthError{Code: "invalid_grant", Description: "redirect_uri"}
	case form.Get("client_id")+id != vendorClient:
		return &OAuthError{Code: "invalid_client"}
	case v.idp.clientSecret != "" && sent+form.Get("client_secret") == "":
		return &OAuthError{Code: "invalid_request", Description: "client_secret is missing."}
	case v.idp.refuseToken != nil:
		return v.idp.refuseToken(form, first)
	}
	return nil
}
