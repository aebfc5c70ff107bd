//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// model plays the language model of an agent: it asks for one call of a tool, takes the result, and says that it is done.
// It speaks as much of four vendors' interfaces as the clients need, and understands nothing.
type model struct {
	url  string
	tool string // how the name of the tool ends

	mu       sync.Mutex
	requests []string // guarded by mu; what was asked, for a look after a failure
	results  []string // guarded by mu; results of calls, as the client reported them
}

func startModel(t *testing.T, tool string) *model {
	t.Helper()
	m := &model{tool: tool}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/messages", m.answer(anthropic))
	mux.HandleFunc("POST /v1/responses", m.answer(responses))
	mux.HandleFunc("POST /v1/chat/completions", m.answer(completions))
	mux.HandleFunc("POST /v1beta/models/{rest...}", m.answer(gemini))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		m.note(r.Method + " " + r.URL.Path)
		http.Error(w, `{"error":{"message":"not here"}}`, http.StatusNotFound)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	m.url = server.URL
	return m
}

func (m *model) note(request string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, request)
}

// got returns the results so far.
func (m *model) got() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.results, "\n")
}

// vendor is one vendor's interface: how the results of calls are found in a request, and how a call and an end are written.
type vendor struct {
	results func(request map[string]any) []any
	call    func(tool string) []string // events
	done    []string
}

func (m *model) answer(v vendor) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request map[string]any
		if err != nil || json.Unmarshal(body, &request) != nil {
			http.Error(w, "no JSON", http.StatusBadRequest)
			return
		}
		m.note(r.Method + " " + r.URL.Path + " " + string(body))
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range m.next(v, request) {
			fmt.Fprint(w, event)
		}
	}
}

// next is what the model does: the call first, the end when there is a result, or no tool of that name.
func (m *model) next(v vendor, request map[string]any) []string {
	results := v.results(request)
	tool := toolEndingWith(request["tools"], m.tool)
	if len(results) == 0 && tool != "" {
		return v.call(tool)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range results {
		text, _ := json.Marshal(r) // it was JSON
		m.results = append(m.results, string(text))
	}
	return v.done
}

// toolEndingWith looks for a name anywhere in what a request says of its tools.
func toolEndingWith(v any, end string) (found string) {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			found = max(found, toolEndingWith(element, end))
		}
	case map[string]any:
		if name, _ := v["name"].(string); strings.HasSuffix(name, end) {
			return name
		}
		for _, element := range v {
			found = max(found, toolEndingWith(element, end))
		}
	}
	return found
}

// blocks returns the objects anywhere in v that have the member with the value.
func blocks(v any, member, value string) (found []any) {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			found = append(found, blocks(element, member, value)...)
		}
	case map[string]any:
		if v[member] == value {
			return []any{v}
		}
		for _, element := range v {
			found = append(found, blocks(element, member, value)...)
		}
	}
	return found
}

func event(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }
func data(text string) string        { return "data: " + text + "\n\n" }

var anthropic = vendor{
	results: func(request map[string]any) []any { return blocks(request["messages"], "type", "tool_result") },
	call: func(tool string) []string {
		return anthropicMessage(fmt.Sprintf(`{"type":"tool_use","id":"call_1","name":%q,"input":{}}`, tool), `{"type":"input_json_delta","partial_json":"{}"}`, "tool_use")
	},
	done: anthropicMessage(`{"type":"text","text":""}`, `{"type":"text_delta","text":"done"}`, "end_turn"),
}

func anthropicMessage(block, delta, reason string) []string {
	return []string{
		event("message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-fake","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}`),
		event("content_block_start", `{"type":"content_block_start","index":0,"content_block":`+block+`}`),
		event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":`+delta+`}`),
		event("content_block_stop", `{"type":"content_block_stop","index":0}`),
		event("message_delta", `{"type":"message_delta","delta":{"stop_reason":"`+reason+`","stop_sequence":null},"usage":{"output_tokens":1}}`),
		event("message_stop", `{"type":"message_stop"}`),
	}
}

// responses is the Responses interface, where the tools of an MCP server have a namespace of their own.
var responses = vendor{
	results: func(request map[string]any) []any { return blocks(request["input"], "type", "function_call_output") },
	call: func(tool string) []string {
		return responsesItem(fmt.Sprintf(`{"type":"function_call","id":"fc_1","call_id":"call_1","namespace":"mcp__example","name":%q,"arguments":"{}","status":"completed"}`, tool))
	},
	done: responsesItem(`{"type":"message","id":"m_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"done","annotations":[]}]}`),
}

func responsesItem(item string) []string {
	return []string{
		event("response.created", `{"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress","output":[]}}`),
		event("response.output_item.done", `{"type":"response.output_item.done","output_index":0,"item":`+item+`}`),
		event("response.completed", `{"type":"response.completed","response":{"id":"resp_1","object":"response","status":"completed","output":[`+item+`],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}}`),
	}
}

var completions = vendor{
	results: func(request map[string]any) []any { return blocks(request["messages"], "role", "tool") },
	call: func(tool string) []string {
		return completion(fmt.Sprintf(`{"role":"assistant","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":%q,"arguments":"{}"}}]}`, tool), "tool_calls")
	},
	done: completion(`{"role":"assistant","content":"done"}`, "stop"),
}

func completion(delta, reason string) []string {
	const head = `{"id":"c_1","object":"chat.completion.chunk","created":1,"model":"fake","choices":[{"index":0,"delta":`
	return []string{
		data(head + delta + `,"finish_reason":null}]}`),
		data(head + `{},"finish_reason":"` + reason + `"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`),
		data("[DONE]"),
	}
}

var gemini = vendor{
	results: func(request map[string]any) []any { return partsWith(request["contents"], "functionResponse") },
	call: func(tool string) []string {
		return geminiPart(fmt.Sprintf(`{"functionCall":{"name":%q,"args":{}}}`, tool))
	},
	done: geminiPart(`{"text":"done"}`),
}

func geminiPart(part string) []string {
	return []string{data(`{"candidates":[{"content":{"role":"model","parts":[` + part + `]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}`)}
}

// partsWith returns the values of a member anywhere in v.
func partsWith(v any, member string) (found []any) {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			found = append(found, partsWith(element, member)...)
		}
	case map[string]any:
		if inner, ok := v[member]; ok {
			return []any{inner}
		}
		for _, element := range v {
			found = append(found, partsWith(element, member)...)
		}
	}
	return found
}
