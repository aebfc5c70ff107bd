package auth

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
	"drawbridge/tokenstore"
)

// elsewhere is a browser on another machine: the redirect to the loopback port goes nowhere, and the address is kept.
type elsewhere struct{ ended chan string }

func (e elsewhere) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path != DefaultCallbackPath {
		return http.DefaultTransport.RoundTrip(req)
	}
	e.ended <- req.URL.String()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("cannot connect")), Request: req}, nil
}

// answerElsewhere signs Ada in at url on another machine and returns the address her browser ends on.
func (st *stage) answerElsewhere(url string) string {
	st.t.Helper()
	e := elsewhere{make(chan string, 1)}
	if _, err := (demo.Human{Transport: e}).SignIn(st.t.Context(), url, "ada", demo.Ada().Password); err != nil {
		st.t.Fatal(err)
	}
	return <-e.ended
}

func headless(c *Config) { c.Open, c.SSH, c.LoginTimeout = nil, "ada@192.0.2.7", 5*time.Minute }

// TestPaste: the address that the browser on another machine ended on finishes the sign-in, given to the process that
// waits or to any other; what is not that address changes nothing.
func TestPaste(t *testing.T) {
	for _, where := range []string{"same process", "another process"} {
		t.Run(where, func(t *testing.T) {
			st := newStage(t)
			waiting := st.desk(headless)
			s := waiting.ask()
			paster := waiting
			if where == "another process" {
				paster = st.desk(headless)
				paster.ask()
			}
			address := st.answerElsewhere(s.URL)
			for _, wrong := range []string{
				"", "hello", s.URL, "https://evil.example/callback?code=1", strings.Replace(address, "/callback?", "/other?", 1),
				strings.Replace(address, "state=", "state=x", 1), strings.SplitN(address, "?", 2)[0],
			} {
				if err := paster.Paste(t.Context(), wrong); err == nil {
					t.Errorf("%q was taken", wrong)
				}
			}
			if err := paster.Paste(t.Context(), "  "+address+"\n"); err != nil {
				t.Fatal(err)
			}
			<-s.Done
			if err := s.Err(); err != nil {
				t.Error(err)
			}
			st.mustCall(paster.Session)
			st.wantTally(tally{SignIns: 1, Registrations: 1})
		})
	}
}

func TestPasteWithoutSignIn(t *testing.T) {
	st := newStage(t)
	if err := st.session().Paste(t.Context(), "http://127.0.0.1:1/callback?code=1"); err == nil {
		t.Error("there is nothing to finish")
	}
}

// TestAdviceWithoutBrowser: every way to sign in from elsewhere is named, ready to use.
func TestAdviceWithoutBrowser(t *testing.T) {
	st := newStage(t)
	d := st.desk(headless)
	s := d.ask()
	port := strings.Split(strings.TrimPrefix(st.pendingRecord().RedirectURI, "http://127.0.0.1:"), "/")[0]
	for _, want := range []string{s.URL, "ssh -N -L " + port + ":127.0.0.1:" + port + " ada@192.0.2.7", "drawbridge login " + st.URL()} {
		st.until("the advice names "+want, func() bool { return strings.Contains(d.said.String(), want) })
	}
}

