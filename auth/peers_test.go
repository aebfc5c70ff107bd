package auth

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/demo/sdk"
	"drawbridge/tokenstore"
)

// clock is the time of all peers of a test; it moves only when told.
type clock struct{ offset atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// diary collects everything that a session says to anybody.
type diary struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (d *diary) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.buf.Write(b)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.buf.String()
}

// stage is a world with people in front of it.
type stage struct {
	*demo.World
	t     *testing.T
	clock *clock
	store tokenstore.Store
	said  *diary
	tabs  atomic.Int32 // browser tabs opened
	human demo.Human
	pages chan string // last page of each tab
}

func newStage(t *testing.T, edit ...func(*demo.Config)) *stage {
	t.Helper()
	st := &stage{t: t, clock: &clock{}, store: tokenstore.NewMemory(), said: &diary{}, pages: make(chan string, 100)}
	cfg := demo.Config{Now: st.clock.Now}
	for _, e := range edit {
		e(&cfg)
	}
	cfg.Server.Engine = sdk.New
	w, err := demo.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	st.World = w
	t.Cleanup(func() {
		_ = w.Close() // the next line is what counts
		st.checkNoLeak()
	})
	return st
}

// checkNoLeak looks for every secret the provider handed out in everything the sessions logged or said.
func (st *stage) checkNoLeak() {
	said := st.said.String()
	for _, issued := range st.IdP.Issued() {
		if strings.Contains(said, issued) {
			st.t.Errorf("a secret is in the log: %.60s…", issued)
		}
	}
}

// session starts a session whose human has a browser and Ada's password.
func (st *stage) session(edit ...func(*Config)) *Session {
	st.t.Helper()
	cfg := Config{
		ServerURL: st.URL(), Store: st.store, Now: st.clock.Now, LoginTimeout: 20 * time.Second,
		Open:   st.open,
		Notice: func(line string) { fmt.Fprintln(st.said, line) },
		Log:    st.log(),
	}
	for _, e := range edit {
		e(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(s.Close)
	return s
}

func (st *stage) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(st.said, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (st *stage) open(url string) error {
	st.tabs.Add(1)
	text, err := st.human.SignIn(st.t.Context(), url, "ada", demo.Ada().Password)
	st.pages <- text
	return err
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",` +
	`"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

func (st *stage) request(ctx context.Context) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, st.URL(), strings.NewReader(initialize))
	if err != nil {
		st.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	return req
}

// call does what a bridge does with one request: authorize, send, obey the verdict. It returns the last status.
func (st *stage) call(s *Session) (int, error) {
	var a Attempt
	a.Operation = "initialize"
	for {
		req := st.request(st.t.Context())
		if err := s.Authorize(req); err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		status := resp.StatusCode
		if status != http.StatusUnauthorized && status != http.StatusForbidden {
			return status, drain(resp)
		}
		verdict, err := s.Challenged(st.t.Context(), resp, a)
		_ = drain(resp) // the verdict is what counts
		switch {
		case verdict == Refused:
			return status, err
		case verdict == Pending:
			if err := wait(st.t.Context(), s); err != nil {
				return status, err
			}
			a.SignedIn = true
		}
		a.Resent++
	}
}

func wait(ctx context.Context, s *Session) error {
	p, ok := s.Pending()
	if !ok {
		return nil
	}
	p.Present(nil)
	select {
	case <-p.Done:
		return p.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func drain(resp *http.Response) error {
	_, err := io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close() // read to its end
	return err
}

// mustCall fails the test unless the request was answered with 200.
func (st *stage) mustCall(s *Session) {
	st.t.Helper()
	if status, err := st.call(s); status != http.StatusOK || err != nil {
		st.t.Fatalf("call: status %d, %v", status, err)
	}
}

// tally is what a test counts.
type tally struct{ Tabs, SignIns, Registrations, Refreshes, Reuses int }

func (st *stage) tally() tally {
	c := st.IdP.Counts()
	return tally{int(st.tabs.Load()), c.SignIns, c.Registrations, c.Refreshes, c.Reuses}
}

func (st *stage) wantTally(want tally) {
	st.t.Helper()
	if got := st.tally(); got != want {
		st.t.Errorf("tally is %+v, want %+v", got, want)
	}
}

// stored returns the credential in the store.
func (st *stage) stored() (tokenstore.Credential, error) {
	name, err := tokenstore.CredentialName(st.URL(), "")
	if err != nil {
		st.t.Fatal(err)
	}
	return tokenstore.LoadCredential(st.t.Context(), st.store, name)
}
