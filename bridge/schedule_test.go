package bridge_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

var (
	faultSeed      = flag.Uint64("fault.seed", 1, "seed of the first schedule of TestFaultSchedule; the next has the next number")
	faultSchedules = flag.Int("fault.schedules", 50, "how many schedules TestFaultSchedule runs")
)

// TestFaultSchedule drives the bridge against a server and a network that misbehave by a schedule. Whatever happens:
// no request hangs, each gets one answer under its own id and none after its cancellation, no call is executed twice,
// an error that denies execution tells the truth, everything works again when the faults are over, and nothing is left
// running. A schedule that fails is repeated with -fault.schedules=1 -fault.seed=N.
func TestFaultSchedule(t *testing.T) {
	var mu sync.Mutex
	tally := map[string]int{}
	t.Run("schedules", func(t *testing.T) {
		for i := range *faultSchedules {
			seed := *faultSeed + uint64(i)
			t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					met := newSchedule(t, seed).run()
					mu.Lock()
					defer mu.Unlock()
					for name, n := range met {
						tally[name] += n
					}
				})
			})
		}
	})
	t.Logf("faults met: %v", tally)
	for _, name := range everyFault() {
		if *faultSchedules >= 500 && tally[name] == 0 {
			t.Errorf("no schedule met the fault %q", name)
		}
	}
}

func everyFault() (names []string) {
	for _, f := range refusals {
		names = append(names, f.name)
	}
	for _, f := range mishaps {
		names = append(names, f.name)
	}
	return append(names, "cut initialize", "cut GET stream", "503 to GET", "cut resumed stream")
}

// schedule is one run: a client, a bridge and a faultPeer.
type schedule struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	net   *network
	peer  *faultPeer
	c     *client
	calm  bool
	http2 bool

	mu   sync.Mutex
	sent map[string]*sentRequest // by id
	next int
}

// sentRequest is what the client knows of one of its requests.
type sentRequest struct {
	id, n, method string
	answers       []string
	cancelled     bool
	settled       int // answers there were when the cancellation had been dealt with
	progress      int
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	s := &schedule{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), net: newNetwork(), sent: map[string]*sentRequest{}}
	s.peer = newFaultPeer(seed, s.net)
	s.peer.stateless, s.peer.streams, s.http2 = s.rng.IntN(4) == 0, s.rng.IntN(3) > 0, s.rng.IntN(4) == 0
	transport := &http.Transport{DialContext: s.net.dial, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second}
	if s.http2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
		srv := &http.Server{Handler: http.HandlerFunc(s.peer.handler), Protocols: transport.Protocols, ErrorLog: silent()}
		srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
		go func() { _ = srv.Serve(s.net) }()
		t.Cleanup(func() { _ = srv.Close() })
	} else {
		go s.peer.run()
	}
	t.Cleanup(func() { transport.CloseIdleConnections(); _ = s.net.Close() })
	s.c = start(t, bridge.Config{URL: "http://mcp.example/mcp", Auth: &rotating{peer: s.peer}, HTTP: &http.Client{Transport: transport}, Version: "test"})
	return s
}

// rotating is an Authorizer whose token is renewed when the peer refuses it.
type rotating struct {
	open
	peer *faultPeer
	mu   sync.Mutex
	have int
}

func (a *rotating) Authorize(req *http.Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	req.Header.Set("Authorization", fmt.Sprint("Bearer ", a.have))
	return nil
}

func (a *rotating) Challenged(_ context.Context, resp *http.Response, at bridge.Attempt) (bridge.Verdict, error) {
	a.peer.mu.Lock()
	token := a.peer.token
	a.peer.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.have = token
	if at.Resent > 3 {
		return bridge.Refused, nil
	}
	return bridge.Resend, nil
}

// run plays the schedule and returns the faults that were met.
func (s *schedule) run() map[string]int {
	go s.collect()
	s.peer.setRate([]float64{0, 0.3, 0.7}[s.rng.IntN(3)])
	s.write(initialize)
	s.awaitAnswers("initialize")
	s.peer.setRate([]float64{0.2, 0.5, 0.8}[s.rng.IntN(3)])
	s.write(initialized)
	for range 2 + s.rng.IntN(4) {
		s.wave()
		s.trouble()
		s.awaitAnswers("a wave")
	}
	hurry := s.rng.IntN(4) == 0
	if hurry {
		s.wave()
		s.leaveAtOnce()
	} else {
		s.recover()
		s.finish()
	}
	s.judge()
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	return maps.Clone(s.peer.tally)
}

