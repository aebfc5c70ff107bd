package auth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// roundTrips is a network that is a function.
type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func jsonResponse(body string) *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

const farServer = "https://mcp.example.com/mcp"

// stored is a session with a credential that expires in a minute, over a network of the test's making.
func planted(t *testing.T, store tokenstore.Store, network roundTrips) *Session {
	t.Helper()
	now := time.Now()
	err := tokenstore.SaveCredential(t.Context(), store, tokenstore.Credential{
		ServerURL: farServer, Resource: farServer, Issuer: "https://idp.example.com", TokenType: "Bearer",
		Client:        tokenstore.Client{ID: "c", AuthMethod: "none"},
		TokenEndpoint: "https://idp.example.com/token",
		AccessToken:   secret.New("old"), RefreshToken: secret.New("r1"),
		IssuedAt: now.Add(-time.Hour), Expiry: now.Add(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{ServerURL: farServer, Store: store, HTTP: &http.Client{Transport: network}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func authorize(ctx context.Context, t *testing.T, s *Session) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, farServer, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Authorize(req)
	return req.Header.Get("Authorization"), err
}

// TestSlowRefreshOutlivesItsCaller has a caller leave while the token endpoint thinks. The refresh goes on, once, and
// its result serves the next caller: a rotated token whose answer nobody reads would be lost.
func TestSlowRefreshOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var forms []url.Values
		s := planted(t, tokenstore.NewMemory(), func(r *http.Request) (*http.Response, error) {
			_ = r.ParseForm() // compared below
			mu.Lock()
			forms = append(forms, r.PostForm)
			mu.Unlock()
			select {
			case <-time.After(20 * time.Second):
				return jsonResponse(`{"access_token":"new","token_type":"Bearer","refresh_token":"r2","expires_in":3600}`), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		defer s.Close()
		s.Warm(t.Context())
		time.Sleep(2 * time.Minute) // of the bubble's clock: the token expires

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := authorize(ctx, t, s); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller got %v", err)
		}
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("the caller waited %v", waited)
		}
		if got, err := authorize(t.Context(), t, s); got != "Bearer new" || err != nil {
			t.Errorf("the next caller got %q, %v", got, err)
		}
		if waited := time.Since(began); waited != 20*time.Second {
			t.Errorf("the refresh took %v", waited)
		}
		want := []url.Values{{"grant_type": {"refresh_token"}, "refresh_token": {"r1"}, "resource": {farServer}, "client_id": {"c"}}}
		if diff := cmp.Diff(want, forms); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// TestHungRefresh ends at the time-out of the token request, with the sign-in kept.
func TestHungRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := tokenstore.NewMemory()
		s := planted(t, store, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		defer s.Close()
		time.Sleep(2 * time.Minute) // of the bubble's clock: the token expires
		began := time.Now()
		_, err := authorize(t.Context(), t, s)
		if err == nil || time.Since(began) != tokenTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if _, err := s.Credential(t.Context()); err != nil {
			t.Errorf("the record is gone: %v", err)
		}
	})
}

// TestLockHeldElsewhere makes do with the live token, then says what is in the way. It never goes on without the lock.
func TestLockHeldElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := tokenstore.NewMemory()
		s := planted(t, store, func(*http.Request) (*http.Response, error) {
			t.Error("a refresh was sent without the lock")
			return nil, errors.New("no network")
		})
		defer s.Close()
		_, hash, _ := strings.Cut(string(s.name), ":")
		unlock, err := store.Lock(t.Context(), "refresh-"+hash)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()

		time.Sleep(30 * time.Second) // of the bubble's clock: about to expire
		began := time.Now()
		if got, err := authorize(t.Context(), t, s); got != "Bearer old" || err != nil {
			t.Errorf("with a live token: %q, %v", got, err)
		}
		if waited := time.Since(began); waited != lockWait {
			t.Errorf("it waited %v", waited)
		}
		began = time.Now()
		if got, err := authorize(t.Context(), t, s); got != "Bearer old" || err != nil || time.Since(began) != 0 {
			t.Errorf("soon after: %q, %v, %v", got, err, time.Since(began))
		}
		time.Sleep(time.Minute) // of the bubble's clock: expired
		_, err = authorize(t.Context(), t, s)
		var h interface{ Hint() string }
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &h) {
			t.Errorf("with an expired token: %v", err)
		}
	})
}

// TestInvalidGrantOfAnOldToken does not believe a refusal of a token that another process has meanwhile replaced.
func TestInvalidGrantOfAnOldToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := tokenstore.NewMemory()
		var s *Session
		s = planted(t, store, func(*http.Request) (*http.Response, error) {
			c, err := s.Credential(t.Context())
			if err != nil {
				return nil, err
			}
			c.AccessToken, c.RefreshToken, c.Expiry = secret.New("theirs"), secret.New("r9"), time.Now().Add(time.Hour)
			if err := tokenstore.SaveCredential(t.Context(), store, c); err != nil {
				return nil, err
			}
			resp := jsonResponse(`{"error":"invalid_grant"}`)
			resp.StatusCode = 400
			return resp, nil
		})
		defer s.Close()
		time.Sleep(2 * time.Minute) // of the bubble's clock: the token expires
		if got, err := authorize(t.Context(), t, s); got != "Bearer theirs" || err != nil {
			t.Errorf("authorized with %q, %v", got, err)
		}
	})
}
