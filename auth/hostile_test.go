package auth

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
	"drawbridge/tokenstore"
)

// misdeed is one way in which a server, an identity provider or somebody between them misbehaves.
//
// Each is played twice: at a first sign-in, and at a sign-in over a good credential, which must survive. Then everybody
// behaves again, and the same session must work.
type misdeed struct {
	name     string
	do       func(st *stage)                   // makes a peer misbehave
	redirect func(st *stage, query url.Values) // changes the authorization response on its way through the browser
	patience time.Duration                     // of the client's requests, if not zero

	err  string // part of the error
	hint string // part of the hint
	tabs int    // browser tabs that may be opened

	// ignored is part of the page that answers a response which does not count. The sign-in goes on then: the person
	// follows the same link again, everybody behaves, and it succeeds.
	ignored string
}

// victim is a stage with a browser that can be tampered with, and a session on it.
type victim struct {
	*stage
	misdeed
	way     tampering
	session *Session
}

func newVictim(t *testing.T, m misdeed) *victim {
	st := newStage(t)
	v := &victim{stage: st, misdeed: m}
	st.human.Transport = &v.way
	return v
}

// begin starts the session that the misdeed is played to.
func (v *victim) begin() {
	v.session = v.stage.session(func(c *Config) {
		if v.ignored != "" {
			c.Open = v.openTwice
		}
	})
	if v.patience != 0 {
		v.session.fetch.get.Timeout, v.session.fetch.post.Timeout = v.patience, v.patience
	}
	if v.do != nil {
		v.do(v.stage)
	}
	if v.misdeed.redirect != nil {
		v.way.set(func(q url.Values) { v.misdeed.redirect(v.stage, q) })
	}
}

// openTwice is a person who follows the link again after the first answer did not count.
func (v *victim) openTwice(link string) error {
	first, _ := v.human.SignIn(v.t.Context(), link, "ada", demo.Ada().Password) // its page says what became of it
	v.behave()
	err := v.open(link)
	v.pages <- first
	return err
}

// behave ends all misbehaviour.
func (v *victim) behave() {
	v.IdP.SetFaults(demo.Faults{})
	v.IdP.SetIntercept(nil)
	v.Server.SetIntercept(nil)
	v.way.set(nil)
}

// judge checks what came of the misdeed: its error, its hint, its tabs, and that nobody was told a secret.
func (v *victim) judge(err error, tabs int) {
	v.t.Helper()
	wantError(v.t, err, v.err)
	var h interface{ Hint() string }
	hinted := errors.As(err, &h) && h.Hint() != ""
	if hinted != (v.hint != "") || hinted && !strings.Contains(h.Hint(), v.hint) {
		v.t.Errorf("the hint of %v is not %q", err, v.hint)
	}
	if tabs != v.misdeed.tabs {
		v.t.Errorf("%d tabs were opened, want %d", tabs, v.misdeed.tabs)
	}
	if v.ignored != "" {
		if page := v.page() + v.page(); !strings.Contains(page, v.ignored) {
			v.t.Errorf("no page says %q: %q", v.ignored, page)
		}
	} else {
		for range tabs {
			v.harmless("page", v.page())
		}
	}
	for _, page := range v.way.pages() {
		v.harmless("page", page)
		if strings.Contains(page, "<script") {
			v.t.Errorf("the page has a script: %q", page)
		}
	}
	if err != nil {
		v.harmless("error", err.Error())
	}
	v.harmless("log", v.said.String())
}

func (v *victim) page() string {
	select {
	case p := <-v.pages:
		return p
	case <-time.After(10 * time.Second):
		v.t.Fatal("the browser shows no page")
		return ""
	}
}

// harmless checks text that people and terminals see.
func (v *victim) harmless(what, text string) {
	v.t.Helper()
	harmless(v.t, what, text)
}

func harmless(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, "CANARY") {
		t.Errorf("a secret is in the %s: %s", what, text)
	}
	for _, r := range text {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			t.Errorf("%U is in the %s: %q", r, what, text)
			return
		}
	}
}

// play runs every misdeed at a first sign-in and over a good credential.
func play(t *testing.T, misdeeds []misdeed) {
	t.Helper()
	for _, m := range misdeeds {
		t.Run(m.name+"/first", func(t *testing.T) { playFirst(t, m) })
		t.Run(m.name+"/over a good one", func(t *testing.T) { playOver(t, m) })
	}
}

func playFirst(t *testing.T, m misdeed) {
	v := newVictim(t, m)
	v.begin()
	_, err := v.call(v.session)
	v.judge(err, int(v.stage.tabs.Load()))
	if _, loadErr := v.stored(); (loadErr == nil) != (err == nil) {
		t.Errorf("the store: %v", loadErr)
	}
	v.recover()
	v.mustCall(v.session)
}

