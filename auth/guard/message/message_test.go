package message_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"drawbridge/auth/guard/message"
)

var visible = cmpopts.IgnoreUnexported(message.Message{})

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		want     message.Message
	}{
		{"tool", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{"name":"no"},"name":"deploy"}}`,
			message.Message{ID: []byte("7"), Method: "tools/call", Targets: []message.Target{{Type: message.Tool, Name: "deploy"}}, Arguments: []byte(`{"name":"no"}`)}},
		{"prompt", `{"id":"a","method":"prompts/get","params":{"name":"p"}}`,
			message.Message{ID: []byte(`"a"`), Method: "prompts/get", Targets: []message.Target{{Type: message.Prompt, Name: "p"}}}},
		{"resource", `{"id":-1,"method":"resources/read","params":{"uri":"file:///a"}}`,
			message.Message{ID: []byte("-1"), Method: "resources/read", Targets: []message.Target{{Type: message.Resource, Name: "file:///a"}}}},
		{"escaped", `{"id":1,"m\u0065thod":"tools\/call","params":{"n\u0061me":"d\u00e9ploy"}}`,
			message.Message{ID: []byte("1"), Method: "tools/call", Targets: []message.Target{{Type: message.Tool, Name: "déploy"}}}},
		{"completion of a prompt", `{"id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"}}}`,
			message.Message{ID: []byte("1"), Method: "completion/complete", Targets: []message.Target{{Type: message.Prompt, Name: "p"}}}},
		{"completion of a resource", `{"id":1,"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"x://{y}"}}}`,
			message.Message{ID: []byte("1"), Method: "completion/complete", Targets: []message.Target{{Type: message.Resource, Name: "x://{y}"}}}},
		{"listener", `{"id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a://1","a://2"]}}}`,
			message.Message{ID: []byte("1"), Method: "subscriptions/listen", Targets: []message.Target{{Type: message.Resource, Name: "a://1"}, {Type: message.Resource, Name: "a://2"}}}},
		{"listener to nothing named", `{"id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":[]}}}`,
			message.Message{ID: []byte("1"), Method: "subscriptions/listen"}},
		{"no name", `{"id":1,"method":"tools/call"}`, message.Message{ID: []byte("1"), Method: "tools/call", Targets: []message.Target{{Type: message.Tool}}}},
		{"no parameters", `{"id":1,"method":"tools/list"}`, message.Message{ID: []byte("1"), Method: "tools/list"}},
		{"null parameters", `{"id":1,"method":"ping","params":null}`, message.Message{ID: []byte("1"), Method: "ping"}},
		{"revision", `{"id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
			message.Message{ID: []byte("1"), Method: "ping", Version: "2026-07-28"}},
		{"notification", `{"method":"notifications/initialized"}`, message.Message{Kind: message.Notification, Method: "notifications/initialized"}},
		{"call without id", `{"method":"tools/call","params":{"name":"deploy"}}`,
			message.Message{Kind: message.Notification, Method: "tools/call", Targets: []message.Target{{Type: message.Tool, Name: "deploy"}}}},
		{"response", `{"id":3,"result":{"method":"x"}}`, message.Message{Kind: message.Response, ID: []byte("3")}},
		{"method beside a result", `{"id":3,"result":{},"method":"tools/list"}`, message.Message{ID: []byte("3"), Method: "tools/list"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := message.Parse([]byte(tt.in))
			if diff := cmp.Diff(message.Body{Messages: []message.Message{tt.want}}, got, visible); diff != "" || err != nil {
				t.Errorf("Parse (-want +got), %v:\n%s", err, diff)
			}
		})
	}
}

func TestParseBatch(t *testing.T) {
	got, err := message.Parse([]byte(` [{"id":1,"method":"tools/call","params":{"name":"a"}}, {"method":"notifications/x"}]`))
	want := message.Body{Batch: true, Messages: []message.Message{
		{ID: []byte("1"), Method: "tools/call", Targets: []message.Target{{Type: message.Tool, Name: "a"}}},
		{Kind: message.Notification, Method: "notifications/x"},
	}}
	if diff := cmp.Diff(want, got, visible); diff != "" || err != nil {
		t.Errorf("Parse (-want +got), %v:\n%s", err, diff)
	}
}

// TestParseRefuses: what two readers could read in two ways is nobody's to judge.
func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, in, says string }{
		{"method twice", `{"id":1,"method":"tools/list","method":"tools/call","params":{"name":"a"}}`, "method"},
		{"method twice, once escaped", `{"id":1,"method":"tools/list","\u006dethod":"tools/call","params":{"name":"a"}}`, "method"},
		{"method in two cases", `{"id":1,"method":"tools/list","Method":"tools/call","params":{"name":"a"}}`, "method"},
		{"method in another case only", `{"id":1,"METHOD":"tools/call","params":{"name":"a"}}`, "method"},
		{"a letter that folds", `{"id":1,"method":"tools/call","param\u017f":{"name":"b"},"params":{"name":"a"}}`, "params"},
		{"id twice", `{"id":1,"id":2,"method":"ping"}`, "id"},
		{"params twice", `{"id":1,"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}`, "params"},
		{"arguments twice", `{"id":1,"method":"tools/call","params":{"name":"a","arguments":{},"arguments":{"force":true}}}`, "arguments"},
		{"name twice", `{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}`, "name"},
		{"name in two cases", `{"id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}`, "name"},
		{"uri twice", `{"id":1,"method":"resources/read","params":{"uri":"a","uri":"b"}}`, "uri"},
		{"ref name twice", `{"id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a","name":"b"}}}`, "name"},
		{"revision twice", `{"id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"a","io.modelcontextprotocol/protocolVersion":"b"}}}`, "protocolVersion"},
		{"second message of a batch", `[{"id":1,"method":"ping"},{"id":2,"method":"ping","method":"x"}]`, "message 2"},
		{"name is no string", `{"id":1,"method":"tools/call","params":{"name":["a"]}}`, "name"},
		{"name is null", `{"id":1,"method":"tools/call","params":{"name":null}}`, "name"},
		{"name ends early", `{"id":1,"method":"tools/call","params":{"name":"deploy\u0000x"}}`, "name"},
		{"name has half a character", `{"id":1,"method":"tools/call","params":{"name":"deploy\ud800"}}`, "name"},
		{"parameters by position", `{"id":1,"method":"tools/call","params":["a"]}`, "params"},
		{"method is no string", `{"id":1,"method":["tools/call"]}`, "method"},
		{"id is null", `{"id":null,"method":"tools/call","params":{"name":"a"}}`, "id"},
		{"id is an object", `{"id":{},"method":"ping"}`, "id"},
		{"unknown reference", `{"id":1,"method":"completion/complete","params":{"ref":{"type":"ref/tool"}}}`, "ref"},
		{"listener to no list", `{"id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":"a"}}}`, "list"},
		{"neither call nor answer", `{"id":1}`, "neither"},
		{"string", `"tools/call"`, "JSON-RPC"},
		{"empty batch", `[]`, "batch"},
		{"batch in a batch", `[[{"id":1,"method":"ping"}]]`, "message 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := message.Parse([]byte(tt.in))
			if err == nil || errors.Is(err, message.ErrSyntax) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Parse = %+v, %v; want an error that says %q", got, err, tt.says)
			}
		})
	}
	for _, in := range []string{``, `{`, `{"id":1,"method":"ping"} {}`, "\xef\xbb\xbf{}", "{\"id\":1,\"method\":\"pi\xffng\"}", `[{"id":1`} {
		if _, err := message.Parse([]byte(in)); !errors.Is(err, message.ErrSyntax) {
			t.Errorf("Parse(%q) = %v, want ErrSyntax", in, err)
		}
	}
}

