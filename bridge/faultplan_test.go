package bridge_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// This file holds what can go wrong between the bridge and a faultPeer.

// refusals happen before the request is executed.
var refusals = []struct {
	name string
	make func(p *faultPeer, draw *rand.Rand) answer
}{
	{"reset before", func(*faultPeer, *rand.Rand) answer { return answer{rst: true} }},
	{"close before", func(*faultPeer, *rand.Rand) answer { return answer{} }},
	{"500", func(*faultPeer, *rand.Rand) answer { return answer{status: 500} }},
	{"502 page", func(*faultPeer, *rand.Rand) answer { return page(502) }},
	{"503", func(*faultPeer, *rand.Rand) answer { return page(503) }},
	{"503 with Retry-After", func(_ *faultPeer, draw *rand.Rand) answer { return later(503, draw) }},
	{"429", func(*faultPeer, *rand.Rand) answer { return answer{status: 429} }},
	{"429 with Retry-After", func(_ *faultPeer, draw *rand.Rand) answer { return later(429, draw) }},
	{"redirect", func(*faultPeer, *rand.Rand) answer {
		return answer{status: 307, header: []string{"Location: /elsewhere"}}
	}},
	{"redirect away", func(*faultPeer, *rand.Rand) answer {
		return answer{status: 308, header: []string{"Location: https://other.example/mcp"}}
	}},
	{"portal", func(*faultPeer, *rand.Rand) answer {
		return answer{status: 302, header: []string{"Location: /login"}}
	}},
	{"forgotten session", func(p *faultPeer, draw *rand.Rand) answer {
		if p.stateless {
			return answer{status: 503}
		}
		p.session, p.logs = "", map[string][]string{}
		return gone(draw)
	}},
	{"401", func(p *faultPeer, _ *rand.Rand) answer { p.token++; return answer{status: 401} }},
}

func page(status int) answer {
	r := answer{status: status, header: []string{"Content-Type: text/html"}}
	r.body, r.length = whole("<html><h1>Bad gateway</h1></html>")
	return r
}

func later(status int, draw *rand.Rand) answer {
	values := []string{"0", "1", "7", "20", "3600", "soon", "-5", time.Now().Add(3 * time.Second).UTC().Format(http.TimeFormat)}
	r := page(status)
	r.header = append(r.header, "Retry-After: "+values[draw.IntN(len(values))])
	return r
}

// refuse draws a refusal, in half of the cases; the others are executed and then go wrong.
func (p *faultPeer) refuse(draw *rand.Rand) (answer, bool) {
	if draw.IntN(2) == 0 {
		return answer{}, false
	}
	f := refusals[draw.IntN(len(refusals))]
	r := f.make(p, draw)
	r.name = f.name
	return r, true
}

