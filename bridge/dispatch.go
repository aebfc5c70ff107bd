package bridge

import (
	"bytes"
	"context"
	"errors"

	"drawbridge/bridge/bulk"
	"drawbridge/bridge/envelope"
)

// take handles one line of the client. It runs in the reader's goroutine and must not wait
// for anything.
func (p *pump) take(line bulk.Text) {
	switch {
	case line.Lent != nil && p.takeBig(line):
	case envelope.IsBatch(line.Bytes):
		p.takeBatch(line.Own())
	default:
		p.takeMessage(line.Own(), nil)
	}
}

// takeBig takes a big tool call without copying it. What else is big is rare, and may be kept by those that handle it.
func (p *pump) takeBig(line bulk.Text) bool {
	m, err := envelope.Parse(line.Bytes)
	if err != nil || m.Kind() != envelope.Request || m.Method != "tools/call" {
		return false
	}
	m.ID = bytes.Clone(m.ID) // it is looked at after the call
	p.takeRequest(&call{Message: m, lent: line.Lent})
	return true
}

// takeBatch handles a JSON-RPC batch. A server of MCP 2025-06-18 or later knows none, so its messages travel one by one.
func (p *pump) takeBatch(line []byte) {
	elements, err := envelope.Split(line)
	if err != nil {
		p.reject(err, nil, nil)
		return
	}
	b := &batch{write: p.soon, missing: 1} // one for this function, so that no answer completes it too early
	for _, e := range elements {
		p.takeMessage(e, b)
	}
	b.add(nil)
}

func (p *pump) takeMessage(raw []byte, b *batch) {
	m, err := envelope.Parse(raw)
	if err != nil {
		p.reject(err, nil, b)
		return
	}
	switch m.Kind() {
	case envelope.Request:
		p.takeRequest(&call{Message: m, batch: b})
	case envelope.Notification:
		p.takeNotification(m)
	case envelope.Response:
		p.takeResponse(m)
	default:
		p.reject(envelope.ErrNotMessage, m.ID, b)
	}
}

// reject answers what is no message. JSON-RPC 2.0 section 5: the id is null where it could not be read.
func (p *pump) reject(err error, id []byte, b *batch) {
	f := &fault{code: codeParseError, kind: "parse_error", text: "the message is not valid JSON", cause: err}
	if errors.Is(err, envelope.ErrNotMessage) {
		f = &fault{code: codeInvalidRequest, kind: "invalid_request", text: "the message is no JSON-RPC request, notification or response", cause: err}
	}
	p.cfg.Log.Debug("message refused", "error", err)
	if id == nil || !plainID(id) {
		id = nullID
	}
	message := errorMessage(id, f)
	if b == nil {
		p.soon(message)
		return
	}
	b.grow()
	b.add(message)
}

func plainID(id []byte) bool { return id[0] != '{' && id[0] != '[' }

func (b *batch) grow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missing++
}

func (p *pump) takeRequest(c *call) {
	c.ctx, c.cancel = context.WithCancel(p.life)
	if c.batch != nil {
		c.batch.grow()
	}
	if !p.calls.add(c) {
		c.cancel()
		c.lent.Release()
		p.refuseDuplicate(c)
		return
	}
	switch c.Method {
	case "ping":
		p.answerSoon(c, resultMessage(c.ID, emptyObject))
	case "server/discover":
		// The client then sends initialize, which loses nothing; MCP 2026-07-28 versioning, backward compatibility.
		p.answerSoon(c, errorMessage(c.ID, &fault{code: codeMethodNotFound, kind: "unsupported", text: "server/discover is not supported; send initialize"}))
	case "initialize":
		p.asked()
		h, greeted := p.session.begin(p, c.Message)
		go p.initialize(c, h, greeted)
	default:
		p.asked()
		p.session.setReady()
		p.start(c)
	}
}

func (p *pump) refuseDuplicate(c *call) {
	message := errorMessage(c.ID, &fault{code: codeInvalidRequest, kind: "invalid_request", text: "a request with this id is still waiting for its answer"})
	if c.batch != nil {
		c.batch.add(message)
		return
	}
	p.soon(message)
}

func (p *pump) takeNotification(m envelope.Message) {
	switch m.Method {
	case "notifications/initialized":
		p.session.setInitialized()
	case "notifications/cancelled":
		p.cancelled(m)
	default:
		p.queueNote(m)
	}
}

// cancelled ends the call that the client gave up. Its late answer is dropped. The server is told, if it may know the
// request; closing the connection alone means nothing (MCP 2025-11-25 transports: "SHOULD NOT be interpreted as the
// client cancelling its request").
func (p *pump) cancelled(m envelope.Message) {
	id, _ := envelope.Member(m.Params, "requestId")
	c := p.calls.find(id)
	if c == nil || c.Method == "initialize" || !p.drop(c) {
		return
	}
	if !p.calls.wasSent(c) {
		c.cancel()
		return
	}
	in := p.session.peek()
	p.posting.Go(func() { // not behind other notifications: it is to end what keeps the server busy
		p.postSoon(note{m.Raw, in}, "cancellation")
		c.cancel()
	})
}

// takeResponse carries the client's answer to a request of the server, in the session the request came from. One to a
// request of ours goes no further.
func (p *pump) takeResponse(m envelope.Message) {
	if p.elicit.take(m) {
		return
	}
	in := p.asks.take(m.ID)
	if in == nil {
		in = p.session.peek()
	}
	p.posting.Go(func() { p.postSoon(note{m.Raw, in}, "response") })
}

// soon writes what the bridge itself says in answer to a line, in order. The reader must not wait for a client that does
// not read, or it would not see the end of input; only when many such answers wait, it waits too.
func (p *pump) soon(message []byte) {
	p.posting.Add(1)
	select {
	case p.answers <- message:
	case <-p.life.Done():
		p.posting.Done()
	}
}

// writeAnswers writes what soon was given.
func (p *pump) writeAnswers() {
	for {
		select {
		case message := <-p.answers:
			p.write(message)
			p.posting.Done()
		case <-p.life.Done():
			p.dropAnswers()
			return
		}
	}
}

// dropAnswers forgets what waits, for drain not to wait for it.
func (p *pump) dropAnswers() {
	for {
		select {
		case <-p.answers:
			p.posting.Done()
		default:
			return
		}
	}
}
