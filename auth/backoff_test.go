package auth

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

func TestBackoffGrows(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var b backoff
	seen := map[time.Duration]bool{}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		want *= time.Second
		for range 20 {
			left := b.after(errStore, now).left(now)
			if left <= want/2 || left > want {
				t.Errorf("after %d failures the pause is %v, want up to %v", i+1, left, want)
			}
			seen[left] = true
		}
		b = b.after(errStore, now)
	}
	if len(seen) < 100 {
		t.Errorf("of 180 pauses only %d differ", len(seen))
	}
	for range 10_000 { // no overflow
		b = b.after(errStore, now)
	}
	if left := b.left(now); left <= lastPause/2 || left > lastPause {
		t.Errorf("after many failures the pause is %v", left)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after, date string
		want        time.Duration
	}{
		{after: "120", want: 2 * time.Minute},
		{after: "0"},
		{after: "-5"},
		{after: "soon"},
		{after: "1.5"},
		{after: "99999999999999"},
		{after: "Thu, 01 Jan 2026 12:00:30 GMT", want: 30 * time.Second},
		{after: "Thu, 01 Jan 2026 11:59:00 GMT"},
		{after: "Thu, 01 Jan 2026 13:00:30 GMT", date: "Thu, 01 Jan 2026 13:00:00 GMT", want: 30 * time.Second}, // our clock is an hour behind
		{after: "Thu, 01 Jan 2026 12:00:30 GMT", date: "nonsense", want: 30 * time.Second},
	} {
		err := later(errStore, http.Header{"Retry-After": {c.after}, "Date": {c.date}})
		var asked *retryLater
		if !errors.As(err, &asked) || asked.pause(now) != c.want || !errors.Is(err, errStore) {
			t.Errorf("%q at %q: pause %v, want %v (%v)", c.after, c.date, asked.pause(now), c.want, err)
		}
	}
	if later(nil, http.Header{"Retry-After": {"1"}}) != nil || later(errStore, http.Header{}) != errStore {
		t.Error("an error is made of nothing")
	}
	if left := (backoff{}).after(later(errStore, http.Header{"Retry-After": {"86400"}}), now).left(now); left != longestPause {
		t.Errorf("a server that asks for a day gets %v", left)
	}
}

// failing is a token endpoint that fails with a status until it is mended, and the times at which it was asked.
type failing struct {
	header http.Header
	mended bool
	asked  []time.Time
}

func (f *failing) network(r *http.Request) (*http.Response, error) {
	f.asked = append(f.asked, time.Now())
	if f.mended {
		return jsonResponse(`{"access_token":"new","token_type":"Bearer","refresh_token":"r2","expires_in":3600}`), nil
	}
	h := f.header
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{StatusCode: 503, Header: h, Body: io.NopCloser(strings.NewReader("overloaded"))}, nil
}

// TestBackoffOfDeadToken has a token endpoint that is down for an hour while a client asks again and again with a token
// that has expired. Requests fail at once, or wait a moment, and say when the next try is; few of them lead to a try.
func TestBackoffOfDeadToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down failing
		s := planted(t, tokenstore.NewMemory(), down.network)
		defer s.Close()
		time.Sleep(2 * time.Minute) // of the bubble's clock: the token expires
		for began := time.Now(); time.Since(began) < time.Hour; time.Sleep(100 * time.Millisecond) {
			asked := time.Now()
			_, err := authorize(t.Context(), t, s)
			if waited := time.Since(asked); err == nil || waited > patience || hintOf(err) == "" {
				t.Fatalf("a request was held up for %v and got %v, hint %q", waited, err, hintOf(err))
			}
		}
		if n := len(down.asked); n < 60 || n > 130 {
			t.Errorf("the endpoint was asked %d times in an hour", n)
		}
		_, err := authorize(t.Context(), t, s)
		if !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "the next try is in") {
			t.Errorf("a request that is held back gets %v", err)
		}
		down.mended = true
		time.Sleep(lastPause)
		if got, err := authorize(t.Context(), t, s); got != "Bearer new" || err != nil {
			t.Errorf("after the pause: %q, %v", got, err)
		}
		if b := s.view().backoff; b != (backoff{}) {
			t.Errorf("success leaves %+v", b)
		}
	})
}

// TestClockSetBack: what happened at a moment that is still to come holds nobody up, since nobody can say for how long. A
// machine that wakes may fail first and get the right time then.
func TestClockSetBack(t *testing.T) {
	var down failing
	store := tokenstore.NewMemory()
	s := planted(t, store, down.network)
	defer s.Close()
	ahead := time.Now().Add(time.Hour)
	s.cfg.Now = func() time.Time { return ahead }
	if _, err := authorize(t.Context(), t, s); err == nil {
		t.Fatal("no error")
	}
	s.cfg.Now = time.Now
	down.mended = true
	h, err := s.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if renewed, err := s.renew(t.Context(), h); err != nil || renewed.token().Reveal() != "new" {
		t.Errorf("after the clock was set back by an hour a refresh yields %v", err)
	}

	if (rejected{ahead, errors.New("refused")}).recently(time.Now()) {
		t.Error("a refusal of an hour to come is recent")
	}
	if left := recentTabs([]time.Time{ahead, time.Now()}, time.Now()); len(left) != 1 {
		t.Errorf("%d tabs count, want the one that was opened by now", len(left))
	}
	s.update(func(st *state) { st.lastRequest = ahead })
	if !s.isIdle() {
		t.Error("a bridge whose last request is an hour to come is busy")
	}
	s.update(func(st *state) { st.stepUps = map[string]stepUp{"op": {maxStepUps, ahead}} })
	if !s.countStepUp("op") {
		t.Error("step-ups of an hour to come count")
	}
}

