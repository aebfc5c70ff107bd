package bridge

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"time"

	"drawbridge/bridge/envelope"
)

// forward gets c its answer. It is the goroutine of one request.
func (p *pump) forward(c *call) {
	defer c.lent.Release()
	defer c.cancel()
	kind := standInOf(c.Method)
	if kind == level {
		p.session.setLevel(c.Params)
	}
	if kind == list {
		defer p.answerInTime(c)()
	}
	err := p.relay(c, kind)
	switch {
	case err == nil:
		select {
		case p.wake <- struct{}{}:
		default:
		}
	case c.ctx.Err() != nil: // cancelled, or the bridge ends: nobody is owed an answer
		p.drop(c)
	case kind != wait && p.standInFor(c, kind, err):
	default:
		p.fail(c, err)
	}
	if kind == list {
		p.fetchLater(1)
	}
}

// absent reports whether err says that the server is not there yet: a human or more time is needed.
func absent(err error) bool {
	var f *fault
	return errors.Is(err, errNotYet) || errors.As(err, &f) && f.kind == "sign_in_required"
}

// relay carries c to the server and its answer back, again where that is safe.
func (p *pump) relay(c *call, kind standIn) error {
	if p.isSignIn(c) {
		return p.signInTool(c)
	}
	p.noticeSleep()
	r := resends{began: time.Now()}
	for {
		h, err := p.exchange(c, kind)
		if err == nil {
			p.prove(h)
		}
		if err == nil || c.ctx.Err() != nil {
			return err
		}
		pause, ok := p.again(c, h, err, &r)
		if !ok || p.hold(c, pause) != nil {
			return err
		}
		p.cfg.Log.Debug("request is sent again", "method", c.Method, "after", pause, "error", err)
	}
}

// exchange sends c once it may go, and delivers what comes back.
func (p *pump) exchange(c *call, kind standIn) (*handshake, error) {
	h, err := p.readyFor(c, kind)
	if err != nil {
		return h, err
	}
	if kind == list {
		p.calls.setOwner(c, p.owner())
	}
	ctx, stop := context.WithCancelCause(c.ctx)
	defer stop(nil)
	resp, err := p.up.send(ctx, exchange{
		method: http.MethodPost, body: c.Raw, lent: c.lent, link: h.link, attempt: Attempt{Operation: operation(c.Message)},
		human: p.humanFor(c, kind), sent: func() { p.calls.markSent(c, h, stop) },
	})
	if err == nil {
		defer resp.Body.Close()
		err = p.receive(ctx, c, h, resp)
	}
	if err != nil && context.Cause(ctx) == errSessionEnded {
		err = p.endedFault()
	}
	return h, err
}

// humanFor says how c waits for a human: operations show the sign-in and wait a while, the others do not wait.
func (p *pump) humanFor(c *call, kind standIn) func(SignIn) error {
	if kind != wait {
		return nil
	}
	return func(s SignIn) error {
		return p.awaitSignIn(c.ctx, s, p.cfg.CallWait, p.present(s))
	}
}

// receive delivers the server's answer to c.
func (p *pump) receive(ctx context.Context, c *call, h *handshake, resp *http.Response) error {
	if resp.StatusCode >= 300 {
		return p.refusal(c, h, resp)
	}
	if isEventStream(resp) {
		return p.receiveStream(ctx, c, h, resp)
	}
	body, err := p.body(resp)
	if err != nil {
		return err
	}
	defer body.Lent.Release()
	defer p.flush()
	if err := p.deliver(body.Bytes, c); err != nil {
		var f *fault
		if untilEnd(resp) && errors.As(err, &f) && f.kind == "bad_json" {
			return p.cutFault(f.cause)
		}
		return err
	}
	if p.calls.find(c.ID) == c {
		return p.contentFault(resp, body.Bytes) // JSON-RPC, but no answer to c: c would wait for ever
	}
	return nil
}

// untilEnd reports whether the end of the connection is all that tells the end of a body, so that a cut one looks whole.
func untilEnd(resp *http.Response) bool {
	return resp.ProtoMajor == 1 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0
}

