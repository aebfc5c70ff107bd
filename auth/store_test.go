package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// flakyStore is a store whose writes or reads can be made to fail.
type flakyStore struct {
	tokenstore.Store
	failSave, failLoad atomic.Bool
	failDelete         atomic.Bool
	lies               atomic.Bool // the write lands and is reported as failed
}

var errStore = errors.New("the keychain is asleep")

func (f *flakyStore) Save(ctx context.Context, name tokenstore.Name, item secret.Text) error {
	if f.lies.Load() {
		return errors.Join(f.Store.Save(ctx, name, item), errStore)
	}
	if f.failSave.Load() {
		return errStore
	}
	return f.Store.Save(ctx, name, item)
}

func (f *flakyStore) Load(ctx context.Context, name tokenstore.Name) (secret.Text, error) {
	if f.failLoad.Load() {
		return secret.Text{}, errStore
	}
	return f.Store.Load(ctx, name)
}

func (f *flakyStore) Delete(ctx context.Context, name tokenstore.Name) error {
	if f.failDelete.Load() {
		return errStore
	}
	return f.Store.Delete(ctx, name)
}

func newFlakyStage(t *testing.T) (*stage, *flakyStore) {
	st := newStage(t, func(c *demo.Config) { c.TokenLifetime = time.Hour })
	flaky := &flakyStore{Store: st.store}
	st.store = flaky
	return st, flaky
}

// TestRotatedTokenIsSavedBeforeUse has the store fail when the rotated token is to be kept. The new token must not be
// used, and must not be lost either: the one it replaces is spent.
func TestRotatedTokenIsSavedBeforeUse(t *testing.T) {
	st, flaky := newFlakyStage(t)
	s := st.session()
	st.mustCall(s)
	before, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}

	flaky.failSave.Store(true)
	st.clock.advance(time.Hour - 30*time.Second)
	if resp := st.send(s); !sentToken(resp.Request).Equal(before.AccessToken) {
		t.Error("a token that is not stored was sent")
	}
	st.clock.advance(time.Minute)
	if _, err := st.call(s); !errors.Is(err, errStore) {
		t.Errorf("with an expired token the call gave %v", err)
	}

	flaky.failSave.Store(false)
	st.mustCall(s)
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 1})

	// Another process finds a refresh token that works.
	st.clock.advance(time.Hour)
	st.mustCall(st.session())
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1, Refreshes: 2})
}

// TestUnknownWriteIsLookedAt has the store report a failure for a write that landed.
func TestUnknownWriteIsLookedAt(t *testing.T) {
	st, flaky := newFlakyStage(t)
	flaky.lies.Store(true)
	st.mustCall(st.session())
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

func TestSignInThatCannotBeKept(t *testing.T) {
	st, flaky := newFlakyStage(t)
	flaky.failSave.Store(true)
	s := st.session()
	if status, err := st.call(s); !errors.Is(err, errStore) {
		t.Errorf("call: status %d, %v", status, err)
	}
	req := st.request(t.Context())
	if err := s.Authorize(req); err != nil || req.Header.Get("Authorization") != "" {
		t.Errorf("a token that is not stored is used, or %v", err)
	}
	if page := <-st.pages; !strings.Contains(page, "Sign-in failed") {
		t.Errorf("the page is %q", page)
	}
}

// watchedStore reports credentials that are written or deleted without the lock of those who refresh.
type watchedStore struct {
	tokenstore.Store
	t      *testing.T
	locked atomic.Bool
}

func (w *watchedStore) Lock(ctx context.Context, name string) (func(), error) {
	unlock, err := w.Store.Lock(ctx, name)
	if err != nil || !strings.HasPrefix(name, "refresh-") {
		return unlock, err
	}
	w.locked.Store(true)
	return func() { w.locked.Store(false); unlock() }, nil
}

func (w *watchedStore) check(name tokenstore.Name) {
	if name.Kind() == tokenstore.KindCredential && !w.locked.Load() {
		w.t.Errorf("%s is changed without the lock", name)
	}
}

func (w *watchedStore) Save(ctx context.Context, name tokenstore.Name, item secret.Text) error {
	w.check(name)
	return w.Store.Save(ctx, name, item)
}

func (w *watchedStore) Delete(ctx context.Context, name tokenstore.Name) error {
	w.check(name)
	return w.Store.Delete(ctx, name)
}

// TestEveryChangeIsLocked signs in, refreshes and is refused, all under the lock that processes share.
func TestEveryChangeIsLocked(t *testing.T) {
	st := newStage(t)
	st.store = &watchedStore{Store: st.store, t: t}
	s := st.session()
	st.mustCall(s)
	st.clock.advance(time.Hour)
	st.mustCall(s)
	st.IdP.Deactivate("ada")
	st.clock.advance(time.Hour)
	st.send(s)
	if _, err := st.stored(); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("the record is still there: %v", err)
	}
}

