package bridge

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"drawbridge/bridge/bulk"
	"drawbridge/bridge/sse"
)

// body reads an answer that should be JSON. The caller gives its memory back.
func (p *pump) body(resp *http.Response) (bulk.Text, error) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	body, err := readAll(resp, p.cfg.MaxMessage, p.pool)
	switch {
	case errors.Is(err, errTooLong):
		return body, &fault{code: codeBadAnswer, kind: "too_long", text: p.up.host + " answered with too large a message", cause: tooLong(p.cfg.MaxMessage)}
	case err != nil:
		return body, p.cutFault(bare(err))
	case kind != "" && kind != "application/json" && !strings.HasSuffix(kind, "+json"):
		return bulk.Text{}, p.contentFault(resp, body.Own())
	case len(body.Bytes) == 0:
		return body, p.cutFault(errors.New("the answer is empty"))
	}
	body.Bytes = bytes.TrimPrefix(body.Bytes, []byte("\xef\xbb\xbf")) // RFC 8259 section 8.1: parsers may ignore a byte order mark
	return body, nil
}

var errTooLong = errors.New("too long")

// readAll reads a body of at most limit bytes. With an error nothing is lent.
func readAll(resp *http.Response, limit int, pool *bulk.Pool) (bulk.Text, error) {
	if resp.ContentLength > int64(limit) {
		return bulk.Text{}, errTooLong
	}
	if n := resp.ContentLength; n >= 0 && n <= bulk.Small {
		text := make([]byte, n+1) // one more, so that the read that fills it sees the end
		read, err := readUntilEnd(resp.Body, limit, func(read int) []byte { return text[read:] })
		return bulk.Text{Bytes: text[:read]}, err
	}
	lent := pool.Borrow()
	read, err := readUntilEnd(resp.Body, limit, lent.Room)
	text := bulk.Text{Bytes: lent.Bytes(read), Lent: lent}
	switch {
	case err != nil:
		lent.Release()
		return bulk.Text{}, err
	case read <= bulk.Small:
		return bulk.Text{Bytes: text.Own()}, nil
	}
	return text, nil
}

// readUntilEnd reads into what room returns for the number of bytes that were read so far.
func readUntilEnd(r io.Reader, limit int, room func(int) []byte) (read int, _ error) {
	for {
		into := room(read)
		n, err := r.Read(into[:min(len(into), limit+1-read)])
		read += n
		switch {
		case read > limit:
			return read, errTooLong
		case err == io.EOF:
			return read, nil
		case err != nil:
			return read, err
		}
	}
}

// outgoing is a request body in lent memory. The transport may still read it when the request is over, and gives it
// back by closing it.
type outgoing struct {
	mu   sync.Mutex // guards rest and lent, and is held over the copy so that Close waits for it
	rest []byte
	lent *bulk.Buffer // nil when closed
}

func newOutgoing(text []byte, lent *bulk.Buffer) *outgoing {
	lent.Hold()
	return &outgoing{rest: text, lent: lent}
}

// Read implements [io.Reader].
func (o *outgoing) Read(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// Close implements [io.Closer].
func (o *outgoing) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lent.Release()
	o.rest, o.lent = nil, nil
	return nil
}

// setBody gives req the body of x.
func (x exchange) setBody(req *http.Request) {
	if x.body == nil {
		return
	}
	open := func() (io.ReadCloser, error) {
		if x.lent != nil {
			return newOutgoing(x.body, x.lent), nil
		}
		return io.NopCloser(bytes.NewReader(x.body)), nil
	}
	req.ContentLength, req.GetBody = int64(len(x.body)), open
	req.Body, _ = open() // never fails
}

// streamed is an event stream's body that writes what is queued for the client before it waits for more.
type streamed struct {
	io.Reader
	flush func()
}

// Read implements [io.Reader].
func (s streamed) Read(b []byte) (int, error) {
	s.flush()
	return s.Reader.Read(b)
}

// events returns a reader of the event stream in resp. The caller closes it.
func (p *pump) events(resp *http.Response) *sse.Reader {
	return sse.NewReader(streamed{resp.Body, p.flush}, p.cfg.MaxMessage, p.pool)
}
