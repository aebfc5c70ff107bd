package bridge

import (
	"encoding/json"
	"slices"

	"drawbridge/bridge/envelope"
)

// initialize answers the client's initialize: with the server's words if they come in time, else in its place.
func (p *pump) initialize(c *call, h *handshake, greeted chan struct{}) {
	defer close(greeted)
	defer c.cancel()
	go p.presentLater(h)
	budget := after(c.ctx, p.cfg.StartupBudget)
	for {
		at := h.progress()
		if !h.isDone() && at.stage != trying {
			p.answerEarly(c, h.init)
			return
		}
		select {
		case <-h.done:
			p.answerHandshake(c, h)
			return
		case <-h.stirs(at):
			continue
		case <-budget:
		}
		if c.ctx.Err() == nil {
			p.answerEarly(c, h.init)
		}
		return
	}
}

func (p *pump) answerHandshake(c *call, h *handshake) {
	if h.err != nil {
		p.fail(c, h.err)
		return
	}
	p.view.greet(h.link.version)
	p.answer(c, h.answer.WithID(c.ID))
}

// answerEarly answers initialize in the server's place: from memory, else with the least that is certain.
func (p *pump) answerEarly(c *call, init envelope.Message) {
	result := p.earlyFromMemory(init)
	remembered := result != nil
	if !remembered {
		result = p.earlyResult(init)
	}
	p.view.setEarly(remembered)
	p.view.greet(envelope.StringMember(result, "protocolVersion"))
	p.result(c, result)
}

// legacyVersions are the protocol revisions with an initialize handshake; the last is the newest.
var legacyVersions = []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}

// askedVersion returns the revision that an initialize asks for; "" if it is none of legacyVersions.
func askedVersion(init envelope.Message) string {
	if v := envelope.StringMember(init.Params, "protocolVersion"); slices.Contains(legacyVersions, v) {
		return v
	}
	return ""
}

var changing = json.RawMessage(`{"listChanged":true}`)

// earlyResult is the InitializeResult of a server of which nothing is known: the client's own revision, and every list
// that may turn out to exist, each with listChanged, so that the client asks again when told.
func (p *pump) earlyResult(init envelope.Message) []byte {
	version := askedVersion(init)
	if version == "" {
		version = legacyVersions[len(legacyVersions)-1]
	}
	return mustJSON(map[string]any{
		"protocolVersion": version,
		"capabilities":    map[string]any{"tools": changing, "prompts": changing, "resources": changing, "logging": struct{}{}, "completions": struct{}{}},
		"serverInfo":      map[string]string{"name": "drawbridge", "title": "Drawbridge to " + p.up.host, "version": p.cfg.Version},
		"instructions":    "Drawbridge connects to " + p.up.host + ". Its tools appear when the connection stands. If a tool named sign_in is listed, the person has to sign in first: call it, or show the person the address in its description.",
	})
}

// earlyFromMemory is the InitializeResult that the server gave last time to the revision that init asks for; nil if
// there is none. Its lists say listChanged, whatever the server said, because the client will be told of changes; and
// it has tools, because sign_in may be one.
func (p *pump) earlyFromMemory(init envelope.Message) []byte {
	_, kept := p.recall(handshakeName(init))
	var result, capabilities map[string]json.RawMessage
	if kept == nil || json.Unmarshal(kept, &result) != nil || json.Unmarshal(result["capabilities"], &capabilities) != nil || capabilities == nil {
		return nil
	}
	capabilities["tools"] = withListChanged(capabilities["tools"])
	for _, name := range []string{"prompts", "resources"} {
		if capabilities[name] != nil {
			capabilities[name] = withListChanged(capabilities[name])
		}
	}
	result["capabilities"] = mustJSON(capabilities)
	return mustJSON(result)
}

// withListChanged adds listChanged to a capability of the server.
func withListChanged(capability json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(capability, &members) != nil || members == nil {
		return changing
	}
	members["listChanged"] = json.RawMessage("true")
	return mustJSON(members)
}
