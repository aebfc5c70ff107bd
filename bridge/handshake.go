package bridge

import (
	"context"
	"net/http"
	"sync"
	"time"

	"drawbridge/bridge/envelope"
)

// handshakeLimit bounds one exchange of initialize with the server, not counting the wait for a human.
const handshakeLimit = 30 * time.Second

// link is what later requests of an MCP session carry. Its zero value is no session.
type link struct {
	sessionID string // Mcp-Session-Id
	version   string // MCP-Protocol-Version: what the server's InitializeResult said
}

// handshake is one attempt to open a session with the server, and the session itself if it succeeds.
type handshake struct {
	init  envelope.Message // the client's own initialize
	human chan struct{}    // closed when it has to wait for a human
	done  chan struct{}    // closed when the server answered initialize, or failed to
	open  chan struct{}    // closed when requests may go: the server also has notifications/initialized, or it failed

	greeted <-chan struct{} // closed when the client has its answer to initialize: nothing else is answered before

	ctx  context.Context // session lifetime; cancelled when it is replaced and with the bridge
	stop context.CancelFunc
	once sync.Once // closes human

	// Set before done is closed, constant after.
	answer envelope.Message
	link   link
	err    error
}

func (h *handshake) needsHuman() { h.once.Do(func() { close(h.human) }) }

// failed reports whether h ended without a session.
func (h *handshake) failed() bool {
	select {
	case <-h.done:
		return h.err != nil
	default:
		return false
	}
}

// isOpen reports whether requests may go.
func (h *handshake) isOpen() bool {
	select {
	case <-h.open:
		return h.err == nil
	default:
		return false
	}
}

// session owns the current handshake and what a new one needs.
type session struct {
	mu      sync.Mutex
	pump    *pump
	init    *envelope.Message // the client's initialize; nil before
	current *handshake        // nil before init
	greeted chan struct{}     // of the client's last initialize
	level   []byte            // params of the client's last logging/setLevel; nil if none

	ready     chan struct{} // closed when the client finished its side: initialized, or a request that implies it
	readyOnce sync.Once
}

func (s *session) setReady() { s.readyOnce.Do(func() { close(s.ready) }) }

// begin starts a handshake with the client's initialize. An earlier session ends. The caller closes greeted when the
// client has its answer.
func (s *session) begin(p *pump, init envelope.Message) (h *handshake, greeted chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pump, s.init, s.greeted = p, &init, make(chan struct{})
	return s.replace(), s.greeted
}

// replace starts a handshake in place of the current one. s.mu is held.
func (s *session) replace() *handshake {
	if s.current != nil {
		s.current.stop()
	}
	h := &handshake{init: *s.init, human: make(chan struct{}), done: make(chan struct{}), open: make(chan struct{}), greeted: s.greeted}
	h.ctx, h.stop = context.WithCancel(s.pump.life)
	s.current = h
	go s.pump.shake(h)
	return h
}

// ensure returns the current handshake, a new one if the last failed, or nil if the client never sent initialize.
func (s *session) ensure() *handshake {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.failed() {
		return s.replace()
	}
	return s.current
}

// renew replaces lost, unless somebody did already.
func (s *session) renew(lost *handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == lost {
		s.replace()
	}
}

