package main_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"drawbridge/internal/demo"
)

var soakTime = flag.Duration("soak", 3*time.Second, "how long TestSoak keeps a bridge busy")

// soakRate is how many calls a second TestSoak makes.
const soakRate = 500

// TestSoak keeps the real program busy while its tokens expire every ten seconds (sooner in a short run) and the server
// cuts all its connections every second. Every call is answered once, none is executed twice, those without a result
// have an error that says that the outcome is unknown, no tab is opened, and memory stays flat.
func TestSoak(t *testing.T) {
	p := newPlace(t, demo.Config{TokenLifetime: max(min(10*time.Second, *soakTime/2), 2*time.Second)})
	peer := startSoakPeer(p.world.Issuer())
	defer peer.Close()
	p.world.IdP.AddResource(peer.URL + "/mcp")
	p.do("login", peer.URL+"/mcp")
	s := &soak{t: t, p: p, peer: peer, w: p.start(peer.URL + "/mcp"), open: map[string]time.Time{}, kinds: map[string]int{}}
	ctx, cancel := context.WithTimeout(t.Context(), *soakTime)
	defer cancel()
	s.w.send(initialize, initialized)
	go peer.cutEverySecond(ctx)
	done := make(chan struct{})
	go func() { defer close(done); s.collect() }()
	s.ask(ctx)
	s.judge(done)
}

// soak is a run of TestSoak.
type soak struct {
	t    *testing.T
	p    *place
	peer *soakPeer
	w    *wire

	mu     sync.Mutex
	open   map[string]time.Time // calls by id
	kinds  map[string]int       // of answers: "result", or the kind of the error
	strays []string
	asked  int
	worst  time.Duration // an answer took
	sizes  []int         // resident, in kilobytes, over the time
}

// ask makes soakRate calls a second until ctx ends, and takes the size of the process now and then.
func (s *soak) ask(ctx context.Context) {
	const step = 20 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	size := time.NewTicker(max(*soakTime/20, 100*time.Millisecond))
	defer size.Stop()
	for {
		select {
		case <-tick.C:
			for range soakRate * int(step) / int(time.Second) {
				s.askOne()
			}
		case <-size.C:
			s.sizes = append(s.sizes, resident(s.t, s.w.cmd.Process.Pid))
		case <-ctx.Done():
			return
		}
	}
}

func (s *soak) askOne() {
	s.mu.Lock()
	s.asked++
	id := fmt.Sprint(s.asked)
	s.open[id] = time.Now()
	s.mu.Unlock()
	method := "tools/call"
	if s.asked%20 == 0 {
		method = "tools/list"
	}
	if _, err := io.WriteString(s.w.stdin, `{"jsonrpc":"2.0","id":`+id+`,"method":"`+method+`","params":{"name":"x"}}`+"\n"); err != nil {
		s.t.Errorf("write to standard input: %v", err)
	}
}

// collect takes the answers until standard output ends.
func (s *soak) collect() {
	for line := range s.w.lines {
		var m message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			s.t.Errorf("standard output carries %q", line)
		}
		if m.Method != "" || string(m.ID) == "0" {
			continue
		}
		s.answered(m, line)
	}
}

func (s *soak) answered(m message, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, ok := s.open[string(m.ID)]
	if !ok {
		s.strays = append(s.strays, line)
		return
	}
	delete(s.open, string(m.ID))
	s.worst = max(s.worst, time.Since(since))
	if m.Error == nil {
		s.kinds["result"]++
		return
	}
	s.kinds[m.Error.Data.Kind]++
}

// judge ends the bridge, which answers what is due first, and looks at the whole run.
func (s *soak) judge(done <-chan struct{}) {
	s.w.hangUp()
	s.w.wantExit(0)
	<-done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	s.t.Logf("%v: %d calls, answers %v, the slowest after %v; %d cuts, %d refreshes, %d refusals of an expired token; resident %v kB",
		*soakTime, s.asked, s.kinds, s.worst.Round(time.Millisecond), s.peer.cuts, s.p.world.IdP.Counts().Refreshes, s.peer.refused, s.sizes)
	if len(s.open) > 0 || len(s.strays) > 0 {
		s.t.Errorf("%d calls have no answer, and %d answers no call: %q", len(s.open), len(s.strays), s.strays)
	}
	for id, n := range s.peer.executed {
		if n > 1 {
			s.t.Errorf("call %s was executed %d times", id, n)
		}
	}
	for kind, n := range s.kinds {
		if kind != "result" && kind != "outcome_unknown" && kind != "unreachable" {
			s.t.Errorf("%d answers of kind %q", n, kind)
		}
	}
	if s.kinds["result"] < s.asked*9/10 {
		s.t.Errorf("only %d of %d calls have a result", s.kinds["result"], s.asked)
	}
	s.p.wantTabs(1, "after the login")
	if n := len(s.sizes); n >= 8 {
		if early, late := slices.Max(s.sizes[n/4:n/2]), slices.Max(s.sizes[n*3/4:]); late > early*5/4+4000 {
			s.t.Errorf("memory grows: %d kB in the second quarter, %d kB in the last", early, late)
		}
	}
}
