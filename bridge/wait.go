package bridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"drawbridge/bridge/envelope"
)

// settleTime is how long a client must stay connected after the handshake before a tab is opened for it without any
// operation: a health check must not open tabs.
const settleTime = 3 * time.Second

// errNotYet says that the start-up budget is over and the server has not answered.
var errNotYet = errors.New("the server has not answered yet")

// standIn says how the bridge answers a method while the server is not there.
type standIn int

const (
	// wait: an operation. It waits for the human.
	wait standIn = iota
	// list: one of the lists; answered at once with what there is.
	list
	// level: logging/setLevel; answered at once and repeated to the server later.
	level
	// complete: answered at once with no suggestions.
	complete
)

func standInOf(method string) standIn {
	switch method {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list":
		return list
	case "logging/setLevel":
		return level
	case "completion/complete":
		return complete
	}
	return wait
}

// operation names what a request does, for caps that count per operation.
func operation(m envelope.Message) string {
	for _, member := range [...]string{"name", "uri"} {
		if name := envelope.StringMember(m.Params, member); name != "" {
			return m.Method + " " + name
		}
	}
	return m.Method
}

// awaitSignIn waits until s ends well, for at most limit (0: as long as s lasts). Nobody waits after the end of input.
func (p *pump) awaitSignIn(ctx context.Context, s SignIn, limit time.Duration) error {
	go p.relistAfter(s)
	select {
	case <-s.Done:
		return signInEnd(s)
	case <-after(ctx, limit):
		return signInFault(s)
	case <-p.closing:
		return signInFault(s)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// after returns a channel that is closed after d, or never if d is 0. It needs no clean-up beyond ctx's end.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	if d == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// signInEnd is the outcome of a sign-in that ended. A failure repeats why it was needed.
func signInEnd(s SignIn) error {
	err := s.Err()
	if err == nil {
		return nil
	}
	f := &fault{code: codeSignIn, kind: "sign_in_failed", text: "the sign-in did not succeed", cause: err, hint: hintOf(err)}
	if s.Reason != "" {
		f.text = s.Reason + ", and the new sign-in did not succeed"
	}
	return f
}

// readyFor waits until c may go to the server, as long as its kind allows.
func (p *pump) readyFor(c *call, kind standIn) (*handshake, error) {
	h := p.session.ensure()
	if h == nil {
		return &handshake{}, nil
	}
	select {
	case <-h.greeted:
	case <-c.ctx.Done():
		return h, c.ctx.Err()
	}
	if h.isOpen() {
		return h, nil
	}
	if kind != wait {
		return h, p.openWithin(c, h, p.cfg.StartupBudget)
	}
	return h, p.openForOperation(c, h)
}

// openWithin waits for h within the budget, and not for a human.
func (p *pump) openWithin(c *call, h *handshake, budget time.Duration) error {
	select {
	case <-h.open:
		return h.err
	default:
	}
	select {
	case <-h.open:
		return h.err
	case <-h.human:
		return p.pendingFault()
	case <-after(c.ctx, budget):
		return errNotYet
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// openForOperation waits for h. Where it needs a human, it shows the sign-in and waits CallWait.
func (p *pump) openForOperation(c *call, h *handshake) error {
	select {
	case <-h.open:
		return h.err
	case <-h.human:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	p.present()
	select {
	case <-h.open:
		return h.err
	case <-after(c.ctx, p.cfg.CallWait):
		return p.pendingFault()
	case <-p.closing:
		return p.pendingFault()
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// present shows the pending sign-in to the human.
func (p *pump) present() {
	if s, ok := p.cfg.Auth.Pending(); ok {
		s.Present()
	}
}

// pendingFault says that a sign-in is pending, or that the server is not there yet where none is.
func (p *pump) pendingFault() error {
	if s, ok := p.cfg.Auth.Pending(); ok {
		return signInFault(s)
	}
	return errNotYet
}

// presentLater opens the tab of a sign-in that a client waits for without calling anything.
func (p *pump) presentLater(h *handshake) {
	select {
	case <-p.session.ready:
	case <-h.ctx.Done():
		return
	}
	settled := time.NewTimer(settleTime)
	defer settled.Stop()
	for _, event := range []<-chan struct{}{h.human, tick(h.ctx, settled)} {
		select {
		case <-event:
		case <-h.open:
			return
		case <-p.closing:
			return
		case <-h.ctx.Done():
			return
		}
	}
	p.present()
}

// tick closes the returned channel when t fires.
func tick(ctx context.Context, t *time.Timer) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		select {
		case <-t.C:
			close(done)
		case <-ctx.Done():
		}
	}()
	return done
}

// view is what the client was told in the server's place.
type view struct {
	mu      sync.Mutex
	early   bool            // initialize was answered here: the server may lack what was advertised
	stale   map[string]bool // lists the client has stand-ins of
	offered bool            // the last tools/list was ours: the client may call sign_in
	watched <-chan struct{} // Done of the sign-in whose end is awaited by relistAfter
}

func (v *view) setEarly() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.early = true
	v.stale = map[string]bool{"tools/list": true, "prompts/list": true, "resources/list": true}
}

func (v *view) isEarly() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.early
}

// stoodIn notes that the client got a stand-in of a list.
func (v *view) stoodIn(method string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stale == nil {
		v.stale = map[string]bool{}
	}
	v.stale[method] = true
	v.offered = v.offered || method == "tools/list"
}

// real notes that the client is about to get the server's own list.
func (v *view) real(method string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.stale, method)
	v.offered = v.offered && method != "tools/list"
}

func (v *view) hasSignIn() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.offered
}

// takeStale returns the lists to announce and forgets them.
func (v *view) takeStale() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	stale := v.stale
	v.stale = nil
	return stale
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

// relist tells the client to ask again for the lists it has only stand-ins of.
func (p *pump) relist() {
	stale := p.view.takeStale()
	if stale["resources/templates/list"] {
		stale["resources/list"] = true
	}
	for _, c := range changed {
		if stale[c.method] {
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