// refusal is an answer to c with a status that is no success. A server's own failure, or a proxy's, can follow the
// execution of c.
func (p *pump) refusal(c *call, h *handshake, resp *http.Response) error {
	err := p.sessionFault(h.link, resp)
	var f *fault
	if errors.As(err, &f) && resp.StatusCode >= 500 && !repeatable(c.Method) {
		return p.unknownAfter(f)
	}
	return err
}

func isEventStream(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/event-stream"
}

// soleAnswer reads the answer to a request of the bridge's own, or to initialize: the first response in resp.
// Notifications before it go to the client.
func (p *pump) soleAnswer(resp *http.Response, id []byte) (envelope.Message, error) {
	if resp.StatusCode >= 300 {
		return envelope.Message{}, p.httpFault(resp)
	}
	if isEventStream(resp) {
		return p.soleEvent(resp)
	}
	text, err := p.body(resp)
	if err != nil {
		return envelope.Message{}, err
	}
	body := text.Own()
	m, err := envelope.Parse(body)
	switch {
	case err != nil && !errors.Is(err, envelope.ErrNotMessage):
		return m, p.syntaxFault(err)
	case err != nil || m.Kind() != envelope.Response:
		return m, p.contentFault(resp, body)
	}
	return m, nil
}

// deliver passes what the server sent on to the client: an answer to from, requests, notifications, batches of them
// (MCP 2025-03-26). from is nil on streams that belong to no request.
func (p *pump) deliver(raw []byte, from *call) error {
	if envelope.IsBatch(raw) {
		parts, err := envelope.Split(raw)
		for _, part := range parts {
			err = errors.Join(err, p.deliver(part, from))
		}
		return p.wrapSyntax(err)
	}
	m, err := envelope.Parse(raw)
	if err != nil {
		return p.wrapSyntax(err)
	}
	switch m.Kind() {
	case envelope.Response:
		p.resolve(m, from)
	case envelope.Request:
		p.asks.add(m.ID, p.session.peek())
		p.queue(m.Raw)
	case envelope.Notification:
		if m.Method == "notifications/cancelled" {
			id, _ := envelope.Member(m.Params, "requestId")
			p.asks.take(id)
		}
		p.queue(m.Raw)
	default:
		return p.syntaxFault(envelope.ErrNotMessage)
	}
	return nil
}

func (p *pump) wrapSyntax(err error) error {
	var f *fault
	if err == nil || errors.As(err, &f) {
		return err
	}
	return p.syntaxFault(err)
}

// resolve gives a response to the call that waits for it. In the answer to a request a response is that request's even if
// the id came back changed (big numbers do not survive every server) or is missing (errors).
func (p *pump) resolve(m envelope.Message, from *call) {
	c := p.calls.find(m.ID)
	if c == nil && from != nil && from.mayHave(m) {
		c = from
	}
	if c == nil {
		p.cfg.Log.Debug("late answer dropped", "id", string(m.ID))
		return
	}
	p.answerFromServer(c, m)
	if c != from { // its own exchange does not know that it is over
		time.AfterFunc(lingerLimit, c.cancel)
	}
}

// answerFromServer answers c in the server's words, but for lists that a server without them was asked for because
// the bridge had advertised them.
func (p *pump) answerFromServer(c *call, m envelope.Message) {
	kind := standInOf(c.Method)
	p.subs.note(c, m)
	if kind != wait && p.view.isEarly() && isMethodNotFound(m) {
		p.result(c, emptyResult(c.Method))
		return
	}
	if kind != list {
		p.answer(c, m.WithID(c.ID))
		return
	}
	p.keeping.RLock()
	defer p.keeping.RUnlock()
	if p.calls.find(c.ID) == c {
		p.view.real(c.Method)
	}
	owner := p.calls.ownerOf(c)
	list := p.wholeList(c, owner, m.Result) // before the client asks for the next page
	p.answer(c, m.WithID(c.ID))
	p.remember(c, owner, list)
}

func isMethodNotFound(m envelope.Message) bool {
	code, ok := envelope.Member(m.Error, "code")
	return ok && string(code) == "-32601"
}