// TestUnreadableStore lets an open server work and says what is wrong when a credential is needed.
func TestUnreadableStore(t *testing.T) {
	st, flaky := newFlakyStage(t)
	flaky.failLoad.Store(true)
	s := st.session()
	if status, err := st.call(s); status != http.StatusUnauthorized || !errors.Is(err, errStore) {
		t.Errorf("call: status %d, %v", status, err)
	}
	st.wantTally(tally{})
	flaky.failLoad.Store(false)
	st.mustCall(s)
}

// TestWhatDoesNotMatchIsAbsent keeps a credential from a configuration that it was not made for.
func TestWhatDoesNotMatchIsAbsent(t *testing.T) {
	st := newStage(t)
	st.mustCall(st.session())
	good, err := st.stored()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config func(*Config)
		record func(*tokenstore.Credential)
		usable bool
	}{
		"the same":       {usable: true},
		"its issuer":     {config: func(c *Config) { c.Issuer = st.Issuer() }, usable: true},
		"another issuer": {config: func(c *Config) { c.Issuer = "https://idp.example.com" }},
		"another client": {config: func(c *Config) { c.Client.ID = "somebody-else" }},
		"another resource": {record: func(c *tokenstore.Credential) {
			c.Resource = "https://mcp.example.com/mcp"
		}},
		"parent resource": {record: func(c *tokenstore.Credential) {
			c.Resource = strings.TrimSuffix(c.Resource, "/mcp")
		}, usable: true},
		"sibling resource": {record: func(c *tokenstore.Credential) { c.Resource += "2" }},
		"no token":         {record: func(c *tokenstore.Credential) { c.AccessToken = secret.Text{} }},
	} {
		t.Run(name, func(t *testing.T) {
			record := good
			if c.record != nil {
				c.record(&record)
			}
			if err := tokenstore.SaveCredential(t.Context(), st.store, record); err != nil {
				t.Fatal(err)
			}
			edit := c.config
			if edit == nil {
				edit = func(*Config) {}
			}
			s := st.session(edit)
			req := st.request(t.Context())
			if err := s.Authorize(req); err != nil {
				t.Fatal(err)
			}
			if got := req.Header.Get("Authorization") != ""; got != c.usable {
				t.Errorf("the credential is used: %v", got)
			}
			if _, err := s.Credential(t.Context()); errors.Is(err, tokenstore.ErrNotFound) == c.usable {
				t.Errorf("Credential gave %v", err)
			}
		})
	}
}

// TestOtherOriginsGetNothing sends requests elsewhere through the same session.
func TestOtherOriginsGetNothing(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	port := st.request(t.Context()).URL.Port()
	for _, url := range []string{
		"https://127.0.0.1:" + port + "/mcp", "http://127.0.0.1:1/mcp", "http://localhost:" + port + "/mcp",
		"http://127.0.0.1.evil.example:" + port + "/mcp",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Authorize(req); err != nil || req.Header.Get("Authorization") != "" {
			t.Errorf("%s got the token, or %v", url, err)
		}
		resp := &http.Response{StatusCode: 401, Request: req, Body: http.NoBody}
		if v, err := s.Challenged(t.Context(), resp, Attempt{}); v != Refused || err != nil {
			t.Errorf("%s: a refusal there is judged %v, %v", url, v, err)
		}
	}
}

// TestWithdrawnRecord has another process log out. The next refresh finds that out.
func TestWithdrawnRecord(t *testing.T) {
	st := newStage(t)
	s := st.session()
	st.mustCall(s)
	name, err := tokenstore.CredentialName(st.URL(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.store.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	st.clock.advance(time.Hour)
	st.mustCall(s)
	st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 1})
}

// refusingSignIns is a store that keeps no sign-ins under way.
type refusingSignIns struct {
	tokenstore.Store
	on *atomic.Bool
}

func (r refusingSignIns) Save(ctx context.Context, name tokenstore.Name, item secret.Text) error {
	if r.on.Load() && name.Kind() == tokenstore.KindSignIn {
		return errors.New("refused by the test")
	}
	return r.Store.Save(ctx, name, item)
}
