package bridge

import (
	"context"
	"errors"
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
	if name := envelope.FirstString(m.Params, "name", "uri"); name != "" {
		return m.Method + " " + name
	}
	return m.Method
}

// awaitSignIn waits until s ends well, for at most limit (0: as long as s lasts). Nobody waits after the end of input,
// nor once declined is closed.
func (p *pump) awaitSignIn(ctx context.Context, s SignIn, limit time.Duration, declined <-chan struct{}) error {
	go p.relistAfter(s)
	select {
	case <-declined:
		select {
		case <-s.Done: // in another way
			return signInEnd(s)
		default:
			return p.declinedFault()
		}
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
	h := p.session.ensure(false)
	if h == nil {
		return &handshake{}, nil
	}
	select {
	case <-h.greeted:
	case <-c.ctx.Done():
		return h, c.ctx.Err()
	}
	switch {
	case h.isOpen():
		return h, nil
	case kind != wait:
		return h, p.openWithin(c, h, p.cfg.StartupBudget)
	}
	return h, p.openForOperation(c, h)
}

// show shows the pending sign-in to the human. The channel is closed when they decline it; nil if nobody can.
func (p *pump) show() (declined <-chan struct{}) {
	if s, ok := p.cfg.Auth.Pending(); ok {
		return p.present(s)
	}
	return nil
}

// pendingFault says that a sign-in is pending, or that the server is not there yet where none is.
func (p *pump) pendingFault(at progress) error {
	if s, ok := p.cfg.Auth.Pending(); ok {
		return signInFault(s)
	}
	if at.err != nil {
		return at.err
	}
	return errNotYet
}

// presentLater shows the sign-in that a client waits for without calling anything.
func (p *pump) presentLater(h *handshake) {
	select {
	case <-p.session.ready:
	case <-h.ctx.Done():
		return
	}
	settled := after(h.ctx, settleTime)
	for needed := false; !needed; {
		at := h.progress()
		if needed = at.stage == human && !h.isDone(); needed {
			break
		}
		select {
		case <-h.stirs(at):
		case <-h.open:
			return
		case <-p.closing:
			return
		case <-h.ctx.Done():
			return
		}
	}
	select {
	case <-settled:
	case <-h.open:
		return
	case <-p.closing:
		return
	}
	if h.ctx.Err() == nil {
		p.show()
	}
}