func (s *schedule) write(lines ...string) {
	for _, line := range lines {
		_, _ = io.WriteString(s.c.stdin, line+"\n") // the bridge may have ended
	}
}

var methods = []string{"tools/call", "tools/call", "tools/call", "tools/list", "prompts/get", "resources/read", "completion/complete", "resources/subscribe", "x/unknown"}

var idForms = []string{`%d`, `"s%d"`, `9007199254740993%d`, `%d.50`, `"é%d"`, `-%d`}

// request makes one.
func (s *schedule) request(hold bool) (line string, r *sentRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	r = &sentRequest{n: fmt.Sprint(s.next), method: methods[s.rng.IntN(len(methods))]}
	r.id = fmt.Sprintf(idForms[s.rng.IntN(len(idForms))], s.next)
	extra := ""
	if hold {
		r.method, extra = "tools/call", `,"hold":true`
	}
	s.sent[r.id] = r
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"%s","params":{"name":"x","n":%s%s,"pad":"%s","_meta":{"progressToken":"t%s"}}}`, r.id, r.method, r.n, extra, padding(r.n), r.n), r
}

// wave sends some requests, with pauses, notifications and cancellations in between.
func (s *schedule) wave() {
	for range 1 + s.rng.IntN(6) {
		s.pause(2000)
		switch s.rng.IntN(8) {
		case 0:
			a, _ := s.request(false)
			b, _ := s.request(false)
			s.write("[" + a + "," + b + "]")
		case 1:
			line, r := s.request(true)
			s.write(line)
			s.pause(5000)
			s.cancel(r)
		case 2:
			line, r := s.request(false)
			s.write(line)
			s.pause(1500)
			s.cancel(r)
		case 3:
			s.write(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)
		default:
			line, _ := s.request(false)
			s.write(line)
		}
	}
}

func (s *schedule) cancel(r *sentRequest) {
	s.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + r.id + `}}`)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	r.cancelled, r.settled = true, len(r.answers)
}

// pause lets up to so many milliseconds pass.
func (s *schedule) pause(upTo int) {
	if d := s.rng.IntN(upTo); s.rng.IntN(2) == 0 {
		<-time.After(time.Duration(d) * time.Millisecond)
	}
}

// trouble strikes the peer as a whole.
func (s *schedule) trouble() {
	switch s.rng.IntN(6) {
	case 0:
		s.peer.forget()
	case 1:
		s.net.cutAll()
	case 2: // a restart
		s.net.setDown(true)
		s.pause(40_000)
		s.peer.forget()
		s.net.setDown(false)
	case 3:
		<-time.After(time.Duration(s.rng.IntN(300)) * time.Minute)
	}
}

// awaitAnswers waits until nothing is open any more.
func (s *schedule) awaitAnswers(what string) {
	const patience = 20 * time.Minute
	for began := time.Now(); ; <-time.After(time.Second) {
		synctest.Wait()
		open := s.open()
		if len(open) == 0 {
			return
		}
		if time.Since(began) > patience {
			s.t.Fatalf("%s: after %v no answer to %v", what, patience, open)
		}
	}
}

func (s *schedule) open() (open []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.sent {
		if len(r.answers) == 0 && !r.cancelled {
			open = append(open, id+" "+r.method)
		}
	}
	return open
}

// recover shows that everything works once the faults are over.
func (s *schedule) recover() {
	s.peer.setRate(0)
	<-time.After(time.Minute)
	s.awaitAnswers("before the calm")
	for range 3 {
		s.calm = true
		line, r := s.request(false)
		s.write(line)
		s.awaitAnswers("the calm")
		if got := r.answers[0]; !strings.Contains(got, `"for"`) {
			s.t.Errorf("the faults are over, and %s gets %s", r.method, got)
		}
	}
}

// finish closes stdin: the bridge ends its session and itself.
func (s *schedule) finish() {
	began := time.Now()
	s.c.finish()
	if took := time.Since(began); took > 13*time.Second {
		s.t.Errorf("the end took %v", took)
	}
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	if s.peer.session != "" {
		s.t.Errorf("the session %s is still open", s.peer.session)
	}
}

// leaveAtOnce signals in the middle of work.
func (s *schedule) leaveAtOnce() {
	began := time.Now()
	s.c.signal()
	<-s.c.ended
	if took := time.Since(began); took > 400*time.Millisecond {
		s.t.Errorf("the end on a signal took %v", took)
	}
	_ = s.c.stdin.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.sent {
		r.cancelled, r.settled = true, len(r.answers)
	}
}

// collect reads what the bridge writes.
func (s *schedule) collect() {
	for line := range s.c.lines {
		if !json.Valid([]byte(line)) {
			s.t.Errorf("stdout carries %q", line)
		}
		if strings.HasPrefix(line, "[") {
			var parts []json.RawMessage
			_ = json.Unmarshal([]byte(line), &parts)
			for _, part := range parts {
				s.got(string(part))
			}
			continue
		}
		s.got(line)
	}
}

func (s *schedule) got(line string) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			ProgressToken string
			Progress      int
		}
	}
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		s.t.Errorf("stdout carries %q: %v", line, err)
	}
	switch {
	case m.Method != "" && m.ID != nil:
		go s.write(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{}}`)
	case m.Method == "notifications/progress":
		s.progress(m.Params.ProgressToken, m.Params.Progress)
	case m.Method == "" && string(m.ID) != "0":
		s.answer(string(m.ID), line)
	}
}