func TestCheckHeaders(t *testing.T) {
	const call = `{"id":1,"method":"tools/call","params":{"name":"deploy"}}`
	const modernCall = `{"id":1,"method":"tools/call","params":{"name":"deploy","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
	all := http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"deploy"}}
	with := func(name string, values ...string) http.Header {
		h := all.Clone()
		if h[name] = values; len(values) == 0 {
			delete(h, name)
		}
		return h
	}
	tests := []struct {
		name, body string
		headers    http.Header
		says       string // "" if nothing is wrong
	}{
		{"old, without headers", call, http.Header{}, ""},
		{"old revision", call, http.Header{"Mcp-Protocol-Version": {"2025-11-25"}}, ""},
		{"old, with a right header", call, http.Header{"Mcp-Name": {"deploy"}}, ""},
		{"old, with a wrong method", call, http.Header{"Mcp-Method": {"tools/list"}}, "Mcp-Method"},
		{"old, with a wrong name", call, http.Header{"Mcp-Name": {"read"}}, "Mcp-Name"},
		{"new", modernCall, all, ""},
		{"new, encoded", modernCall, with("Mcp-Name", "=?base64?ZGVwbG95?="), ""},
		{"new, encoded something else", modernCall, with("Mcp-Name", "=?base64?cmVhZA==?="), "Mcp-Name"},
		{"new, encoded wrongly", modernCall, with("Mcp-Name", "=?base64?Z?="), "base64"},
		{"new, wrong method", modernCall, with("Mcp-Method", "tools/list"), "Mcp-Method"},
		{"new, wrong case", modernCall, with("Mcp-Method", "Tools/Call"), "Mcp-Method"},
		{"new, wrong name", modernCall, with("Mcp-Name", "read"), "Mcp-Name"},
		{"new, name twice", modernCall, with("Mcp-Name", "deploy", "deploy"), "2 times"},
		{"new, without method", modernCall, with("Mcp-Method"), "missing"},
		{"new, without name", modernCall, with("Mcp-Name"), "missing"},
		{"new, without revision", modernCall, with("Mcp-Protocol-Version"), "missing"},
		{"new, another revision", modernCall, with("Mcp-Protocol-Version", "2025-11-25"), "Mcp-Protocol-Version"},
		{"new by the header alone", call, all, ""},
		{"new, list", `{"id":1,"method":"tools/list"}`, http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/list"}}, ""},
		{"new, list with a name", `{"id":1,"method":"tools/list"}`, http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/list"}, "Mcp-Name": {"x"}}, "Mcp-Name"},
		{"new, task", `{"id":1,"method":"tasks/get","params":{"taskId":"t"}}`, http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tasks/get"}, "Mcp-Name": {"u"}}, "Mcp-Name"},
		{"notification without headers", `{"method":"notifications/x"}`, http.Header{"Mcp-Protocol-Version": {"2026-07-28"}}, ""},
		{"response", `{"id":1,"result":{}}`, all, ""},
		{"batch under one name", `[` + call + `,{"id":2,"method":"tools/call","params":{"name":"drop"}}]`, http.Header{"Mcp-Name": {"deploy"}}, "Mcp-Name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, err := message.Parse([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			err = body.CheckHeaders(tt.headers)
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("CheckHeaders = %v, want %q", err, tt.says)
			}
		})
	}
}

// FuzzParse: what passes means the same to encoding/json, whichever of its leniencies a server uses.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"method":"tools/call","params":{"name":"a"}}`, `[{"id":1,"method":"tools/call","params":{"name":"a"}}]`,
		`{"id":1,"method":"resources/read","params":{"uri":"x"},"Params":{"uri":"y"}}`, `{"id":1,"result":{}}`,
		`{"id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := message.Parse(in)
		if err != nil || got.Batch {
			return
		}
		var ref struct {
			Method string
			Params struct{ Name, URI string }
		}
		// Members that no one judges may be of any type; the decoder then fails on them and not on ours.
		_ = json.Unmarshal(in, &ref)
		m := got.Messages[0]
		if ref.Method != m.Method {
			t.Fatalf("method of %q: %q, encoding/json says %q", in, m.Method, ref.Method)
		}
		want := map[string]string{"tools/call": ref.Params.Name, "prompts/get": ref.Params.Name, "resources/read": ref.Params.URI}
		if name, ok := want[m.Method]; ok && (len(m.Targets) != 1 || m.Targets[0].Name != name) {
			t.Fatalf("targets of %q: %+v, encoding/json says %q", in, m.Targets, name)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"` + strings.Repeat("x", 1000) + `"}}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message.Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}
