package proxy

import (
	"bytes"

	"drawbridge/auth/guard"
	"drawbridge/bridge/envelope"
)

// list is one kind of list that servers answer with.
type list struct {
	member string // of the result
	kind   string // of a target of calls
	naming string // the member of an entry that names it
	method string // that would use an entry
}

var lists = map[string]list{
	"tools":             {"tools", "tool", "name", "tools/call"},
	"prompts":           {"prompts", "prompt", "name", "prompts/get"},
	"resources":         {"resources", "resource", "uri", "resources/read"},
	"resourceTemplates": {"resourceTemplates", "resource", "uriTemplate", "resources/read"},
}

// listMethods are the requests whose answers hold lists.
func listMethod(method string) bool {
	switch method {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list":
		return true
	}
	return false
}

// filter takes out of lists what somebody may not use.
type filter struct {
	id      *guard.Identity
	visible func(id *guard.Identity, method, kind, name string) bool
}

// body filters one message or a batch. All other bytes stay. An error means that it is neither.
func (f filter) body(raw []byte) ([]byte, error) {
	if !envelope.IsBatch(raw) {
		return f.message(raw)
	}
	parts, err := envelope.Split(raw)
	if err != nil {
		return nil, err
	}
	for i, part := range parts {
		if parts[i], err = f.message(part); err != nil {
			return nil, err
		}
	}
	return enclose('[', parts, ']'), nil
}

func (f filter) message(raw []byte) ([]byte, error) {
	m, err := envelope.Parse(raw)
	if err != nil {
		return nil, err
	}
	if m.Kind() != envelope.Response || m.Result == nil || m.Result[0] != '{' {
		return raw, nil
	}
	return f.result(m.Raw, m.Result)
}

// edit is a piece of text to be replaced.
type edit struct{ old, new []byte }

// result filters the lists in a result, which is a part of raw. What is left is for this account only, so shared caches
// must not keep it (MCP 2026-07-28, caching: cacheScope).
func (f filter) result(raw, result []byte) ([]byte, error) {
	var edits []edit
	filtered, scoped, caching := false, false, false
	err := envelope.Members(result, func(name string, value []byte) {
		l, isList := lists[name]
		switch {
		case isList && value[0] == '[':
			filtered = true
			edits = append(edits, edit{value, f.list(l, value)})
		case name == "cacheScope":
			scoped = true
			edits = append(edits, edit{value, []byte(`"private"`)})
		case name == "ttlMs":
			caching = true
		}
	})
	if err != nil || !filtered {
		return raw, err
	}
	if caching && !scoped {
		edits = append([]edit{{result[:1], []byte(`{"cacheScope":"private",`)}}, edits...)
	}
	return splice(raw, edits), nil
}

// splice replaces parts of raw, which are slices of it, in order.
func splice(raw []byte, edits []edit) []byte {
	var out bytes.Buffer
	done := 0
	for _, e := range edits {
		at := cap(raw) - cap(e.old)
		out.Write(raw[done:at])
		out.Write(e.new)
		done = at + len(e.old)
	}
	out.Write(raw[done:])
	return out.Bytes()
}

// list keeps the entries that may be used. An entry without a name cannot be judged and goes.
func (f filter) list(l list, raw []byte) []byte {
	entries, err := envelope.Split(raw)
	if err != nil {
		return []byte("[]") // it holds nothing: its syntax was read before
	}
	var kept [][]byte
	for _, entry := range entries {
		if name, ok := single(entry, l.naming); ok && f.visible(f.id, l.method, l.kind, name) {
			kept = append(kept, entry)
		}
	}
	return enclose('[', kept, ']')
}

// single returns the string that stands once in an entry under a name.
func single(entry []byte, naming string) (name string, ok bool) {
	count := 0
	if envelope.Members(entry, func(key string, _ []byte) {
		if key == naming {
			count++
		}
	}) != nil || count != 1 {
		return "", false
	}
	name = envelope.StringMember(entry, naming)
	return name, name != ""
}

func enclose(open byte, parts [][]byte, end byte) []byte {
	out := append([]byte{open}, bytes.Join(parts, []byte(","))...)
	return append(out, end)
}
