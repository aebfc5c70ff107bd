//go:build unix

package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// workerConfig is what a worker process of a storm gets to know.
type workerConfig struct {
	ID       int
	Server   string // URL of the protected server
	Control  string // URL of the storm
	Store    storeConfig
	Callback int           // port of the redirect URI
	Login    time.Duration // bound of a sign-in, on the worker's clock
	Clock    stormClock
}

// storeConfig is the store that all processes of a storm share.
type storeConfig struct{ Kind, Dir, KeyFile string }

func (c storeConfig) open() (tokenstore.Store, error) {
	return tokenstore.Open(tokenstore.Options{
		Kind: c.Kind, Dir: c.Dir, KeyFile: c.KeyFile, SessionBus: os.Getenv("DBUS_SESSION_BUS_ADDRESS"),
	})
}

// stormClock is the time of all processes of a storm. It runs fast, so that a storm of minutes is weeks of work, with
// every bound that counts minutes in its place.
type stormClock struct {
	Start time.Time
	Speed int
	Ahead time.Duration
}

func (c stormClock) now() time.Time {
	return c.Start.Add(time.Since(c.Start)*time.Duration(c.Speed) + c.Ahead)
}

// Headers by which the storm knows whom it serves.
const (
	workerHeader = "Storm-Worker"
	againHeader  = "Storm-Again" // this request was refused before, for another token
)

// worker is a process that sends requests, one after the other, until it is killed.
type worker struct {
	workerConfig
	http    *http.Client
	session *Session
}

// workerPatience bounds a request with everything that it may wait for: locks, refreshes, a human who answers soon.
const workerPatience = 40 * time.Second

func workInStorm(argument string) error {
	w, err := newWorker(argument)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the storm
		os.Exit(0)
	}()
	for {
		w.work()
		<-time.After(30*time.Millisecond + rand.N(60*time.Millisecond))
	}
}

func newWorker(argument string) (*worker, error) {
	w := &worker{}
	if err := json.Unmarshal([]byte(argument), &w.workerConfig); err != nil {
		return nil, err
	}
	store, err := w.Store.open()
	if err != nil {
		return nil, err
	}
	w.http = &http.Client{Transport: named(strconv.Itoa(w.ID))}
	w.session, err = New(Config{
		ServerURL: w.Server, Store: tellingStore{store, w}, HTTP: w.http, Now: w.Clock.now, LoginTimeout: w.Login,
		Callback: CallbackConfig{Port: w.Callback},
		Open:     func(url string) error { w.tell("tab", url); return nil },
		Notice:   func(line string) { w.tell("notice", line) },
	})
	return w, err
}

// named is a transport that says whose requests it carries.
type named string

func (n named) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(workerHeader, string(n))
	return http.DefaultTransport.RoundTrip(req)
}

// tell reports to the storm and waits for its leave to go on, which may never come.
func (w *worker) tell(what, text string) {
	form := url.Values{"what": {what}, "text": {text}}
	resp, err := w.http.PostForm(w.Control, form)
	if err != nil {
		os.Exit(3) // the storm is over
	}
	_ = drain(resp) // there is nothing in it
}

// work sends one request and reports what a client of the bridge would complain about.
func (w *worker) work() {
	ctx, cancel := context.WithTimeout(context.Background(), workerPatience)
	defer cancel()
	a, err := w.call(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		w.tell("late", err.Error())
	case a.SignedIn:
		w.tell("unfinished", err.Error()) // the sign-in was cut short by a kill: the client tries again
	default:
		w.tell("failed", err.Error())
	}
}

// call does what a bridge does with a tool call.
func (w *worker) call(ctx context.Context) (a Attempt, err error) {
	for {
		resp, err := w.send(ctx, a)
		if err != nil {
			return a, err
		}
		if resp.StatusCode == http.StatusOK {
			return a, drain(resp)
		}
		verdict, err := w.session.Challenged(ctx, resp, a)
		_ = drain(resp) // the verdict is what counts
		switch {
		case err != nil:
			return a, err
		case verdict == Refused:
			return a, fmt.Errorf("refused with status %d", resp.StatusCode)
		case verdict == Pending:
			a.SignedIn = true
			if err := wait(ctx, w.session); err != nil {
				return a, fmt.Errorf("sign-in: %w", err)
			}
		}
		a.Resent++
	}
}

func (w *worker) send(ctx context.Context, a Attempt) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Server, strings.NewReader(initialize))
	if err != nil {
		return nil, err
	}
	if err := w.session.Authorize(req); err != nil {
		return nil, fmt.Errorf("authorize: %w", err)
	}
	if a.SignedIn || a.Resent > 1 {
		req.Header.Set(againHeader, "1")
	}
	return w.http.Do(req)
}

// tellingStore tells the storm of the moments that matter before it goes on.
type tellingStore struct {
	tokenstore.Store
	w *worker
}

func (s tellingStore) Save(ctx context.Context, name tokenstore.Name, item secret.Text) error {
	s.w.tell("saving "+name.Kind(), "")
	err := s.Store.Save(ctx, name, item)
	if err == nil {
		s.w.tell("saved "+name.Kind(), "")
	}
	return err
}

func (s tellingStore) Delete(ctx context.Context, name tokenstore.Name) error {
	s.w.tell("deleting "+name.Kind(), "")
	err := s.Store.Delete(ctx, name)
	s.w.tell("deleted "+name.Kind(), "")
	return err
}

func (s tellingStore) Lock(ctx context.Context, name string) (func(), error) {
	unlock, err := s.Store.Lock(ctx, name)
	if err == nil {
		s.w.tell("locked", name)
	}
	return unlock, err
}
