package bridge

import (
	"context"
	"io"
	"net/http"
	"time"

	"drawbridge/bridge/envelope"
)

// postLimit bounds how long the server may take to accept a message that has no answer.
const postLimit = 30 * time.Second

// note is a notification of the client on its way to the server.
type note struct {
	raw  []byte
	then func() // what follows when it was posted; may be nil
}

// queueNote hands m to postNotes. It must not wait, because it runs in the reader's goroutine, which answers pings and
// sees the end of input: what comes while the queue is full is dropped and logged.
func (p *pump) queueNote(m envelope.Message, then func()) {
	p.posting.Add(1)
	select {
	case p.notes <- note{m.Raw, then}:
	default:
		p.cfg.Log.Warn("message lost", "what", "notification", "error", "too many wait for the server")
		if then != nil {
			then()
		}
		p.posting.Done()
	}
}

// postNotes posts notifications one after the other, because their order means something (progress, roots).
func (p *pump) postNotes() {
	for {
		select {
		case n := <-p.notes:
			p.post(n.raw, "notification")
			if n.then != nil {
				n.then()
			}
			p.posting.Done()
		case <-p.life.Done():
			return
		}
	}
}

// post sends a message that gets no answer, once the server can take it. A failure is nobody's to answer; it is logged.
func (p *pump) post(raw []byte, what string) {
	ctx, cancel := context.WithTimeout(p.life, postLimit)
	defer cancel()
	h, err := p.session.opened(ctx)
	if err == nil {
		err = p.postTo(ctx, h.link, raw)
	}
	if err != nil {
		p.cfg.Log.Warn("message lost", "what", what, "error", err)
	}
}

// postTo sends a message without an answer in the session of link.
func (p *pump) postTo(ctx context.Context, link link, raw []byte) error {
	resp, err := p.up.send(ctx, exchange{method: http.MethodPost, body: raw, link: link, attempt: Attempt{Operation: "notification", Background: true}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return p.httpFault(resp)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
	return nil
}
