package message

import (
	"fmt"

	"drawbridge/bridge/envelope"
)

// versionKey is where a message of 2026-07-28 and later names its revision, in params._meta.
const versionKey = "io.modelcontextprotocol/protocolVersion"

// named are the methods whose parameters name one target, and the member that does.
var named = map[string]struct{ member, target string }{
	"tools/call":            {"name", Tool},
	"prompts/get":           {"name", Prompt},
	"resources/read":        {"uri", Resource},
	"resources/subscribe":   {"uri", Resource},
	"resources/unsubscribe": {"uri", Resource},
}

// mirroredIn is the member that the header Mcp-Name repeats (2026-07-28, Streamable HTTP; the tasks extension for the rest).
var mirroredIn = map[string]string{
	"tools/call": "name", "prompts/get": "name", "resources/read": "uri",
	"tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId",
}

// params reads what the parameters name.
func (m *Message) params(raw []byte) error {
	if !present(raw) {
		raw = []byte("{}")
	}
	if raw[0] != '{' {
		return fmt.Errorf("%w: params is not an object", envelope.ErrNotMessage)
	}
	p, err := members(raw, "name", "uri", "taskId", "ref", "_meta", "notifications", "arguments")
	if err != nil {
		return err
	}
	m.Arguments = p["arguments"]
	if err := m.version(p["_meta"]); err != nil {
		return err
	}
	if member, ok := mirroredIn[m.Method]; ok {
		if m.mirrored, err = optional(member, p[member]); err != nil {
			return err
		}
	}
	return m.targets(p)
}

// optional decodes a name that may be missing: what to answer then is the server's to say, and depends on its revision.
func optional(member string, value []byte) (string, error) {
	if value == nil {
		return "", nil
	}
	return text(member, value)
}

func (m *Message) version(meta []byte) error {
	if !present(meta) {
		return nil
	}
	found, err := members(meta, versionKey)
	if err == nil && found[versionKey] != nil {
		m.Version, err = text(versionKey, found[versionKey])
	}
	return err
}

func (m *Message) targets(p map[string][]byte) (err error) {
	if n, ok := named[m.Method]; ok {
		name, err := optional(n.member, p[n.member])
		m.Targets = []Target{{n.target, name}}
		return err
	}
	switch m.Method {
	case "completion/complete":
		m.Targets, err = reference(p["ref"])
	case "subscriptions/listen":
		m.Targets, err = subscriptions(p["notifications"])
	}
	return err
}

// reference reads what a completion is for: a prompt's argument or a resource template's.
func reference(ref []byte) ([]Target, error) {
	r, err := members(ref, "type", "name", "uri")
	if err != nil {
		return nil, fmt.Errorf("ref: %w", err)
	}
	of, err := text("type", r["type"])
	if err != nil {
		return nil, err
	}
	switch of {
	case "ref/prompt":
		name, err := text("name", r["name"])
		return []Target{{Prompt, name}}, err
	case "ref/resource":
		uri, err := text("uri", r["uri"])
		return []Target{{Resource, uri}}, err
	}
	return nil, fmt.Errorf("ref: type %.40q is neither ref/prompt nor ref/resource", of)
}

// subscriptions reads the resources that a listener (2026-07-28) wants to hear of.
func subscriptions(filter []byte) (targets []Target, err error) {
	if !present(filter) {
		return nil, nil
	}
	f, err := members(filter, "resourceSubscriptions")
	if err != nil || !present(f["resourceSubscriptions"]) {
		return nil, err
	}
	uris := f["resourceSubscriptions"]
	if !envelope.IsBatch(uris) {
		return nil, fmt.Errorf("resourceSubscriptions is not a list")
	}
	parts, err := envelope.Split(uris)
	if err != nil {
		return nil, nil // a list that holds nothing: the message was read, so its syntax is right
	}
	for _, part := range parts {
		uri, err := text("resourceSubscriptions", part)
		if err != nil {
			return nil, err
		}
		targets = append(targets, Target{Resource, uri})
	}
	return targets, nil
}
