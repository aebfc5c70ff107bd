//go:build unix

package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// stormPeople is the one human of a storm, and the browser.
type stormPeople struct {
	tabs     map[string]bool // by URL
	visited  map[string]bool
	noticed  string // the last URL that was printed
	since    time.Time
	leader   string // who last took the lock of sign-ins
	lostTabs int    // kills of a process that may have been about to open a tab
	byHand   int    // pages opened from what was printed
}

// tabDelay is how long the human waits for a tab before opening what was printed.
const tabDelay = 3 * time.Second

// onTab opens a tab, unless its opener is killed.
func (s *storm) onTab(id, url string) {
	if s.dueNow("tab") {
		s.kill(id, "at: opening a tab")
		s.lostTab("tab")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.people.tabs[url] {
		s.accident = append(s.accident, "two tabs for one sign-in")
	}
	s.people.tabs[url] = true
	s.note("worker %s: opened a tab, %s", id, short(url))
	s.visit(url)
}

// lostTab counts a kill between the record that a tab is opened and the tab. No tab is better than two.
func (s *storm) lostTab(moment string) {
	if moment != "tab" && moment != "saved sign-in" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.people.lostTabs++
}

// onNotice remembers what was printed for the human.
func (s *storm) onNotice(line string) {
	at := strings.LastIndex(line, s.URL+"/authorize?")
	if at < 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if url := line[at:]; url != s.people.noticed {
		s.people.noticed, s.people.since = url, time.Now()
		s.note("printed: %.60s, %s", line, short(url))
	}
}

// visit has the human sign in at url, once. The mutex is held.
func (s *storm) visit(url string) {
	if s.people.visited[url] {
		return
	}
	s.people.visited[url] = true
	s.humans.Go(func() { s.signIn(url) })
}

// lookAround has the human open by hand what was printed and got no tab.
func (s *storm) lookAround() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		url := s.people.noticed
		if url != "" && !s.people.visited[url] && time.Since(s.people.since) > tabDelay {
			s.people.byHand++
			s.note("the human opens by hand %s", short(url))
			s.visit(url)
		}
		s.mu.Unlock()
	}
}

// signIn is the human: says yes at the authorization server, and reloads the page that it leads to until somebody
// answers there.
func (s *storm) signIn(url string) {
	s.hesitate()
	back, code, err := s.consent(url)
	if err != nil {
		s.mu.Lock()
		s.accident = append(s.accident, "the sign-in page: "+err.Error())
		s.mu.Unlock()
		return
	}
	s.hesitate()
	ctx, cancel := context.WithTimeout(s.ctx, stormPatience)
	defer cancel()
	for ctx.Err() == nil {
		s.deliver(code, true)
		err := visitPage(ctx, back)
		if err == nil {
			s.deliver(code, true)
			return
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			s.deliver(code, false)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// hesitate takes human time, in which the process that waits for the human may die.
func (s *storm) hesitate() {
	s.mu.Lock()
	pause, leader := time.Duration(s.plan.rng.IntN(100))*time.Millisecond, s.people.leader
	s.mu.Unlock()
	<-time.After(pause)
	if s.dueNow("human") {
		s.kill(leader, "while the human hesitates")
	}
}

func (s *storm) deliver(code string, arrived bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.codes[code]; c.arrived != arrived {
		c.arrived = arrived
		s.note("the code %.5s is on its way: %v", code, arrived)
	}
}

// short is the end of the state in an authorization URL, to tell one from another.
func short(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	return "sign-in " + u.Query().Get("state")[:5]
}

// consent returns the redirect with its code.
func (s *storm) consent(url string) (back, code string, err error) {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", "", err
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // which follows no redirect
	if err != nil {
		return "", "", err
	}
	to, err := resp.Location()
	if err == nil {
		back, code = to.String(), to.Query().Get("code")
	}
	return back, code, errors.Join(err, drain(resp))
}

// browser keeps no connection, so that each visit meets the process that listens now.
var stormBrowser = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func visitPage(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := stormBrowser.Do(req)
	if err != nil {
		return err
	}
	return drain(resp)
}
