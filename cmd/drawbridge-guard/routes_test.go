package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// deadlines notes until when the request may be read.
type deadlines struct {
	http.ResponseWriter
	read time.Time
}

// SetReadDeadline is what [http.ResponseController] looks for.
func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.read = at
	return nil
}

// TestSlowElsewhere: a body that is sent a byte a minute to where the gate does not count holds its connection for seconds.
func TestSlowElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		h, err := routes("https://mcp.example.com/mcp", none, none)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]time.Time{"/mcp": {}, "/mcp/oauth/register": time.Now().Add(restTime), "/other": time.Now().Add(restTime)} {
			w := &deadlines{ResponseWriter: httptest.NewRecorder()}
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "https://mcp.example.com"+path, nil))
			if !w.read.Equal(want) {
				t.Errorf("%s: read until %s, want %s", path, w.read, want)
			}
		}
	})
}