// TestShortPauseIsWaitedOut: a request that comes in the first pauses waits for their end, and succeeds.
func TestShortPauseIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down failing
		s := planted(t, tokenstore.NewMemory(), down.network)
		defer s.Close()
		time.Sleep(2 * time.Minute) // of the bubble's clock: the token expires
		if _, err := authorize(t.Context(), t, s); err == nil {
			t.Fatal("no error")
		}
		down.mended = true
		if got, err := authorize(t.Context(), t, s); got != "Bearer new" || err != nil {
			t.Errorf("right after: %q, %v", got, err)
		}
		if pause := down.asked[1].Sub(down.asked[0]); pause <= firstPause/2 || pause > firstPause {
			t.Errorf("the second try came after %v", pause)
		}
	})
}

// TestRetryAfterIsHonoured, on the way of a 401 too, and what another process renewed meanwhile is taken at once.
func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := failing{header: http.Header{"Retry-After": {"90"}}}
		store := tokenstore.NewMemory()
		s := planted(t, store, down.network)
		defer s.Close()
		refused := func() (Verdict, error) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, farServer, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer old")
			return s.Challenged(t.Context(), &http.Response{StatusCode: 401, Request: req, Body: http.NoBody, Header: http.Header{}}, Attempt{})
		}
		for range 3 {
			if v, err := refused(); v != Refused || err == nil {
				t.Errorf("a 401 leads to %v, %v", v, err)
			}
		}
		time.Sleep(80 * time.Second)
		if _, err := refused(); err == nil || !strings.Contains(err.Error(), "the next try is in 10s") || len(down.asked) != 1 {
			t.Errorf("after 80 s: %v, asked %d times", err, len(down.asked))
		}

		c, err := s.Credential(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.AccessToken, c.RefreshToken, c.Expiry = secret.New("theirs"), secret.New("r9"), time.Now().Add(time.Hour)
		if err := tokenstore.SaveCredential(t.Context(), store, c); err != nil {
			t.Fatal(err)
		}
		if v, err := refused(); v != Resend || err != nil {
			t.Errorf("with another process's token: %v, %v", v, err)
		}
	})
}

// TestBackoffLooksAtTheStore: the same ahead of a request.
func TestBackoffLooksAtTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := failing{header: http.Header{"Retry-After": {"90"}}}
		store := tokenstore.NewMemory()
		s := planted(t, store, down.network)
		defer s.Close()
		time.Sleep(2 * time.Minute) // of the bubble's clock: the token expires
		if _, err := authorize(t.Context(), t, s); err == nil {
			t.Fatal("no error")
		}
		c, err := s.Credential(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.AccessToken, c.RefreshToken, c.Expiry = secret.New("theirs"), secret.New("r9"), time.Now().Add(time.Hour)
		if err := tokenstore.SaveCredential(t.Context(), store, c); err != nil {
			t.Fatal(err)
		}
		if got, err := authorize(t.Context(), t, s); got != "Bearer theirs" || err != nil || len(down.asked) != 1 {
			t.Errorf("with another process's token: %q, %v, asked %d times", got, err, len(down.asked))
		}
	})
}

// TestCodeOutlivesPassingFaults: a token endpoint that is away for a moment costs no sign-in of a human who was done.
func TestCodeOutlivesPassingFaults(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{
		"502":                     answerStatus(502, "<html>"),
		"429":                     answerStatus(429, ""),
		"temporarily_unavailable": answerStatus(400, `{"error":"temporarily_unavailable"}`),
		"cut off":                 func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t)
			var asked atomic.Int32
			st.IdP.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/token" || asked.Add(1) > 1 {
					return false
				}
				fault(w, r)
				return true
			})
			st.mustCall(st.session())
			st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
		})
	}
}

// TestCodeIsNotSentForEver, and a refusal that says so is believed at once.
func TestCodeIsNotSentForEver(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		asked  int32
	}{
		"away":    {answerStatus(503, ""), exchangeTries},
		"refused": {answerStatus(400, `{"error":"invalid_grant"}`), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t)
			var asked atomic.Int32
			atIdP("/token", func(w http.ResponseWriter, r *http.Request) { asked.Add(1); c.answer(w, r) })(st)
			if _, err := st.call(st.session()); err == nil || asked.Load() != c.asked {
				t.Errorf("the code was sent %d times, want %d (%v)", asked.Load(), c.asked, err)
			}
		})
	}
}