func playOver(t *testing.T, m misdeed) {
	v := newVictim(t, m)
	v.mustCall(v.stage.session())
	v.page()
	good := v.mustStored()
	if err := v.store.Delete(t.Context(), tokenstore.RegistrationName(v.Issuer())); err != nil { // so that a misdeed there is met
		t.Fatal(err)
	}
	v.begin()
	_, err := v.session.SignIn(t.Context())
	v.judge(err, int(v.stage.tabs.Load())-1)
	if err == nil {
		return
	}
	if diff := cmp.Diff(fingerprint(good), fingerprint(v.mustStored())); diff != "" {
		t.Errorf("the good sign-in is not what it was (-want +got):\n%s", diff)
	}
	v.recover()
	before := v.stage.tabs.Load()
	v.mustCall(v.session)
	if n := v.stage.tabs.Load() - before; n != 0 {
		t.Errorf("the good sign-in is lost: %d tabs", n)
	}
	if _, err := v.session.SignIn(t.Context()); err != nil {
		t.Errorf("an honest sign-in: %v", err)
	}
}

// recover lets everybody behave again, and the client be as patient as it is.
func (v *victim) recover() {
	v.behave()
	v.session.fetch.get.Timeout, v.session.fetch.post.Timeout = metadataTimeout, tokenTimeout
}

func (v *victim) mustStored() tokenstore.Credential {
	v.t.Helper()
	c, err := v.stored()
	if err != nil {
		v.t.Fatal(err)
	}
	return c
}

// fingerprint makes a record comparable, secrets included, without showing them.
func fingerprint(c tokenstore.Credential) string {
	return fmt.Sprintf("%x %x %+v", sha256.Sum256([]byte(c.AccessToken.Reveal())), sha256.Sum256([]byte(c.RefreshToken.Reveal())), c)
}

// tampering carries the browser's requests and changes the query of those to the redirect URI.
type tampering struct {
	mu     sync.Mutex
	edit   func(url.Values)
	landed []string // pages of the redirect URI, as they came
}

func (w *tampering) set(edit func(url.Values)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.edit = edit
}

func (w *tampering) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	edit := w.edit
	w.mu.Unlock()
	if r.URL.Path != DefaultCallbackPath {
		return http.DefaultTransport.RoundTrip(r)
	}
	if edit != nil {
		r = r.Clone(r.Context())
		query := r.URL.Query()
		edit(query)
		r.URL.RawQuery = query.Encode()
	}
	return w.keep(http.DefaultTransport.RoundTrip(r))
}

// keep remembers the page.
func (w *tampering) keep(resp *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // read to its end
	resp.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.landed = append(w.landed, string(body))
	return resp, err
}

func (w *tampering) pages() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.landed)
}

// atIdP makes the identity provider answer requests for path in another way.
func atIdP(path string, h http.HandlerFunc) func(*stage) {
	return func(st *stage) { st.IdP.SetIntercept(only(path, h)) }
}

// atServer makes the server answer requests for path in another way, as long as they carry no token.
func atServer(path string, h http.HandlerFunc) func(*stage) {
	return func(st *stage) {
		st.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
			return r.Header.Get("Authorization") == "" && only(path, h)(w, r)
		})
	}
}

func only(path string, h http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		h(w, r)
		return true
	}
}

// atMetadata makes the identity provider answer requests for its metadata, wherever it may be, in another way.
func atMetadata(h http.HandlerFunc) func(*stage) {
	return func(st *stage) {
		st.IdP.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
				return false
			}
			h(w, r)
			return true
		})
	}
}

// statedBy makes the identity provider publish its metadata with one member changed; nil drops it. A string may say
// ISSUER for the issuer.
func statedBy(key string, value any) func(*stage) {
	return func(st *stage) {
		doc := with(goodMetadata(st.Issuer()), "authorization_response_iss_parameter_supported", true)
		if s, ok := value.(string); ok {
			doc[key] = strings.ReplaceAll(s, "ISSUER", st.Issuer())
		} else {
			doc = with(doc, key, value)
		}
		atMetadata(answerJSON(doc))(st)
	}
}

// claimed makes the server publish its protected resource metadata with one member changed.
func claimed(key string, value func(st *stage) any) func(*stage) {
	return func(st *stage) {
		doc := object{"resource": st.URL(), "authorization_servers": []string{st.Issuer()}, "scopes_supported": []string{"mcp"}}
		atServer(atPath, answerJSON(with(doc, key, value(st))))(st)
	}
}

func always(value any) func(*stage) any { return func(*stage) any { return value } }

// challenging makes the server refuse requests without a token with these challenges, in which SERVER is its origin.
func challenging(lines ...string) func(*stage) {
	return func(st *stage) {
		atServer("/mcp", func(w http.ResponseWriter, _ *http.Request) {
			for _, line := range lines {
				w.Header().Add("WWW-Authenticate", strings.ReplaceAll(line, "SERVER", st.Server.Origin()))
			}
			w.WriteHeader(http.StatusUnauthorized)
		})(st)
	}
}

// bomb answers a small body that unpacks to 8 MiB.
func bomb(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 8<<20)) // a buffer takes everything
	_ = z.Close()
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b.Bytes()) // the test sees a broken answer
}

// hang answers nothing until the caller leaves.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// drip sends one byte after another, never a whole document.
func drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			_, _ = w.Write([]byte(" ")) // until the caller leaves
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func sendTo(status int, target string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, status) }
}
