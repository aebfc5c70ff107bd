package bridge

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"drawbridge/bridge/envelope"
)

// forward gets c its answer. It is the goroutine of one request.
func (p *pump) forward(c *call) {
	defer c.cancel()
	kind := standInOf(c.Method)
	if kind == level {
		p.session.setLevel(c.Params)
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
	case kind != wait && absent(err):
		p.standInFor(c, kind)
	default:
		p.fail(c, err)
	}
}

// absent reports whether err says that the server is not there yet: a human or more time is needed.
func absent(err error) bool {
	var f *fault
	return errors.Is(err, errNotYet) || errors.As(err, &f) && f.kind == "sign_in_required"
}

// relay carries c to the server and its answer back. A session the server forgot is renewed once: a 404 to a session id
// means that the request was not executed (MCP 2025-11-25 transports, session management).
func (p *pump) relay(c *call, kind standIn) error {
	if p.isSignIn(c) {
		return p.signInTool(c)
	}
	h, err := p.exchange(c, kind)
	if errors.As(err, new(sessionLost)) {
		p.cfg.Log.Info("the server forgot the session; opening a new one")
		p.session.renew(h)
		_, err = p.exchange(c, kind)
	}
	return err
}

// exchange sends c once it may go, and delivers what comes back.
func (p *pump) exchange(c *call, kind standIn) (*handshake, error) {
	h, err := p.readyFor(c, kind)
	if err != nil {
		return h, err
	}
	resp, err := p.up.send(c.ctx, exchange{
		method: http.MethodPost, body: c.Raw, link: h.link, attempt: Attempt{Operation: operation(c.Message)},
		human: p.humanFor(c, kind), sent: func() { p.calls.markSent(c) },
	})
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound && h.link.sessionID != "" {
		return h, sessionLost{p.httpFault(resp)}
	}
	return h, p.receive(c, h, resp)
}

// humanFor says how c waits for a human: operations show the sign-in and wait a while, the others do not wait.
func (p *pump) humanFor(c *call, kind standIn) func(SignIn) error {
	if kind != wait {
		return nil
	}
	return func(s SignIn) error {
		s.Present()
		return p.awaitSignIn(c.ctx, s, p.cfg.CallWait)
	}
}

// receive delivers the server's answer to c.
func (p *pump) receive(c *call, h *handshake, resp *http.Response) error {
	if resp.StatusCode >= 300 {
		return p.httpFault(resp)
	}
	if isEventStream(resp) {
		return p.receiveStream(c, h, resp)
	}
	body, err := p.body(resp)
	if err != nil {
		return err
	}
	if err := p.deliver(body, c); err != nil {
		return err
	}
	if p.calls.find(c.ID) == c {
		return p.contentFault(resp, body) // JSON-RPC, but no answer to c: c would wait for ever
	}
	return nil
}

func isEventStream(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/event-stream"
}

// body reads an answer that should be JSON.
func (p *pump) body(resp *http.Response) ([]byte, error) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	body, err := readAll(resp, p.cfg.MaxMessage)
	switch {
	case errors.Is(err, errTooLong):
		return nil, &fault{code: codeBadAnswer, kind: "too_long", text: p.up.host + " answered with too large a message", cause: tooLong(p.cfg.MaxMessage)}
	case err != nil:
		return nil, p.cutFault(bare(err))
	case kind != "" && kind != "application/json" && !strings.HasSuffix(kind, "+json"):
		return nil, p.contentFault(resp, body)
	case len(body) == 0:
		return nil, p.cutFault(errors.New("the answer is empty"))
	}
	return body, nil
}

var errTooLong = errors.New("too long")

func readAll(resp *http.Response, limit int) ([]byte, error) {
	if resp.ContentLength > int64(limit) {
		return nil, errTooLong
	}
	size := max(resp.ContentLength, 512)
	buf := make([]byte, 0, size+1) // one more, so that the end is seen without growing
	for {
		n, err := resp.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return nil, errTooLong
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, err
		case len(buf) == cap(buf):
			buf = append(buf, 0)[:len(buf)]
		}
	}
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
	body, err := p.body(resp)
	if err != nil {
		return envelope.Message{}, err
	}
	m, err := envelope.Parse(body)
	switch {
	case err != nil && !errors.Is(err, envelope.ErrNotMessage):
		return m, p.syntaxFault(err)
	case err != nil || m.Kind() != envelope.Response:
		return m, p.contentFault(resp, body)
	}
	m.Raw = envelope.OneLine(m.Raw)
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
	m.Raw = envelope.OneLine(m.Raw)
	switch m.Kind() {
	case envelope.Response:
		p.resolve(m, from)
	case envelope.Request, envelope.Notification:
		p.write(m.Raw)
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

// resolve gives a response to the call that waits for it. On the stream of a request a response is that request's even
// if the id came back changed (big numbers do not survive every server) or is missing (errors).
func (p *pump) resolve(m envelope.Message, from *call) {
	c := p.calls.find(m.ID)
	if c == nil {
		c = from
	}
	if c == nil {
		p.cfg.Log.Debug("late answer dropped", "id", string(m.ID))
		return
	}
	p.answerFromServer(c, m)
}

// answerFromServer answers c in the server's words, but for lists that a server without them was asked for because
// the bridge had advertised them.
func (p *pump) answerFromServer(c *call, m envelope.Message) {
	kind := standInOf(c.Method)
	if kind != wait && p.view.isEarly() && isMethodNotFound(m) {
		p.result(c, emptyResult(c.Method))
		return
	}
	if kind == list {
		p.view.real(c.Method)
	}
	p.answer(c, m.WithID(c.ID))
}

func isMethodNotFound(m envelope.Message) bool {
	code, ok := envelope.Member(m.Error, "code")
	return ok && string(code) == "-32601"
}