func (s *schedule) progress(token string, at int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.sent {
		if "t"+r.n != token {
			continue
		}
		if at <= r.progress && r.method == "tools/call" {
			s.t.Errorf("progress of %s goes from %d to %d", r.id, r.progress, at)
		}
		r.progress = at
	}
}

func (s *schedule) answer(id, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.sent[id]
	if r == nil {
		s.t.Errorf("an answer to nothing: %s", line)
		return
	}
	r.answers = append(r.answers, line)
}

// judge looks at the whole run.
func (s *schedule) judge() {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.sent {
		s.judgeOne(r, s.peer.executed[r.n])
	}
	for _, text := range s.peer.order {
		s.t.Error(text)
	}
}

// repeatable are the methods without side effects: they may be executed several times.
var repeatable = []string{"tools/list", "prompts/get", "resources/read", "completion/complete"}

func (s *schedule) judgeOne(r *sentRequest, executed int) {
	if r.cancelled && len(r.answers) > r.settled {
		s.t.Errorf("%s was cancelled and then answered: %q", r.id, r.answers)
	}
	if !r.cancelled && len(r.answers) != 1 || len(r.answers) > 1 {
		s.t.Errorf("%s has %d answers: %q", r.id, len(r.answers), r.answers)
	}
	if executed > 1 && !slices.Contains(repeatable, r.method) {
		s.t.Errorf("%s %s was executed %d times", r.method, r.id, executed)
	}
	if executed > 5 {
		s.t.Errorf("%s %s was executed %d times", r.method, r.id, executed)
	}
	if len(r.answers) == 0 {
		return
	}
	if !padded(r.answers[0], r.n) {
		s.t.Errorf("the answer to call %s is corrupt: %.300s", r.n, r.answers[0])
	}
	var m struct {
		Result *struct{ For int }
		Error  struct{ Data errorData }
	}
	_ = json.Unmarshal([]byte(r.answers[0]), &m)
	switch {
	case m.Result != nil && m.Result.For > 0 && (fmt.Sprint(m.Result.For) != r.n || executed == 0):
		s.t.Errorf("%s, call %s, executed %d times, has the answer %s", r.id, r.n, executed, r.answers[0])
	case strings.Contains(r.answers[0], "ession") && executed > 0 && !slices.Contains(repeatable, r.method) && m.Error.Data.Kind != "outcome_unknown":
		s.t.Errorf("%s was executed, but the client is told %s", r.id, r.answers[0])
	case m.Error.Data.Kind == "unreachable" && executed > 0 && !slices.Contains(repeatable, r.method):
		s.t.Errorf("%s was executed, but the client is told %s", r.id, r.answers[0])
	}
}
