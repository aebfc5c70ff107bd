package bridge_test

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// faultPeer is an MCP server that misbehaves by a plan: what happens to a request follows from the seed, from what the
// request is and from how often it came. It counts how often each call was executed.
type faultPeer struct {
	seed      uint64
	stateless bool // it gives no session id
	streams   bool // it offers a GET stream
	net       *network

	mu       sync.Mutex
	rate     float64 // share of the requests that meet a fault
	came     map[string]int
	executed map[string]int
	session  string // "" if none is open
	opened   int
	deleted  int
	token    int
	logs     map[string][]string // events of the streams that can be resumed, by the number of their call
	tally    map[string]int      // faults by name
	order    []string            // what is out of order: a request before initialized and the like
	ready    bool                // the open session has seen initialized
}

func newFaultPeer(seed uint64, n *network) *faultPeer {
	return &faultPeer{seed: seed, net: n, came: map[string]int{}, executed: map[string]int{}, logs: map[string][]string{}, tally: map[string]int{}}
}

// asked is a request as the peer sees it.
type asked struct {
	http, rpc, id, n string
	header           http.Header
	path             string
	hold             bool
	corrupt          bool // the padding is not what the client sent
}

var numberOf, methodOf, idOf = regexp.MustCompile(`"n":(\d+)`), regexp.MustCompile(`"method":"([^"]+)"`), regexp.MustCompile(`"id":("[^"]*"|[-0-9.]+)`)

func readAsked(r *http.Request, body []byte) asked {
	group := func(re *regexp.Regexp) string {
		if m := re.FindSubmatch(body); m != nil {
			return string(m[1])
		}
		return ""
	}
	return asked{
		http: r.Method, rpc: group(methodOf), id: group(idOf), n: group(numberOf), header: r.Header, path: r.URL.Path,
		hold:    strings.Contains(string(body), `"hold":true`),
		corrupt: !padded(string(body), group(numberOf)),
	}
}

// padding is what the messages of call n carry in both directions, so that a message that got mixed up with another
// shows. Every third is big.
func padding(n string) string {
	number, _ := strconv.Atoi(n) // n was made from one
	length := number % 50
	if number%3 == 0 {
		length = number * 7919 % 150_000
	}
	return strings.Repeat(string(rune('a'+number%26)), length)
}

// padded reports whether a message of call n carries its padding, if it carries any.
func padded(text, n string) bool {
	_, rest, found := strings.Cut(text, `"pad":"`)
	pad, _, whole := strings.Cut(rest, `"`)
	return !found || whole && pad == padding(n)
}

// answer is what the peer sends back.
type answer struct {
	name   string
	status int
	header []string
	body   []part
	length int           // declared; -1 for chunks
	cut    float64       // share of the bytes after which the connection ends; 0 for none
	rst    bool          // it ends by a reset
	drip   time.Duration // pause after every byte
	hold   bool          // after the body nothing comes until the client leaves
	goaway bool
}

type part struct {
	after time.Duration
	text  string
}

// execute counts an execution of a.
func (p *faultPeer) execute(a asked) {
	if a.n != "" && !strings.HasPrefix(a.id, `"drawbridge:`) { // those repeat what the client asked for
		p.executed[a.n]++
	}
}

// serve decides what happens to a request.
func (p *faultPeer) serve(a asked) answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.corrupt {
		p.order = append(p.order, a.rpc+" "+a.n+" arrived corrupt")
	}
	key := a.http + a.rpc + a.n
	p.came[key]++
	h := fnv.New64a()
	fmt.Fprint(h, key, p.came[key])
	draw := rand.New(rand.NewPCG(p.seed, h.Sum64()))
	if a.http == http.MethodPost && a.path == "/mcp" && draw.Float64() < p.rate {
		if r, ok := p.refuse(draw); ok {
			p.tally[r.name]++
			if a.rpc == "notifications/initialized" && r.status >= 300 && r.status < 400 {
				p.ready = true // refused for good: the bridge goes on, as servers that take no notifications need
			}
			return r
		}
	}
	if a.header.Get("Authorization") != fmt.Sprint("Bearer ", p.token) {
		return answer{status: 401}
	}
	if !p.stateless && a.rpc != "initialize" && (p.session == "" || a.header.Get("Mcp-Session-Id") != p.session) {
		return gone(draw)
	}
	return p.route(a, draw)
}

