package bridge

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"drawbridge/bridge/envelope"
)

// This file has the client show the page of a sign-in (MCP 2025-11-25, elicitation, URL mode), where it declared that it
// can. The client asks the person and opens the page; no tab is opened here. Servers' own elicitations pass through the
// bridge like any other message.

// elicitVersion is the protocol revision that URL mode came with.
const elicitVersion = "2025-11-25"

// initializedLimit is how long the notification that a client is initialized is waited for, before a tab serves.
const initializedLimit = 3 * time.Second

// elicitations holds what the client is asked on behalf of the bridge.
type elicitations struct {
	mu     sync.Mutex
	latest *elicitation    // of the sign-in that was shown last; nil before
	ids    map[string]bool // of all, as JSON text
}

// elicitation asks the client to show the page of one sign-in.
type elicitation struct {
	signIn   <-chan struct{} // Done of the sign-in
	id       string          // of the request, and of the elicitation
	answer   chan envelope.Message
	declined chan struct{} // closed when the person declined
}

// of returns the elicitation for s, a new one if there is none yet.
func (e *elicitations) of(s SignIn) *elicitation {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.latest == nil || e.latest.signIn != s.Done {
		e.begin(s)
	}
	return e.latest
}

// begin makes a new elicitation the latest. e.mu is held.
func (e *elicitations) begin(s SignIn) {
	// 128 random bits: no server picks this id for a request of its own.
	e.latest = &elicitation{signIn: s.Done, id: "drawbridge-sign-in-" + rand.Text(), answer: make(chan envelope.Message, 1), declined: make(chan struct{})}
	if e.ids == nil {
		e.ids = map[string]bool{}
	}
	e.ids[`"`+e.latest.id+`"`] = true
}

// renew returns a new elicitation for s in place of one that the person declined, else nil. Of several callers one gets it.
func (e *elicitations) renew(s SignIn) *elicitation {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.latest == nil || e.latest.signIn != s.Done || !e.latest.isDeclined() {
		return nil
	}
	e.begin(s)
	return e.latest
}

func (e *elicitation) isDeclined() bool {
	select {
	case <-e.declined:
		return true
	default:
		return false
	}
}

// take takes the answer to a request of ours, be it late; false if m is none.
func (e *elicitations) take(m envelope.Message) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ids[string(m.ID)] {
		return false
	}
	if string(m.ID) != `"`+e.latest.id+`"` {
		return true // another took its place
	}
	select {
	case e.latest.answer <- m:
	default: // answered already
	}
	return true
}

// elicits reports whether the client declared that it shows pages, in a revision that has that.
func (p *pump) elicits() bool {
	init := p.session.clientParams()
	capabilities, _ := envelope.Member(init, "capabilities")
	elicitation, _ := envelope.Member(capabilities, "elicitation")
	_, url := envelope.Member(elicitation, "url")
	return url && p.view.told() == elicitVersion
}

// present shows s to the human: through the client where it can, else in a tab. The channel is closed when the person
// declines; it is nil where nobody can.
func (p *pump) present(s SignIn) (declined <-chan struct{}) {
	if !p.elicits() {
		s.Present(nil)
		return nil
	}
	e := p.elicit.of(s)
	s.Present(func() error { return p.elicitSignIn(s, e) })
	return e.declined
}

// presentAgain shows the pending sign-in once more to a person who declined and now asks for it.
func (p *pump) presentAgain() {
	s, pending := p.cfg.Auth.Pending()
	if !pending || !p.elicits() {
		return
	}
	e := p.elicit.renew(s)
	if e == nil {
		return
	}
	go func() { _ = p.elicitSignIn(s, e) }() // a client that answered once can answer again; who waits is told the address
}

// elicitSignIn asks the client to show s and waits for its answer, at most until s ends. An error says that it cannot.
func (p *pump) elicitSignIn(s SignIn, e *elicitation) error {
	// Before it is initialized, a client should be asked nothing (MCP 2025-11-25 lifecycle).
	select {
	case <-p.session.initialized:
	case <-time.After(initializedLimit):
		return errors.New("the client is not initialized")
	case <-s.Done:
		return nil
	}
	p.write(elicitRequest(p.up.host, s, e))
	select {
	case m := <-e.answer:
		return p.judgeElicited(s, e, m)
	case <-s.Done:
		p.write(cancelRequest(e))
	case <-p.life.Done():
	}
	return nil
}

// elicitRequest says which server the sign-in is for, as the person has to decide with that.
func elicitRequest(host string, s SignIn, e *elicitation) []byte {
	message := "Sign in to " + host + " with your browser, so that Drawbridge can use it as you."
	if s.Reason != "" {
		message += " Needed because " + s.Reason + "."
	}
	if s.Other != "" {
		message += " Or " + s.Other + "."
	}
	return mustJSON(map[string]any{
		"jsonrpc": "2.0", "id": e.id, "method": "elicitation/create",
		"params": map[string]string{"mode": "url", "elicitationId": e.id, "url": s.URL, "message": message},
	})
}

func cancelRequest(e *elicitation) []byte {
	return mustJSON(map[string]any{
		"jsonrpc": "2.0", "method": "notifications/cancelled",
		"params": map[string]string{"requestId": e.id, "reason": "the sign-in has ended"},
	})
}

// judgeElicited reads the client's answer. An error of its is no decision of the person.
func (p *pump) judgeElicited(s SignIn, e *elicitation, m envelope.Message) error {
	switch {
	case m.Error != nil:
		return errors.New("the client cannot show the sign-in: " + snippet(m.Error))
	case envelope.StringMember(m.Result, "action") == "accept":
		go p.completeElicitation(s, e)
	default:
		close(e.declined)
	}
	return nil
}

// completeElicitation tells the client when a sign-in that it showed has ended.
func (p *pump) completeElicitation(s SignIn, e *elicitation) {
	select {
	case <-s.Done:
		p.write(mustJSON(map[string]any{
			"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": map[string]string{"elicitationId": e.id},
		}))
	case <-p.life.Done():
	}
}

// declinedFault says that the person does not want to sign in.
func (p *pump) declinedFault() error {
	s, _ := p.cfg.Auth.Pending()
	return &fault{code: codeSignIn, kind: "sign_in_declined", text: "the sign-in was declined in the client", url: s.URL,
		hint: "open " + s.URL + " in a browser, or call the tool sign_in, where it is listed, to be asked again"}
}