func TestTunnel(t *testing.T) {
	for uri, want := range map[string]string{
		"http://127.0.0.1:17623/callback": "ssh -N -L 17623:127.0.0.1:17623 ada@192.0.2.7",
		"http://localhost:17623/callback": "ssh -N -L 17623:localhost:17623 ada@192.0.2.7",
		"http://[::1]:17623/callback":     `ssh -N -L "[::1]:17623:[::1]:17623" ada@192.0.2.7`,
		"http://127.0.0.1/callback":       "",
		"::":                              "",
	} {
		if got := tunnel(uri, "ada@192.0.2.7"); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
	if got := tunnel("http://127.0.0.1:17623/callback", ""); got != "" {
		t.Errorf("to nowhere: %q", got)
	}
}

// deviceWorld is an authorization server with the device grant and a server that wants its token.
type deviceWorld struct {
	*script
	polls   atomic.Int32
	answers []http.HandlerFunc // to polls, the last one for ever
}

func newDeviceWorld(t *testing.T, answers ...http.HandlerFunc) *deviceWorld {
	w := &deviceWorld{script: newScript(t), answers: answers}
	w.on("/mcp", func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer device-token" {
			rw.WriteHeader(http.StatusUnauthorized)
		}
	})
	w.on("/.well-known/oauth-protected-resource/mcp", answerJSON(object{"resource": w.URL + "/mcp", "authorization_servers": []string{w.URL}}))
	w.on("/.well-known/oauth-authorization-server", answerJSON(with(goodMetadata(w.URL), "device_authorization_endpoint", w.URL+"/device")))
	w.on("/register", answerJSON(object{"client_id": "c1"}))
	w.on("/device", answerJSON(object{"device_code": "CANARY-device", "user_code": "WDJB-MJHT", "verification_uri": w.URL + "/enter", "expires_in": 600, "interval": 0.01}))
	w.on("/token", func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("grant_type") != deviceGrant || r.Form.Get("device_code") != "CANARY-device" || r.Form.Get("resource") != w.URL+"/mcp" {
			answerOAuthError("invalid_request")(rw, r)
			return
		}
		n := int(w.polls.Add(1)) - 1
		w.answers[min(n, len(w.answers)-1)](rw, r)
	})
	return w
}

func answerOAuthError(code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		answerJSON(object{"error": code})(w, r)
	}
}

func (w *deviceWorld) session(t *testing.T, store tokenstore.Store, said *diary) *Session {
	t.Helper()
	s, err := New(Config{
		ServerURL: w.URL + "/mcp", Store: store, LoginTimeout: 5 * time.Minute,
		Notice: func(line string) { _, _ = said.Write([]byte(line + "\n")) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

var deviceToken = answerJSON(object{"access_token": "device-token", "token_type": "Bearer", "expires_in": 60})

// TestDeviceGrant: without a browser the human may type a code on any device. Passing answers are waited out.
func TestDeviceGrant(t *testing.T) {
	w := newDeviceWorld(t, answerOAuthError("authorization_pending"), answerStatus(http.StatusBadGateway, htmlPage), answerOAuthError("authorization_pending"), deviceToken)
	said := &diary{}
	s := w.session(t, tokenstore.NewMemory(), said)
	c, err := s.SignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.AccessToken.Reveal() != "device-token" || w.polls.Load() != 4 {
		t.Errorf("token %v after %d polls, want the device's after 4", !c.AccessToken.IsZero(), w.polls.Load())
	}
	if text := said.String(); !strings.Contains(text, w.URL+"/enter") || !strings.Contains(text, "WDJB-MJHT") || strings.Contains(text, "CANARY") {
		t.Errorf("the human was told %q", text)
	}
}

// TestDeviceGrantOutlivesItsProcess: the process that inherits a sign-in goes on asking for the tokens of its code.
func TestDeviceGrantOutlivesItsProcess(t *testing.T) {
	var approved atomic.Bool
	w := newDeviceWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if !approved.Load() {
			answerOAuthError("authorization_pending")(rw, r)
			return
		}
		deviceToken(rw, r)
	})
	store := tokenstore.NewMemory()
	first := w.session(t, store, &diary{})
	p, err := first.askUnprompted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	second := w.session(t, store, &diary{})
	q, err := second.askUnprompted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.public().Device, q.public().Device); diff != "" || q.public().Device.UserCode == "" {
		t.Errorf("the code differs: %s", diff)
	}
	approved.Store(true)
	<-q.done
	if q.err != nil {
		t.Error(q.err)
	}
}

// TestDeviceRefusedLeavesTheBrowser: a code that expires or is refused does not end the sign-in.
func TestDeviceRefusedLeavesTheBrowser(t *testing.T) {
	w := newDeviceWorld(t, answerOAuthError("expired_token"))
	s := w.session(t, tokenstore.NewMemory(), &diary{})
	p, err := s.askUnprompted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for w.polls.Load() == 0 {
		select {
		case <-p.done:
			t.Fatal("the sign-in ended")
		case <-time.After(time.Millisecond):
		}
	}
	if _, ok := s.Pending(); !ok {
		t.Error("the sign-in ended")
	}
}

// TestDeviceGrantNotForDynamicClients: a server that has the device grant but registers no client for it is signed in to
// in the browser's way.
func TestDeviceGrantNotForDynamicClients(t *testing.T) {
	w := newDeviceWorld(t, deviceToken)
	w.on("/register", func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || strings.Contains(string(body), deviceGrant) {
			answerOAuthError("invalid_client_metadata")(rw, r)
			return
		}
		answerJSON(object{"client_id": "c1"})(rw, r)
	})
	w.on("/device", answerOAuthError("unauthorized_client"))
	s := w.session(t, tokenstore.NewMemory(), &diary{})
	p, err := s.askUnprompted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.public().Device.UserCode != "" || p.url == "" {
		t.Errorf("the sign-in is %+v", p.public())
	}
}