func (p *faultPeer) route(a asked, draw *rand.Rand) answer {
	switch {
	case a.http == http.MethodDelete:
		p.session = ""
		p.deleted++
		return answer{status: 200}
	case a.http == http.MethodGet && a.header.Get("Last-Event-ID") != "":
		return p.rest(a, draw)
	case a.http == http.MethodGet:
		return p.listen(draw)
	case a.rpc == "initialize":
		return p.initialize(a, draw)
	case a.rpc == "notifications/initialized":
		p.ready = true
		return answer{status: 202}
	case a.rpc == "" || a.id == "":
		return answer{status: 202}
	case !p.ready && !p.stateless:
		p.order = append(p.order, a.rpc+" came before initialized")
	}
	p.execute(a)
	if a.hold {
		return answer{status: 200, header: eventStream, length: -1, body: p.progress(a, 1), hold: true}
	}
	if draw.Float64() < p.rate {
		r := p.mishap(a, draw)
		p.tally[r.name]++
		return r
	}
	return p.good(a, draw)
}

func (p *faultPeer) initialize(a asked, draw *rand.Rand) answer {
	p.opened++
	p.ready = false
	r := answer{status: 200, header: []string{jsonType}}
	if !p.stateless {
		p.session = fmt.Sprint("session-", p.opened)
		r.header = append(r.header, "Mcp-Session-Id: "+p.session)
	}
	text := `{"jsonrpc":"2.0","id":` + a.id + `,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"s","version":"1"}}}`
	r.body, r.length = whole(text)
	if draw.Float64() < p.rate {
		r.cut = draw.Float64()
		p.tally["cut initialize"]++
	}
	return r
}

// progress is n notifications and one request of the server, as events or, where it has ids, with them.
func (p *faultPeer) progress(a asked, n int) (parts []part) {
	for i := range n {
		parts = append(parts, part{text: event(progressOf(a, i+1))})
	}
	return parts
}

func progressOf(a asked, i int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t%s","progress":%d}}`, a.n, i)
}

func resultOf(a asked) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"for":%s,"pad":"%s"}}`, a.id, a.n, padding(a.n))
}

func event(text string) string { return "data: " + text + "\n\n" }

func whole(text string) ([]part, int) { return []part{{text: text}}, len(text) }

const jsonType = "Content-Type: application/json"

var eventStream = []string{"Content-Type: text/event-stream"}

// listen is the GET stream.
func (p *faultPeer) listen(draw *rand.Rand) answer {
	if !p.streams {
		return answer{status: 405}
	}
	r := answer{status: 200, header: eventStream, length: -1, hold: true, body: []part{{text: ": hello\n\n"}}}
	for range draw.IntN(4) {
		r.body = append(r.body, part{time.Duration(draw.IntN(100)) * time.Second, event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}`)})
	}
	switch v := draw.Float64(); {
	case v < p.rate/3:
		r.cut, r.rst = draw.Float64(), draw.IntN(2) == 0
		p.tally["cut GET stream"]++
	case v < p.rate/2:
		p.tally["503 to GET"]++
		return answer{status: 503}
	}
	return r
}

// rest is the remainder of a stream that was cut.
func (p *faultPeer) rest(a asked, draw *rand.Rand) answer {
	n, at, _ := strings.Cut(a.header.Get("Last-Event-ID"), ".")
	seen, _ := strconv.Atoi(at) // ids are made in resumable
	events := p.logs[n]
	if seen > len(events) || len(events) == 0 {
		return answer{status: 400}
	}
	r := answer{status: 200, header: eventStream, length: -1}
	for _, e := range events[seen:] {
		r.body = append(r.body, part{text: e})
	}
	if draw.Float64() < p.rate/2 {
		r.cut = draw.Float64()
		p.tally["cut resumed stream"]++
	}
	return r
}

