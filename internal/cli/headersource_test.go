package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/internal/secret"
)

func requestWith(headers []header) *http.Request {
	req, _ := http.NewRequest(http.MethodPost, "https://mcp.example.com/mcp", nil) // the URL is good
	setHeaders(req, headers)
	return req
}

// TestHeaderCommandStorm: many requests that are refused at once make the command run once; one that brings nothing new is left
// alone for a while.
func TestHeaderCommandStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		key := atomic.Pointer[string]{}
		set := func(k string) { key.Store(&k) }
		set("one")
		s := &headerSource{command: func() (secret.Text, error) {
			runs.Add(1)
			time.Sleep(time.Second)
			return secret.New("X-Key: " + *key.Load() + "\n"), nil
		}}
		storm := func(want int32, wantRenewed bool) {
			t.Helper()
			sent, err := s.get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() {
					if renewed, err := s.renew(t.Context(), requestWith(sent)); renewed != wantRenewed || err != nil {
						t.Errorf("renewed: %v, error %v; want %v", renewed, err, wantRenewed)
					}
				})
			}
			wg.Wait()
			if got := runs.Load(); got != want {
				t.Errorf("the command ran %d times, want %d", got, want)
			}
		}
		if _, err := s.get(t.Context()); err != nil {
			t.Fatal(err)
		}
		set("two")
		storm(2, true)
		storm(3, false)
		storm(3, false)
		time.Sleep(commandPause)
		storm(4, false)
		time.Sleep(commandPause)
		set("three")
		storm(5, true)
	})
}

// TestHeaderFileIsReadAgain: a key that was rotated in the file is found when the server refuses the old one.
func TestHeaderFileIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "headers")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("X-Key: old\n")
	o := headerOptions{lines: []string{"X-Team: a"}, file: file}
	s, err := o.source(Env{LookupEnv: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	sent, _ := s.get(t.Context()) // nothing can fail in it without a command
	if renewed, err := s.renew(t.Context(), requestWith(sent)); renewed || err != nil {
		t.Errorf("unchanged file: renewed %v, error %v", renewed, err)
	}
	write("X-Key: new\n")
	if renewed, err := s.renew(t.Context(), requestWith(sent)); !renewed || err != nil {
		t.Errorf("changed file: renewed %v, error %v", renewed, err)
	}
	now, _ := s.get(t.Context())
	if got := requestWith(now).Header; got.Get("X-Key") != "new" || got.Get("X-Team") != "a" {
		t.Errorf("headers %v", got)
	}
}

// TestLiteralSecret: one warning for a secret on the command line, none for what comes from the environment or is none.
func TestLiteralSecret(t *testing.T) {
	for lines, want := range map[string]string{
		"Authorization: Bearer abc": "Authorization", "X-Api-Key: abc": "X-Api-Key", "X-Team: a\nx-auth-token: b\nCookie: c": "x-auth-token",
		"Authorization: Bearer ${TOKEN}": "", "X-Team: platform": "", "": "",
	} {
		if got := literalSecret(strings.Split(lines, "\n")); got != want {
			t.Errorf("literalSecret(%q) = %q, want %q", lines, got, want)
		}
	}
}