// peek returns the current handshake, or nil.
func (s *session) peek() *handshake {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// opened waits until the current handshake is open. A client that never sent initialize gets one without a session.
func (s *session) opened(ctx context.Context) (*handshake, error) {
	h := s.ensure()
	if h == nil {
		return &handshake{}, nil
	}
	select {
	case <-h.open:
		return h, h.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// link returns the link of the current session, zero if there is none.
func (s *session) link() link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.failed() {
		return link{}
	}
	select {
	case <-s.current.done:
		return s.current.link
	default:
		return link{}
	}
}

// setLevel keeps the log level the client asked for, to repeat it in a new session.
func (s *session) setLevel(params []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level = params
}

func (s *session) logLevel() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.level
}

// shake opens a session: initialize, wait for the client, initialized. Then it listens to the server.
func (p *pump) shake(h *handshake) {
	defer close(h.open)
	h.answer, h.link, h.err = p.negotiate(h)
	close(h.done)
	if h.err != nil {
		p.cfg.Log.Info("handshake failed", "error", h.err)
		return
	}
	p.cfg.Log.Debug("handshake answered", "version", h.link.version, "session", h.link.sessionID != "")
	select {
	case <-p.session.ready:
		p.confirm(h)
		go p.listen(h)
		go p.relist()
	case <-h.ctx.Done():
	}
}

// negotiate sends the client's initialize until the server answers it, across a sign-in if one is needed.
func (p *pump) negotiate(h *handshake) (envelope.Message, link, error) {
	resp, err := p.up.send(h.ctx, exchange{
		method: http.MethodPost, body: h.init.Raw, attempt: Attempt{Operation: "initialize"}, limit: handshakeLimit,
		human: func(s SignIn) error {
			h.needsHuman()
			return p.awaitSignIn(h.ctx, s, 0)
		},
	})
	if err != nil {
		return envelope.Message{}, link{}, p.handshakeFault(err)
	}
	defer func() { go finish(resp) }()
	m, err := p.soleAnswer(resp, h.init.ID)
	if err != nil {
		return envelope.Message{}, link{}, p.handshakeFault(err)
	}
	return m, link{sessionID: sessionID(resp.Header), version: envelope.StringMember(m.Result, "protocolVersion")}, initializeFault(m)
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
func (p *pump) confirm(h *handshake) {
	ctx, cancel := context.WithTimeout(h.ctx, handshakeLimit)
	defer cancel()
	if err := p.postTo(ctx, h.link, []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		p.cfg.Log.Warn("notifications/initialized was not accepted", "error", err)
	}
	if level := p.session.logLevel(); level != nil {
		_, err := p.ask(ctx, h.link, "logging/setLevel", level)
		p.cfg.Log.Debug("log level repeated", "error", err)
	}
}

// ask sends a request of the bridge's own and returns the answer. It never involves a human.
func (p *pump) ask(ctx context.Context, link link, method string, params []byte) (envelope.Message, error) {
	id := []byte(`"drawbridge:` + method + `"`)
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
	return p.soleAnswer(resp, id)
}

// initialize answers the client's initialize: with the server's words if they come in time, else in its place.
func (p *pump) initialize(c *call, h *handshake, greeted chan struct{}) {
	defer close(greeted)
	defer c.cancel()
	go p.presentLater(h)
	budget := time.NewTimer(p.cfg.StartupBudget)
	defer budget.Stop()
	select {
	case <-h.done:
		p.answerHandshake(c, h)
		return
	case <-h.human:
	case <-budget.C:
	case <-c.ctx.Done():
		return
	}
	p.view.setEarly()
	p.result(c, p.earlyResult(h.init))
}

func (p *pump) answerHandshake(c *call, h *handshake) {
	if h.err != nil {
		p.fail(c, h.err)
		return
	}
	p.answer(c, h.answer.WithID(c.ID))
}

// legacyVersions are the protocol revisions with an initialize handshake; the last is the newest.
var legacyVersions = []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}

// earlyResult is the InitializeResult in the server's place: the client's own revision, and every list that may turn
// out to exist, each with listChanged, so that the client asks again when told.
func (p *pump) earlyResult(init envelope.Message) []byte {
	version := legacyVersions[len(legacyVersions)-1]
	for _, v := range legacyVersions {
		if v == envelope.StringMember(init.Params, "protocolVersion") {
			version = v
		}
	}
	changing := map[string]bool{"listChanged": true}
	return mustJSON(map[string]any{
		"protocolVersion": version,
		"capabilities":    map[string]any{"tools": changing, "prompts": changing, "resources": changing, "logging": struct{}{}, "completions": struct{}{}},
		"serverInfo":      map[string]string{"name": "drawbridge", "title": "Drawbridge to " + p.up.host, "version": p.cfg.Version},
		"instructions":    "Drawbridge connects to " + p.up.host + ". Its tools appear when the connection stands. If a tool named sign_in is listed, the person has to sign in first: call it, or show the person the address in its description.",
	})
}