// gone is the answer to a session id that the peer does not know, as servers in the wild give it.
func gone(draw *rand.Rand) answer {
	texts := []answer{
		{status: 404},
		{status: 404, header: []string{jsonType}, body: []part{{text: `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}`}}},
		{status: 404, header: []string{"Content-Type: text/plain"}, body: []part{{text: "session not found\n"}}},
		{status: 400, header: []string{jsonType}, body: []part{{text: `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`}}},
		{status: 400, header: []string{jsonType}, body: []part{{text: `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request: Missing session ID"}}`}}},
		{status: 400, header: []string{"Content-Type: text/plain"}, body: []part{{text: "Invalid session ID\n"}}},
	}
	r := texts[draw.IntN(len(texts))]
	for _, b := range r.body {
		r.length += len(b.text)
	}
	return r
}

// forget drops the session.
func (p *faultPeer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session, p.logs = "", map[string][]string{}
}

func (p *faultPeer) setRate(rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
}

// run serves HTTP/1.1 as bytes.
func (p *faultPeer) run() {
	for {
		c, err := p.net.Accept()
		if err != nil {
			return
		}
		go p.serveConn(c.(*memConn))
	}
}

func (p *faultPeer) serveConn(c *memConn) {
	serveRaw(c, func(a asked) bool { return p.write(c, p.serve(a)) })
}

// serveRaw reads the requests of a connection until answer says that it is over.
func serveRaw(c *memConn, answer func(asked) bool) {
	defer c.Close()
	for br := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil || !answer(readAsked(req, body)) {
			return
		}
	}
}

// write sends r and reports whether the connection can take another request.
func (p *faultPeer) write(c *memConn, r answer) bool {
	if r.status == 0 { // nothing is answered
		p.hangUp(c, r)
		return false
	}
	parts := render(r)
	total := 0
	for _, b := range parts {
		total += len(b.text)
	}
	left := total
	if r.cut > 0 {
		left = int(r.cut * float64(total))
	}
	for _, b := range parts {
		if !wait(c, b.after) {
			return false
		}
		text := b.text[:min(left, len(b.text))]
		left -= len(text)
		if !drip(c, text, r.drip) {
			return false
		}
	}
	if r.cut > 0 {
		wait(c, time.Millisecond) // what was sent arrives before a reset drops it
		p.hangUp(c, r)
		return false
	}
	if r.hold {
		<-c.gone
	}
	return !r.hold
}

func (p *faultPeer) hangUp(c *memConn, r answer) {
	if r.rst {
		c.reset()
		return
	}
	_ = c.Close() // as it should be
}

// wait reports whether the client was still there after d.
func wait(c *memConn, d time.Duration) bool {
	if d == 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.gone:
		return false
	}
}

func drip(c net.Conn, text string, pause time.Duration) bool {
	if pause == 0 {
		_, err := io.WriteString(c, text)
		return err == nil
	}
	step := len(text)/1000 + 1 // a big answer is not worth a day
	for i := 0; i < len(text); i += step {
		if _, err := io.WriteString(c, text[i:min(i+step, len(text))]); err != nil || !wait(c.(*memConn), pause) {
			return false
		}
	}
	return true
}

// render is r in HTTP/1.1.
func render(r answer) []part {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\n", r.status, http.StatusText(r.status))
	for _, h := range r.header {
		head += h + "\r\n"
	}
	if r.length < 0 {
		head += "Transfer-Encoding: chunked\r\n\r\n"
	} else if r.status != http.StatusNoContent {
		head += fmt.Sprintf("Content-Length: %d\r\n\r\n", r.length)
	} else {
		head += "\r\n"
	}
	parts := []part{{text: head}}
	for _, b := range r.body {
		if r.length < 0 {
			b.text = fmt.Sprintf("%x\r\n%s\r\n", len(b.text), b.text)
		}
		parts = append(parts, b)
	}
	if r.length < 0 && !r.hold {
		parts = append(parts, part{text: "0\r\n\r\n"})
	}
	return parts
}