func TestNextPoll(t *testing.T) {
	refusal := func(code string, status int) error { return &OAuthError{code, "", status} }
	for _, c := range []struct {
		err  error
		want time.Duration // 0: polling ends
	}{
		{refusal("authorization_pending", 400), 5 * time.Second},
		{refusal("slow_down", 400), 10 * time.Second},
		{refusal("temporarily_unavailable", 503), 10 * time.Second},
		{errors.New("connection reset"), 10 * time.Second},
		{refusal("access_denied", 400), 0},
		{refusal("expired_token", 400), 0},
	} {
		if got, _ := nextPoll(5*time.Second, c.err); got != c.want {
			t.Errorf("after %v: %v, want %v", c.err, got, c.want)
		}
	}
}

// TestPollsComeLaterWhenAskedTo: a server that says when to come back is asked then, within limits.
func TestPollsComeLaterWhenAskedTo(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		code, after string
		want        time.Duration // 0: polling ends
	}{
		{"authorization_pending", "", 5 * time.Second},
		{"authorization_pending", "1", 5 * time.Second},
		{"authorization_pending", "30", 30 * time.Second},
		{"temporarily_unavailable", "30", 30 * time.Second},
		{"slow_down", "3600", deviceMaxPause},
		{"access_denied", "30", 0},
	} {
		err := later(&OAuthError{Code: c.code, Status: 400}, http.Header{"Retry-After": {c.after}})
		if got, _ := pollLater(5*time.Second, err, now); got != c.want {
			t.Errorf("%s, Retry-After %q: %v, want %v", c.code, c.after, got, c.want)
		}
	}
}

func TestParseDevice(t *testing.T) {
	good := `{"device_code":"d","user_code":"u","verification_uri":"https://idp.example/d","expires_in":60,"interval":1`
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, body := range map[string]string{
		"HTML": htmlPage, "no code": `{"user_code":"u","verification_uri":"https://idp.example/d"}`,
		"javascript": `{"device_code":"d","user_code":"u","verification_uri":"javascript:alert(1)"}`,
		"http":       `{"device_code":"d","user_code":"u","verification_uri":"http://idp.example/d"}`,
		"escape":     `{"device_code":"d","user_code":"\u001b[31mu","verification_uri":"https://idp.example/d"}`,
		"error":      `{"error":"invalid_scope"}`,
	} {
		if d, err := parseDevice(answer{status: 200, body: []byte(body)}, now); err == nil {
			t.Errorf("%s: taken as %q", name, d.UserCode)
		}
	}
	for suffix, want := range map[string]string{`}`: "", `,"verification_uri_complete":"https://idp.example/d?c=u"}`: "https://idp.example/d?c=u", `,"verification_uri_complete":"data:x"}`: ""} {
		d, err := parseDevice(answer{status: 200, body: []byte(good + suffix)}, now)
		if err != nil || d.CompleteURI != want || d.Interval != time.Second || !d.Expiry.Equal(now.Add(time.Minute)) {
			t.Errorf("%s: %+v, %v", suffix, d.CompleteURI, err)
		}
	}
}
