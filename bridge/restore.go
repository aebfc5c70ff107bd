package bridge

import (
	"bytes"
	"context"
	"sync"

	"drawbridge/bridge/envelope"
)

// This file is about what a session holds besides its id, and what becomes of it when the server forgets the session.

// subscriptions are the resources that the client subscribed to, to subscribe again in a new session.
type subscriptions struct {
	mu     sync.Mutex
	params map[string][]byte // of the request, by URI
}

// note takes account of the server's answer to c.
func (s *subscriptions) note(c *call, m envelope.Message) {
	if m.Result == nil || c.Method != "resources/subscribe" && c.Method != "resources/unsubscribe" {
		return
	}
	uri := envelope.StringMember(c.Params, "uri")
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Method == "resources/unsubscribe" {
		delete(s.params, uri)
		return
	}
	if s.params == nil {
		s.params = map[string][]byte{}
	}
	s.params[uri] = bytes.Clone(c.Params)
}

func (s *subscriptions) all() (params [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.params {
		params = append(params, p)
	}
	return params
}

func (s *subscriptions) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.params = nil
}

// restore repeats in h, which replaces a session that the server forgot, what the client had asked for in that: the log
// level is repeated already.
func (p *pump) restore(h *handshake) {
	for _, params := range p.subs.all() {
		ctx, cancel := context.WithTimeout(h.ctx, handshakeLimit)
		_, err := p.ask(ctx, h.link, "resources/subscribe", params)
		cancel()
		p.cfg.Log.Debug("subscription repeated", "error", err)
	}
}

// prove notes that something went well in h. If it is a new session of a server that forgot the one before, the client is
// told to ask for its lists again: not earlier, or a server that forgets every session would keep the client asking.
func (p *pump) prove(h *handshake) {
	if h.renewed {
		h.proved.Do(func() { p.announceAll(h) })
	}
}

// announceAll tells the client to ask again for every list of a server that may have changed unseen.
func (p *pump) announceAll(h *handshake) {
	capabilities, _ := envelope.Member(h.answer.Result, "capabilities")
	lists := map[string]bool{}
	for _, c := range changed {
		name, _, _ := bytes.Cut([]byte(c.method), []byte("/"))
		_, lists[c.method] = envelope.Member(capabilities, string(name))
	}
	p.announce(lists)
}

// serverAsks are the requests of the server that the client has not answered yet. An answer belongs to the session the
// request came from.
type serverAsks struct {
	mu   sync.Mutex
	open map[string]*handshake // by the id's JSON text
}

// maxServerAsks bounds how many are known. Answers to others are taken for the session's that stands.
const maxServerAsks = 1000

func (s *serverAsks) add(id []byte, h *handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]*handshake{}
	}
	if len(s.open) < maxServerAsks {
		s.open[string(id)] = h
	}
}

// take returns the session that asked, nil if the request is not known, and forgets it.
func (s *serverAsks) take(id []byte) *handshake {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.open[string(id)]
	delete(s.open, string(id))
	return h
}

// of returns the ids of the requests of h. They stay known: a late answer to one of them is nobody's.
func (s *serverAsks) of(h *handshake) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, asker := range s.open {
		if asker == h {
			ids = append(ids, id)
		}
	}
	return ids
}

// withdraw cancels the requests of a server that forgot having made them.
func (p *pump) withdraw(lost *handshake) {
	for _, id := range p.asks.of(lost) {
		p.write(concat(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`, []byte(id), `,"reason":"the server forgot the session"}}`, nil, ``))
	}
}

// endSession ends at the server a session that another replaces though the server knows it: it does once it answered
// initialize, whether or not requests went. h has been stopped, so that it is done at once.
func (p *pump) endSession(h *handshake) {
	if <-h.done; h.err != nil || h.link.sessionID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.life, deleteLimit)
	defer cancel()
	p.up.delete(ctx, h.link)
}