// mishaps happen to requests that were executed.
var mishaps = []struct {
	name string
	make func(p *faultPeer, a asked, draw *rand.Rand) answer
}{
	{"cut", func(p *faultPeer, a asked, draw *rand.Rand) answer {
		r := p.good(a, draw)
		r.cut, r.rst = draw.Float64(), draw.IntN(2) == 0
		return r
	}},
	{"cut and resumable", func(p *faultPeer, a asked, draw *rand.Rand) answer {
		r := p.resumable(a, draw)
		r.cut, r.rst = draw.Float64(), draw.IntN(2) == 0
		return r
	}},
	{"no answer at all", func(_ *faultPeer, _ asked, draw *rand.Rand) answer { return answer{rst: draw.IntN(2) == 0} }},
	{"GOAWAY", func(p *faultPeer, a asked, draw *rand.Rand) answer {
		r := p.good(a, draw)
		r.goaway = true
		return r
	}},
	{"byte by byte", func(p *faultPeer, a asked, draw *rand.Rand) answer {
		r := p.good(a, draw)
		r.drip = time.Duration(1+draw.IntN(300)) * time.Millisecond
		return r
	}},
	{"slow", func(p *faultPeer, a asked, draw *rand.Rand) answer {
		r := p.good(a, draw)
		r.body[0].after = time.Duration(draw.IntN(180)) * time.Second
		return r
	}},
	{"length too long", func(p *faultPeer, a asked, draw *rand.Rand) answer {
		r := asJSON(resultOf(a))
		r.length += 1 + draw.IntN(100)
		r.cut = 1
		return r
	}},
	{"length too short", func(p *faultPeer, a asked, draw *rand.Rand) answer {
		r := asJSON(resultOf(a))
		r.length -= 1 + draw.IntN(10)
		return r
	}},
	{"empty", func(*faultPeer, asked, *rand.Rand) answer { return asJSON("") }},
	{"202", func(*faultPeer, asked, *rand.Rand) answer { return answer{status: 202} }},
	{"204", func(*faultPeer, asked, *rand.Rand) answer { return answer{status: 204} }},
	{"web page", func(*faultPeer, asked, *rand.Rand) answer { return page(200) }},
	{"broken JSON", func(_ *faultPeer, a asked, draw *rand.Rand) answer {
		text := resultOf(a)
		return asJSON(text[:draw.IntN(len(text))])
	}},
	{"503 after execution", func(*faultPeer, asked, *rand.Rand) answer { return page(503) }},
	{"503 with Retry-After after execution", func(_ *faultPeer, _ asked, draw *rand.Rand) answer { return later(503, draw) }},
	{"504 after execution", func(*faultPeer, asked, *rand.Rand) answer { return page(504) }},
	{"error without id", func(*faultPeer, asked, *rand.Rand) answer {
		return asJSON(`{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"oops"}}`)
	}},
	{"two answers", func(_ *faultPeer, a asked, _ *rand.Rand) answer {
		return answer{status: 200, header: eventStream, length: -1, body: []part{{text: event(resultOf(a)) + event(resultOf(a))}}}
	}},
	{"altered id", func(_ *faultPeer, a asked, _ *rand.Rand) answer {
		return asJSON(fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"result":{"for":%s}}`, a.n))
	}},
	{"stream without answer", func(p *faultPeer, a asked, _ *rand.Rand) answer {
		return answer{status: 200, header: eventStream, length: -1, body: p.progress(a, 2)}
	}},
}

func (p *faultPeer) mishap(a asked, draw *rand.Rand) answer {
	f := mishaps[draw.IntN(len(mishaps))]
	r := f.make(p, a, draw)
	r.name = f.name
	return r
}

func asJSON(text string) answer {
	r := answer{status: 200, header: []string{jsonType}}
	r.body, r.length = whole(text)
	return r
}

// good answers a in one of the ways that are right.
func (p *faultPeer) good(a asked, draw *rand.Rand) answer {
	text := resultOf(a)
	switch draw.IntN(6) {
	case 0:
		return asJSON(text)
	case 1:
		r := asJSON("\r\n" + strings.ReplaceAll(text, ",", ",\n  ") + "\n")
		r.length = -1
		return r
	case 2:
		half := len(text) / 2
		return answer{status: 200, header: []string{jsonType}, length: -1, body: []part{{text: text[:half]}, {time.Second, text[half:]}}}
	case 3:
		return p.resumable(a, draw)
	case 4: // a poll: the stream ends at once and the rest is asked for (MCP 2025-11-25)
		r := p.resumable(a, draw)
		r.body = r.body[:1]
		return r
	}
	r := answer{status: 200, header: eventStream, length: -1, body: p.progress(a, draw.IntN(4))}
	if draw.IntN(3) == 0 {
		r.body = append(r.body, part{text: event(`{"jsonrpc":"2.0","id":"srv-` + a.n + `","method":"roots/list"}`)})
	}
	r.body = append(r.body, part{time.Duration(draw.IntN(3)) * time.Second, event(text)})
	return r
}

// resumable is a stream with event ids whose rest can be asked for. It begins with a priming event.
func (p *faultPeer) resumable(a asked, draw *rand.Rand) answer {
	events := []string{"id: " + a.n + ".1\nretry: " + fmt.Sprint(draw.IntN(3000)) + "\ndata:\n\n"}
	for i := range 1 + draw.IntN(3) {
		events = append(events, fmt.Sprintf("id: %s.%d\n%s", a.n, i+2, event(progressOf(a, i+1))))
	}
	events = append(events, fmt.Sprintf("id: %s.%d\n%s", a.n, len(events)+1, event(resultOf(a))))
	p.logs[a.n] = events
	r := answer{status: 200, header: eventStream, length: -1}
	for _, e := range events {
		r.body = append(r.body, part{text: e})
	}
	return r
}

// handler serves the same over HTTP/2, where a cut is the reset of a stream, the end of the connection, or GOAWAY.
func (p *faultPeer) handler(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	reply := p.serve(readAsked(r, body))
	if reply.status == 0 {
		p.breakOff(r, reply)
	}
	for _, h := range reply.header {
		name, value, _ := strings.Cut(h, ": ")
		w.Header().Set(name, value)
	}
	if reply.goaway {
		w.Header().Set("Connection", "close") // net/http says GOAWAY
	}
	w.WriteHeader(reply.status)
	p.stream(w, r, reply)
}

func (p *faultPeer) stream(w http.ResponseWriter, r *http.Request, reply answer) {
	total := 0
	for _, b := range reply.body {
		total += len(b.text)
	}
	left := total
	if reply.cut > 0 {
		left = int(reply.cut * float64(total))
	}
	for _, b := range reply.body {
		pass(r, b.after)
		text := b.text[:min(left, len(b.text))]
		left -= len(text)
		_, _ = io.WriteString(w, text) // a client that left is no fault
		_ = http.NewResponseController(w).Flush()
	}
	if reply.cut > 0 && r.Context().Err() == nil {
		p.breakOff(r, reply)
	}
	if reply.hold {
		<-r.Context().Done()
	}
}

type connKey struct{}

// breakOff ends a stream of HTTP/2 badly.
func (p *faultPeer) breakOff(r *http.Request, reply answer) {
	c := r.Context().Value(connKey{}).(net.Conn)
	switch {
	case reply.rst:
		c.(*memConn).reset()
	case reply.cut > 0.5: // GOAWAY: every stream may have been dealt with, then the end
		_, _ = c.Write([]byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0})
		_ = c.Close() // as it should be
	}
	panic(http.ErrAbortHandler)
}
