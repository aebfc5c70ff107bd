package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestFidelity: what one side writes is what the other reads, however unusual, but for what stdio's one line a message
// demands.
func TestFidelity(t *testing.T) {
	result := func(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"result":{"ok":1}}` }
	tests := []struct{ name, in, sent, answer, out string }{
		{"params null", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}`, "same", result("1"), "same"},
		{"unknown members", `{"x":[1e400,-0.0,{}],"jsonrpc":"2.0","id":1,"method":"tools/call","trace":null}`, "same", `{"y":0.10,"id":1,"jsonrpc":"2.0","result":{},"z":"é"}`, "same"},
		{"key order and numbers", `{"id":1,"params":{"b":1.0,"a":12345678901234567890,"b":2},"method":"tools/call","jsonrpc":"2.0"}`, "same", `{"result":{"b":1.0,"a":1E+2,"b":2},"id":1,"jsonrpc":"2.0"}`, "same"},
		{"escapes", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"a":"\u0041\/\ud800\n"}}`, "same", `{"jsonrpc":"2.0","id":1,"result":{"a":"\u0041\/\ud800\u2028"}}`, "same"},
		{"escaped method", `{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools\/call"}`, "same", result("1"), "same"},
		{"trailing blanks and CRLF", "  " + `{"jsonrpc":"2.0","id":1,"method":"tools/call"}` + " \t\r", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, result("1") + "\r\n ", result("1")},
		{"pretty answer", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, "same", "{\r\n\t\"jsonrpc\":\"2.0\",\n\"id\":1,\n\"result\":{}\n}\n", "{  \t\"jsonrpc\":\"2.0\", \"id\":1, \"result\":{} }"},
		{"answer with a byte order mark", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, "same", "\xef\xbb\xbf" + result("1"), result("1")},
		{"integer beyond 2^53", `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call"}`, "same", result("9007199254740992"), result("9007199254740993")},
		{"float id", `{"jsonrpc":"2.0","id":1.50,"method":"tools/call"}`, "same", result("1.5"), result("1.50")},
		{"exponent id", `{"jsonrpc":"2.0","id":1e2,"method":"tools/call"}`, "same", result("100"), result("1e2")},
		{"string id", `{"jsonrpc":"2.0","id":"1","method":"tools/call"}`, "same", result(`"1"`), "same"},
		{"escaped id", `{"jsonrpc":"2.0","id":"\u00e9\"","method":"tools/call"}`, "same", result(`"é\""`), result(`"\u00e9\""`)},
		{"empty id", `{"jsonrpc":"2.0","id":"","method":"tools/call"}`, "same", result(`""`), "same"},
		{"error with id null", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, "same", `{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"x","data":[1.0]}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x","data":[1.0]}}`},
		{"error without id", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, "same", `{"jsonrpc":"2.0","error":{"code":-32603,"message":"x"}}`, `{"id":1,"jsonrpc":"2.0","error":{"code":-32603,"message":"x"}}`},
		{"result null", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, "same", `{"jsonrpc":"2.0","id":1,"result":null}`, "same"},
		{"batch of one", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, "same", "[" + result("1") + "]", result("1")},
		{"no jsonrpc member", `{"id":1,"method":"tools/call"}`, "same", `{"id":1,"result":{}}`, "same"},
		{"a line of 17 MB", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"text":"` + strings.Repeat("0123456789abcdef", 17<<16) + `"}}`, "same", `{"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("fedcba9876543210", 17<<16) + `"}`, "same"},
	}
	for _, tt := range tests {
		for _, how := range []string{"application/json", "text/event-stream"} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				if how == "text/event-stream" && strings.HasPrefix(tt.answer, "\xef") {
					return // a mark begins a stream, not an event
				}
				if how == "text/event-stream" && strings.Contains(tt.answer, "\r") {
					tt.answer, tt.out = strings.ReplaceAll(tt.answer, "\r", ""), strings.ReplaceAll(tt.out, "{  \t", "{ \t")
				}
				s, got := &server{}, ""
				s.handle = func(w http.ResponseWriter, r *http.Request, rpc, body string) {
					switch {
					case rpc != "tools/call":
						w.WriteHeader(http.StatusMethodNotAllowed)
					case how == "application/json":
						got = body
						answerJSON(w, tt.answer)
					default:
						got = body
						w.Header().Set("Content-Type", how)
						_, _ = io.WriteString(w, "data: "+strings.ReplaceAll(tt.answer, "\n", "\ndata: ")+"\n\n")
					}
				}
				c := start(t, serve(t, s))
				c.send(initialize)
				c.want(initResult)
				c.send(initialized, tt.in)
				line := c.next()
				if tt.sent == "same" {
					tt.sent = tt.in
				}
				if tt.out == "same" {
					tt.out = tt.answer
				}
				if got != tt.sent {
					t.Errorf("the server got\n%.300q, want\n%.300q", got, tt.sent)
				}
				if strings.TrimSpace(line) != tt.out {
					t.Errorf("the client got\n%.300q, want\n%.300q", line, tt.out)
				}
				c.finish()
			})
		}
	}
}

// TestTooLongLine: a line beyond the limit is refused, and the next one is dealt with.
func TestTooLongLine(t *testing.T) {
	cfg := serve(t, &server{})
	cfg.MaxMessage = 1 << 20
	c := start(t, cfg)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"` + strings.Repeat("x", 1<<20) + `"}`)
	if d := c.wantError("null", "too_long"); !strings.Contains(d.Message, fmt.Sprint(1<<20)) {
		t.Errorf("the error does not name the limit: %s", d.Message)
	}
	c.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	c.want(`{"jsonrpc":"2.0","id":2,"result":{}}`)
	c.finish()
}
