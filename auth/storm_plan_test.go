//go:build unix

package auth

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// stormPlan decides whom to kill when. Its numbers come from the seed; which process they meet does not.
type stormPlan struct {
	rng                       *rand.Rand
	expiries, inside, outside int
	raging                    bool
	moment                    string // where the next kill outside is to be; "" when it is not drawn yet
	atSave                    string // worker that is to die before it saves
	spared                    int    // expiries until the next kill inside
}

// moments are where kills outside are aimed, as often as they are named. "now" is anywhere.
var moments = []string{"now", "now", "locked", "request", "request", "saved credential"}

// rare are moments that only a sign-in has. A kill there is tried whenever one comes up.
var rare = []string{
	"saving sign-in", "saved sign-in", "deleting credential", "deleted credential", "locked sign-in", "locked tab", "tab", "human",
}

func newStormPlan(seed uint64, expiries int) stormPlan {
	return stormPlan{
		rng: rand.New(rand.NewPCG(seed, 0)), expiries: expiries,
		inside: max(2, expiries*32/1000), outside: expiries * 520 / 1000,
	}
}

// chance is true with probability p.
func (p *stormPlan) chance(percent int) bool { return p.rng.IntN(100) < percent }

// due reports whether a kill outside belongs here.
func (p *stormPlan) due(moment string, expiries, outside int) bool {
	if !p.raging {
		return false
	}
	if slices.Contains(rare, moment) {
		return p.chance(15)
	}
	if outside*p.expiries > expiries*p.outside {
		return false // ahead of the plan
	}
	if p.moment == "" {
		p.moment = moments[p.rng.IntN(len(moments))]
	}
	if p.moment != moment || moment != "now" && !p.chance(30) {
		return false
	}
	p.moment = ""
	return true
}

// dueInside reports whether a kill inside belongs here. Those in a refresh keep a distance, for one must be over before
// the next.
func (p *stormPlan) dueInside(code bool) bool {
	if !p.raging {
		return false
	}
	if code {
		return p.chance(15)
	}
	if p.spared--; p.spared > 0 {
		return false
	}
	every := max(1, p.expiries/(p.inside+1))
	p.spared = every/2 + p.rng.IntN(every/2+1)
	return true
}

func (s *storm) dueNow(moment string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan.due(moment, s.counts.Expiries, s.kills.Outside)
}

// strike kills anybody at any time.
func (s *storm) strike() {
	tick := time.NewTicker(7 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if s.dueNow("now") {
				s.kill(s.anybody(), "at any moment")
			}
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *storm) anybody() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.people.leader != "" && s.plan.chance(20) {
		return s.people.leader
	}
	n := s.plan.rng.IntN(max(1, len(s.crew)))
	for id := range s.crew {
		if n--; n < 0 {
			return id
		}
	}
	return ""
}

// onMoment hears that a worker is about to do something or has done it.
func (s *storm) onMoment(id, what, text string) {
	lock, _, _ := strings.Cut(text, " ")
	if what == "locked" && (lock == "sign-in" || lock == "tab") {
		what += " " + lock
	}
	s.mu.Lock()
	if what == "locked sign-in" {
		s.people.leader = id
	}
	if strings.HasSuffix(what, "sign-in") || strings.HasSuffix(what, "tab") || strings.HasPrefix(what, "delet") {
		s.note("worker %s: %s", id, what)
	}
	inside := what == "saving credential" && s.plan.atSave == id
	s.mu.Unlock()
	if inside || s.dueNow(what) {
		s.kill(id, "at: "+what)
		s.lostTab(what)
	}
}

// onRequest is called for a token request before anything is granted.
func (s *storm) onRequest(id string) bool {
	if s.dueNow("request") {
		s.kill(id, "before its token request was looked at")
	}
	return true // to a dead worker nothing is granted
}

// onGrant is called when something was granted and not yet answered: inside the window.
func (s *storm) onGrant(id string) bool {
	s.mu.Lock()
	due, how := s.plan.dueInside(s.owed[id].code), s.plan.rng.IntN(3)
	pause := time.Duration(s.plan.rng.IntN(3000)) * time.Microsecond
	if due && how == 1 {
		s.plan.atSave = id
	}
	s.mu.Unlock()
	switch {
	case due && how == 0:
		s.kill(id, "before it got its tokens")
	case due && how == 2:
		time.AfterFunc(pause, func() { s.kill(id, "soon after it got its tokens") }) // while it reads, saves, or a little after
	}
	return true
}
