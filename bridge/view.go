package bridge

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// view is what the client was told in the server's place.
type view struct {
	mu       sync.Mutex
	early    bool              // initialize was answered here: the server may lack what was advertised
	version  string            // protocol revision that the client was told; "" before initialize is answered
	standIns map[string]bool   // lists the client has nothing real of
	kept     map[string]digest // lists the client has from memory
	offered  bool              // the last tools/list held sign_in, and that is ours
	watched  <-chan struct{}   // Done of the sign-in whose end is awaited by relistAfter
	fetching bool              // kept lists are being compared with the server's
}

// setEarly notes that initialize was answered here. From memory the client knows what the server had; otherwise every
// list is news.
func (v *view) setEarly(fromMemory bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.early = true
	if !fromMemory {
		v.standIns = map[string]bool{"tools/list": true, "prompts/list": true, "resources/list": true}
	}
}

func (v *view) isEarly() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.early
}

// greet notes the revision that the client is told.
func (v *view) greet(version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.version = version
}

func (v *view) told() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.version
}

// missed notes that the client got no list, and is to ask again.
func (v *view) missed(method string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.standIns == nil {
		v.standIns = map[string]bool{}
	}
	v.standIns[method] = true
	delete(v.kept, method)
}

// stoodIn notes that the client got a stand-in of a list. That of tools holds sign_in.
func (v *view) stoodIn(method string) {
	v.missed(method)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.offered = v.offered || method == "tools/list"
}

// copied notes that the client got a list from memory.
func (v *view) copied(method string, sum digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.kept == nil {
		v.kept = map[string]digest{}
	}
	v.kept[method] = sum
	delete(v.standIns, method)
	v.offered = v.offered && method != "tools/list"
}

// real notes that the client is about to get the server's own list.
func (v *view) real(method string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.standIns, method)
	delete(v.kept, method)
	v.offered = v.offered && method != "tools/list"
}

func (v *view) hasSignIn() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.offered
}

// takeStandIns returns the lists to announce and forgets them.
func (v *view) takeStandIns() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	lists := v.standIns
	v.standIns = nil
	return lists
}

// copies returns the lists that the client has from memory.
func (v *view) copies() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.kept))
}

// endCopy returns what the client was given from memory of a list, and forgets it; false if it has the server's own.
func (v *view) endCopy(method string) (digest, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	sum, ok := v.kept[method]
	delete(v.kept, method)
	return sum, ok
}

// beginFetching reports whether the caller is to compare the lists that the client has from memory.
func (v *view) beginFetching() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fetching || len(v.kept) == 0 {
		return false
	}
	v.fetching = true
	return true
}

func (v *view) endFetching() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fetching = false
}

// endFetchingIfDone reports whether there is nothing left to compare.
func (v *view) endFetchingIfDone() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fetching = len(v.kept) > 0
	return !v.fetching
}

// watch reports whether the caller is the first to wait for the end of the sign-in that done belongs to.
func (v *view) watch(done <-chan struct{}) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.watched == done {
		return false
	}
	v.watched = done
	return true
}

// changed are the notifications that make a client ask again.
var changed = []struct{ method, notification string }{
	{"tools/list", "notifications/tools/list_changed"},
	{"prompts/list", "notifications/prompts/list_changed"},
	{"resources/list", "notifications/resources/list_changed"},
}

// relist tells the client to ask again for the lists it has only stand-ins of, and compares those from memory.
func (p *pump) relist() {
	p.announce(p.view.takeStandIns())
	p.fetchLater(0)
}

// announce tells the client to ask again for lists. Those of resources and of their templates have one notification.
func (p *pump) announce(lists map[string]bool) {
	for _, c := range changed {
		if lists[c.method] || c.method == "resources/list" && lists["resources/templates/list"] {
			p.write(notificationMessage(c.notification))
		}
	}
}

// relistAfter calls relist when s ended well and the session stands.
func (p *pump) relistAfter(s SignIn) {
	if !p.view.watch(s.Done) {
		return
	}
	select {
	case <-s.Done:
	case <-p.life.Done():
		return
	}
	if h := p.session.peek(); s.Err() == nil && h != nil && h.isOpen() {
		p.relist()
	}
}

// answerInTime answers a list from memory when the budget is over, if there is one, and lets the server's own answer
// come later. Without memory it takes as long as it takes. stop ends it.
func (p *pump) answerInTime(c *call) (stop func() bool) {
	return time.AfterFunc(p.cfg.StartupBudget, func() {
		if c.ctx.Err() == nil && p.serveKept(c) {
			time.AfterFunc(lateLimit, c.cancel) // nothing to stop: it ends what has ended
		}
	}).Stop
}

// lateLimit bounds how long the server's answer to a list is awaited that was answered from memory.
const lateLimit = 2 * time.Minute
