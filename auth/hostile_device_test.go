package auth

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/tokenstore"
)

// TestHostileDevice has the device authorization endpoint (RFC 8628) mislead the person: no such code is shown, nothing
// of it is in the log, and the browser's way in stays open.
func TestHostileDevice(t *testing.T) {
	// says answers what a good endpoint would, with one member changed.
	says := func(key string, value any) http.HandlerFunc {
		return answerJSON(with(object{
			"device_code": "CANARY-device", "user_code": "WDJB-MJHT", "verification_uri": "https://idp.example.com/device",
			"expires_in": 600, "interval": 5,
		}, key, value))
	}
	for _, c := range []struct {
		name     string
		endpoint string // of the metadata, where it is not the provider's own
		answer   http.HandlerFunc
	}{
		{name: "http endpoint", endpoint: "http://idp.example.com/device"},
		{name: "javascript: endpoint", endpoint: "javascript:alert(1)"},
		{name: "endpoint with a user", endpoint: "https://idp@example.com/device"},
		{name: "redirect", answer: sendTo(307, "http://127.0.0.1:1/device")},
		{name: "outage", answer: answerStatus(503, "")},
		{name: "page", answer: answerStatus(200, htmlPage)},
		{name: "truncated", answer: answerStatus(200, `{"device_code":"CANARY`)},
		{name: "unpacks to much", answer: bomb},
		{name: "javascript: verification URI", answer: says("verification_uri", "javascript:alert(1)")},
		{name: "http verification URI", answer: says("verification_uri", "http://idp.example.com/device")},
		{name: "verification URI that looks like another", answer: says("verification_uri", "https://іdp.example.com")},
		{name: "verification URI with a user", answer: says("verification_uri", "https://idp.example.com:443@evil.example")},
		{name: "no verification URI", answer: says("verification_uri", nil)},
		{name: "no device code", answer: says("device_code", nil)},
		{name: "no user code", answer: says("user_code", nil)},
		{name: "user code with escapes", answer: says("user_code", "\x1b[2JWDJB")},
		{name: "user code that is an essay", answer: says("user_code", strings.Repeat("a", 10_000))},
		{name: "code of the wrong type", answer: says("device_code", 7)},
		{name: "lifetime of the wrong type", answer: says("expires_in", "soon")},
		{name: "lifetime that is over", answer: says("expires_in", -1)},
		{name: "refusal with escapes", answer: answerStatus(400, `{"error":"\u001b[2J","error_description":"\u202e"}`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newDeviceWorld(t, deviceToken)
			if c.endpoint != "" {
				w.on("/.well-known/oauth-authorization-server", answerJSON(with(goodMetadata(w.URL), "device_authorization_endpoint", c.endpoint)))
			}
			if c.answer != nil {
				w.on("/device", c.answer)
			}
			w.on("/token", deviceToken) // for the code of the browser's way in
			s, said := w.logging(t)
			p := w.begin(t, s)
			if diff := cmp.Diff(DeviceCode{}, p.Device); diff != "" {
				t.Errorf("a code is shown (-want +got):\n%s", diff)
			}
			p.Present(nil)
			if err := comeBack(t.Context(), p.URL); err != nil {
				t.Error(err)
			}
			<-p.Done
			if err := p.Err(); err != nil {
				t.Error(err)
			}
			harmless(t, "log", said.String())
		})
	}
}

// logging starts a session that writes down everything it says.
func (w *deviceWorld) logging(t *testing.T) (*Session, *diary) {
	t.Helper()
	said := &diary{}
	s, err := New(Config{
		ServerURL: w.URL + "/mcp", Store: tokenstore.NewMemory(), LoginTimeout: 5 * time.Minute,
		Notice: func(line string) { fmt.Fprintln(said, line) },
		Log:    slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, said
}

// begin starts a sign-in and leaves it under way.
func (w *deviceWorld) begin(t *testing.T, s *Session) SignIn {
	t.Helper()
	p, err := s.askUnprompted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p.public()
}

// TestDeviceLifetimes takes odd numbers for what they can mean, and never for a moment long ago or a pause without end.
func TestDeviceLifetimes(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		members  string
		lifetime time.Duration
		pause    time.Duration
	}{
		{`"expires_in":600,"interval":7`, 10 * time.Minute, 7 * time.Second},
		{`"expires_in":600.5,"interval":0.5`, 10*time.Minute + time.Second/2, time.Second / 2},
		{`"expires_in":1e300,"interval":1e300`, maxLifetime, devicePause},
		{`"expires_in":600,"interval":-1`, 10 * time.Minute, devicePause},
		{`"expires_in":600`, 10 * time.Minute, devicePause},
	} {
		body := `{"device_code":"d","user_code":"u","verification_uri":"https://idp.example.com",` + c.members + `}`
		d, err := parseDevice(answer{status: 200, body: []byte(body)}, now)
		if err != nil || d.Expiry.Sub(now) != c.lifetime || d.Interval != c.pause {
			t.Errorf("%s: lifetime %v, pause %v, %v", c.members, d.Expiry.Sub(now), d.Interval, err)
		}
	}
}

// TestEchoedDeviceCode keeps the code out of the log when the token endpoint repeats it.
func TestEchoedDeviceCode(t *testing.T) {
	w := newDeviceWorld(t, func(w http.ResponseWriter, r *http.Request) {
		answerStatus(400, `{"error":"expired_token","error_description":"`+r.FormValue("device_code")+` is over"}`)(w, r)
	})
	s, said := w.logging(t)
	w.begin(t, s)
	for !strings.Contains(said.String(), "leads nowhere") {
		if t.Context().Err() != nil {
			t.Fatal("the refusal is not in the log")
		}
		runtime.Gosched()
	}
	harmless(t, "log", said.String())
}
