package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"drawbridge/bridge/envelope"
	"drawbridge/bridge/sse"
)

const (
	// lingerLimit bounds how long the stream of a request is read after the answer, so that the server can end it
	// and the connection is used again.
	lingerLimit = time.Second
	// resumeTries bounds how often a cut stream is resumed without getting anything new.
	resumeTries = 5
)

// receiveStream delivers what the event stream of c brings. A cut stream is resumed where the server gave event ids
// (MCP 2025-11-25 transports, resumability); otherwise the outcome is unknown.
func (p *pump) receiveStream(ctx context.Context, c *call, h *handshake, resp *http.Response) error {
	var at position
	c.streamed = true
	for tries := 0; ; tries++ {
		before := at.lastID
		err := p.readEvents(resp, &at, c)
		_ = resp.Body.Close() // it ended or is given up
		switch {
		case p.calls.find(c.ID) != c:
			return nil
		case err != nil && !errors.Is(err, errCut):
			return err
		case at.lastID == "" || tries >= resumeTries:
			return p.cutFault(err)
		}
		if at.lastID != before {
			tries = 0
		}
		if resp, err = p.resume(ctx, h, at, &tries); err != nil {
			return p.cutFault(errors.New(err.Error())) // in words only: c was executed, whatever was said to the GET
		}
	}
}

// position is where to resume a stream.
type position struct {
	lastID string
	retry  time.Duration // what the server asked for; 0 if it did not
}

// errCut says that a stream ended before the answer.
var errCut = errors.New("the event stream ended")

// readEvents delivers events until the stream ends (errCut) or, on the stream of c, shortly after c is answered. Too large
// a message may have been the answer to c; on a stream without c it is lost, and not asked for again.
func (p *pump) readEvents(resp *http.Response, at *position, c *call) error {
	r := p.events(resp)
	defer r.Close()
	defer p.flush()
	for {
		e, err := r.Next()
		at.lastID, at.retry = keepID(at.lastID, r.LastID()), min(r.Retry(), maxRetry)
		switch {
		case errors.Is(err, sse.ErrTooLong) && c == nil:
			p.cfg.Log.Warn("message lost", "what", "message of the server", "error", tooLong(p.cfg.MaxMessage))
			continue
		case errors.Is(err, sse.ErrTooLong):
			return &fault{code: codeBadAnswer, kind: "too_long", text: p.up.host + " sent too large a message", cause: tooLong(p.cfg.MaxMessage)}
		case err == io.EOF:
			return errCut
		case err != nil:
			return fmt.Errorf("%w: %w", errCut, bare(err))
		case len(e.Data) == 0 || e.Name != "message":
			continue // a priming event, or one of another protocol
		}
		if err := p.deliver(e.Data, c); err != nil {
			return err
		}
		if c != nil && p.calls.find(c.ID) != c {
			defer time.AfterFunc(lingerLimit, c.cancel).Stop()
		}
	}
}

func keepID(old, latest string) string {
	if latest == "" {
		return old
	}
	return latest
}

// resume asks for the rest of a stream, again after faults that pass.
func (p *pump) resume(ctx context.Context, h *handshake, at position, tries *int) (*http.Response, error) {
	for {
		pause := at.retry
		if pause == 0 {
			pause = backoff(*tries)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		resp, err := p.askRest(ctx, h, at)
		if err == nil || !passes(err) || *tries >= resumeTries {
			return resp, err
		}
		*tries++
	}
}

func (p *pump) askRest(ctx context.Context, h *handshake, at position) (*http.Response, error) {
	resp, err := p.up.send(ctx, exchange{method: http.MethodGet, link: h.link, lastID: at.lastID, attempt: Attempt{Operation: "resume", Background: true}})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK && isEventStream(resp) {
		return resp, nil
	}
	defer resp.Body.Close()
	err = p.sessionFault(h.link, resp)
	if errors.As(err, new(sessionLost)) {
		p.renewSession(h, false)
	}
	return nil, err
}

// soleEvent reads an event stream up to its first response.
func (p *pump) soleEvent(resp *http.Response) (envelope.Message, error) {
	r := p.events(resp)
	defer r.Close()
	for {
		e, err := r.Next()
		if err != nil {
			return envelope.Message{}, p.cutFault(fmt.Errorf("%w: %w", errCut, bare(err)))
		}
		if len(e.Data) == 0 {
			continue
		}
		m, err := envelope.Parse(bytes.Clone(e.Data))
		if err != nil {
			return m, p.syntaxFault(err)
		}
		if m.Kind() == envelope.Response {
			return m, nil
		}
		p.write(m.Raw)
	}
}

// finish lets the server end a stream whose answer was read, so that the connection is used again.
func finish(resp *http.Response) {
	if !isEventStream(resp) {
		_ = resp.Body.Close() // read to its end, or of no interest
		return
	}
	limit := time.AfterFunc(lingerLimit, func() { _ = resp.Body.Close() }) // ends the copy below
	_, _ = io.Copy(io.Discard, resp.Body)
	limit.Stop()
	_ = resp.Body.Close() // at its end
}
