package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"drawbridge/bridge/envelope"
)

// shake opens a session. Then it listens to the server.
func (p *pump) shake(h *handshake) {
	if p.openSession(h) {
		defer p.keeping.RUnlock()
		go p.listen(h)
		if h.renewed {
			go p.restore(h)
		}
		p.relist()
		p.keepHandshake(h)
	}
}

// openSession does initialize, waits for the client, and does initialized. It reports whether requests may go; then
// p.keeping is held for reading.
func (p *pump) openSession(h *handshake) bool {
	defer close(h.open)
	h.answer, h.link, h.err = p.reach(h)
	close(h.done)
	if h.err != nil {
		p.cfg.Log.Info("handshake failed", "error", h.err)
		return false
	}
	p.cfg.Log.Debug("handshake answered", "version", h.link.version, "session", h.link.sessionID != "")
	select {
	case <-p.session.ready:
		for tries := 0; passes(p.confirm(h)); tries++ { // the server must have it before anything else
			if tries > 0 && sleep(h.ctx, backoff(tries-1)) != nil {
				return false
			}
		}
		h.told = h.ctx.Err() == nil
		p.keeping.RLock()
		return true
	case <-h.ctx.Done():
		return false
	}
}

// reach sends the client's initialize until the server answers it, or does what no waiting cures.
func (p *pump) reach(h *handshake) (envelope.Message, link, error) {
	for tries := 0; ; tries++ {
		m, l, err := p.negotiate(h, tries > 0)
		if err == nil || h.ctx.Err() != nil || !passes(err) {
			return m, l, err
		}
		p.cfg.Log.Info("the server is away", "error", err)
		h.move(away, err)
		if err := p.untilRetry(h, tries, err); err != nil {
			return m, l, err
		}
		h.move(trying, h.progress().err)
	}
}

// negotiate sends the client's initialize once, across a sign-in if one is needed.
func (p *pump) negotiate(h *handshake, again bool) (envelope.Message, link, error) {
	x := exchange{
		method: http.MethodPost, body: h.init.Raw, attempt: Attempt{Operation: "initialize", Background: h.unasked}, limit: handshakeLimit, unasked: again,
		sent: func() { h.owner = p.owner() }, // not before: the credential may have to be read first, or a person to sign in
		human: func(s SignIn) error {
			h.move(human, nil)
			defer h.move(trying, nil)
			return p.awaitSignIn(h.ctx, s, 0, nil)
		},
	}
	if h.unasked {
		x.human = nil
	}
	resp, err := p.up.send(h.ctx, x)
	if brokeOff(err) { // most likely an idle connection that the server had closed
		resp, err = p.up.send(h.ctx, x)
	}
	if err != nil {
		return envelope.Message{}, link{}, p.handshakeFault(err)
	}
	defer func() { go finish(resp) }()
	if passingStatus(resp.StatusCode) {
		return envelope.Message{}, link{}, p.statusFault(resp) // whatever its body says, it is not the MCP server's refusal
	}
	m, err := p.soleAnswer(resp, h.init.ID)
	if err != nil {
		return envelope.Message{}, link{}, p.handshakeFault(err)
	}
	return m, link{sessionID: sessionID(resp.Header), version: envelope.StringMember(m.Result, "protocolVersion")}, initializeFault(m)
}

// brokeOff reports whether err says that a connection broke under a request.
func brokeOff(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.code == codeUnknown
}

// initializeFault returns the server's refusal to initialize, as an error that keeps the server's own words.
func initializeFault(m envelope.Message) error {
	if m.Error == nil {
		return nil
	}
	return &serverError{m}
}

// sessionID returns the session id of an answer to initialize. MCP 2025-11-25 transports: visible ASCII only.
func sessionID(h http.Header) string {
	id := h.Get("Mcp-Session-Id")
	for i := range len(id) {
		if id[i] < 0x21 || id[i] > 0x7e {
			return ""
		}
	}
	return id
}

// confirm sends notifications/initialized and repeats the log level.
func (p *pump) confirm(h *handshake) error {
	ctx, cancel := context.WithTimeout(h.ctx, handshakeLimit)
	defer cancel()
	err := p.postTo(ctx, h.link, []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	if err != nil && h.ctx.Err() == nil { // at the end of the session it is of no interest
		p.cfg.Log.Warn("notifications/initialized was not accepted", "error", err)
	}
	if passes(err) {
		return err
	}
	if level := p.session.logLevel(); level != nil {
		_, err := p.ask(ctx, h.link, "logging/setLevel", level)
		p.cfg.Log.Debug("log level repeated", "error", err)
	}
	return err
}

// ownID is an id for a request of the bridge's own. MCP 2025-11-25: an id "MUST NOT have been previously used by the
// requestor within the same session".
func (p *pump) ownID() []byte { return fmt.Appendf(nil, `"drawbridge:%d"`, p.ownIDs.Add(1)) }

// ask sends a request of the bridge's own and returns the answer. It never involves a human.
func (p *pump) ask(ctx context.Context, link link, method string, params []byte) (envelope.Message, error) {
	id := p.ownID()
	body := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
	body = append(body, `,"method":"`+method+`"`...)
	if params != nil {
		body = append(append(body, `,"params":`...), params...)
	}
	resp, err := p.up.send(ctx, exchange{method: http.MethodPost, body: append(body, '}'), link: link, attempt: Attempt{Operation: method, Background: true}})
	if err != nil {
		return envelope.Message{}, err
	}
	defer func() { go finish(resp) }()
	switch {
	case passingStatus(resp.StatusCode):
		return envelope.Message{}, p.statusFault(resp)
	case resp.StatusCode >= 300:
		return envelope.Message{}, p.sessionFault(link, resp)
	}
	return p.soleAnswer(resp, id)
}
