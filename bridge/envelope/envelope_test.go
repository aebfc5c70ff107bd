package envelope_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drawbridge/bridge/envelope"
)

func TestParse(t *testing.T) {
	type want struct {
		Kind                              envelope.Kind
		ID, Method, Params, Result, Error string
	}
	tests := []struct {
		name, in string
		want     want
	}{
		{"request", `{"jsonrpc":"2.0","id":1,"method":"a/b","params":{"x":[1,{"y":"}"}]}}`, want{envelope.Request, "1", "a/b", `{"x":[1,{"y":"}"}]}`, "", ""}},
		{"big id", `{"id":12345678901234567890,"method":"m"}`, want{envelope.Request, "12345678901234567890", "m", "", "", ""}},
		{"float id", `{"id":1.50,"method":"m"}`, want{envelope.Request, "1.50", "m", "", "", ""}},
		{"string id with escapes", `{"id":"a\"\u0041","method":"m"}`, want{envelope.Request, `"a\"\u0041"`, "m", "", "", ""}},
		{"notification", `{"method":"n","params":null}`, want{envelope.Notification, "", "n", "null", "", ""}},
		{"result", `{"id":"x","result":{}}`, want{envelope.Response, `"x"`, "", "", "{}", ""}},
		{"error without id", `{"error":{"code":-32000.0}}`, want{envelope.Response, "", "", "", "", `{"code":-32000.0}`}},
		{"error with null id", `{"id":null,"error":{}}`, want{envelope.Response, "null", "", "", "", "{}"}},
		{"null id request", `{"id":null,"method":"m"}`, want{envelope.Invalid, "null", "m", "", "", ""}},
		{"object id", `{"id":{},"method":"m"}`, want{envelope.Invalid, "{}", "m", "", "", ""}},
		{"number method", `{"id":1,"method":7}`, want{envelope.Invalid, "1", "", "", "", ""}},
		{"empty", `{}`, want{}},
		{"escaped key", `{"\u0069d":7,"m\u0065thod":"m"}`, want{envelope.Request, "7", "m", "", "", ""}},
		{"id twice", `{"id":1,"id":2,"method":"m"}`, want{envelope.Request, "2", "m", "", "", ""}},
		{"white space", " \t{ \"id\" : 1 ,\r\n \"method\" : \"m\" } \n", want{envelope.Request, "1", "m", "", "", ""}},
		{"inner id is not the id", `{"params":{"id":9,"method":"no"},"method":"m"}`, want{envelope.Notification, "", "m", `{"id":9,"method":"no"}`, "", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := envelope.Parse([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			got := want{m.Kind(), string(m.ID), m.Method, string(m.Params), string(m.Result), string(m.Error)}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	broken := []string{
		``, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a" 1}`, `{a:1}`, `{"a":tru}`, `{"a":01}`, `{"a":1.}`, `{"a":1e}`,
		`{"a":-}`, `{"a":"x}`, "{\"a\":\"x\ny\"}", `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":1}}`, `{"a":1} {}`, `{"a":[1,]}`, `{"a":[1`, "{\"a\":\x00}",
		`{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
	}
	for _, in := range broken {
		if m, err := envelope.Parse([]byte(in)); err == nil || errors.Is(err, envelope.ErrNotMessage) {
			t.Errorf("Parse(%.40q) = %+v, %v; want a syntax error", in, m, err)
		}
	}
	for _, in := range []string{`1`, `"x"`, `[]`, `null`, ` true `} {
		if _, err := envelope.Parse([]byte(in)); !errors.Is(err, envelope.ErrNotMessage) {
			t.Errorf("Parse(%q) = %v, want ErrNotMessage", in, err)
		}
	}
}

func TestWithID(t *testing.T) {
	tests := []struct{ in, id, want string }{
		{`{"jsonrpc":"2.0","id":1,"result":{"id":1}}`, `"abc"`, `{"jsonrpc":"2.0","id":"abc","result":{"id":1}}`},
		{`{"result":{},"id":7}`, `7`, `{"result":{},"id":7}`},
		{`{"id":null,"error":{}}`, `12345678901234567890`, `{"id":12345678901234567890,"error":{}}`},
		{`{"error":{}}`, `2`, `{"id":2,"error":{}}`},
		{`{}`, `2`, `{"id":2}`},
	}
	for _, tt := range tests {
		m, err := envelope.Parse([]byte("  " + tt.in))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(m.WithID([]byte(tt.id))); got != tt.want {
			t.Errorf("WithID(%s) of %s = %s, want %s", tt.id, tt.in, got, tt.want)
		}
	}
}

func TestSplit(t *testing.T) {
	got, err := envelope.Split([]byte(` [{"id":1}, {"id":2} ,3]`))
	if err != nil || len(got) != 3 || string(got[1]) != `{"id":2}` || string(got[2]) != "3" {
		t.Errorf("Split = %q, %v", got, err)
	}
	for _, in := range []string{`[]`, `{}`} {
		if _, err := envelope.Split([]byte(in)); !errors.Is(err, envelope.ErrNotMessage) {
			t.Errorf("Split(%s) = %v, want ErrNotMessage", in, err)
		}
	}
	if _, err := envelope.Split([]byte(`[1,`)); err == nil || errors.Is(err, envelope.ErrNotMessage) {
		t.Errorf("a cut batch: %v, want a syntax error", err)
	}
}

func TestMember(t *testing.T) {
	object := []byte(`{"name":"a\nb","n":1,"o":{"name":"inner"}}`)
	if got := envelope.StringMember(object, "name"); got != "a\nb" {
		t.Errorf("name = %q", got)
	}
	if got, ok := envelope.Member(object, "o"); !ok || string(got) != `{"name":"inner"}` {
		t.Errorf("o = %s, %v", got, ok)
	}
	for _, bad := range []string{`[]`, ``, `{"x":1}`, `{"name":`} {
		if got, ok := envelope.Member([]byte(bad), "name"); ok {
			t.Errorf("Member of %s = %s", bad, got)
		}
	}
}

func TestMembers(t *testing.T) {
	var got []string
	err := envelope.Members([]byte(` {"a":1, "b":[2],"\u0061":"x"} `), func(name string, value []byte) {
		got = append(got, name+"="+string(value))
	})
	if diff := cmp.Diff([]string{"a=1", "b=[2]", `a="x"`}, got); diff != "" || err != nil {
		t.Errorf("members (-want +got), %v:\n%s", err, diff)
	}
	for in, notMessage := range map[string]bool{`[]`: true, `"x"`: true, `{"a":1`: false, `{} {}`: false, ``: false} {
		err := envelope.Members([]byte(in), func(string, []byte) {})
		if err == nil || errors.Is(err, envelope.ErrNotMessage) != notMessage {
			t.Errorf("Members(%s) = %v, ErrNotMessage wanted: %v", in, err, notMessage)
		}
	}
}

func TestFirstString(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"arguments":{"name":"inner"},"name":"echo","uri":"u"}`, "echo"},
		{`{"uri":"u\u0041","name":"n"}`, "uA"},
		{`{"name":7,"uri":"u"}`, "u"},
		{`{"name":"n","broken`, "n"},
		{`{"broken`, ""}, {`[]`, ""}, {``, ""}, {`{"x":1}`, ""},
	} {
		if got := envelope.FirstString([]byte(tt.in), "name", "uri"); got != tt.want {
			t.Errorf("FirstString(%s) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseMakesOneLine(t *testing.T) {
	in := []byte("{\r\n \"a\": \"x\\n\",\n\n\"id\":2\r}\n")
	m, err := envelope.Parse(in)
	if want := "{   \"a\": \"x\\n\",  \"id\":2 }"; err != nil || string(m.Raw) != want {
		t.Errorf("Raw = %q, %v; want %q", m.Raw, err, want)
	}
}

// TestLongStrings: what ends a string is found wherever it is, whatever stands around it.
func TestLongStrings(t *testing.T) {
	for _, size := range []int{0, 1, 8, 31, 64, 65, 200, 9000} {
		for at := max(0, size-70); at <= size; at++ {
			for _, tt := range []struct {
				special string
				good    bool
			}{{"", true}, {`\"`, true}, {`\\`, true}, {"\x7f\xff\u00e9", true}, {`\x`, false}, {`"`, false}, {"\n", false}, {"\x00", false}, {"\x1f", false}} {
				text := `{"id":"` + strings.Repeat("x", at) + tt.special + strings.Repeat("\xe9", size-at) + `"}`
				if _, err := envelope.Parse([]byte(text)); (err == nil) != tt.good || (err == nil) != json.Valid([]byte(text)) {
					t.Fatalf("%d bytes with %q at %d: %v", size, tt.special, at, err)
				}
			}
		}
	}
}

// FuzzParse holds the scanner against encoding/json: both accept the same texts, and the members found are the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"id":1,"method":"m","params":{"a":"\u00e9\\"}}`, `{"id":"x","result":[1e5,-0.1,true,null]}`, `[{}]`, `{"a":"ab\"cdefghijklmnop"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := envelope.Parse(in)
		accepted := err == nil || errors.Is(err, envelope.ErrNotMessage)
		if accepted != json.Valid(in) {
			t.Fatalf("Parse(%q) accepted = %v (%v), encoding/json = %v", in, accepted, err, json.Valid(in))
		}
		if err != nil {
			return
		}
		var ref map[string]json.RawMessage
		if json.Unmarshal(in, &ref) == nil && !bytes.Equal(ref["id"], m.ID) {
			t.Fatalf("id of %q = %q, encoding/json says %q", in, m.ID, ref["id"])
		}
		if bytes.ContainsAny(m.Raw, "\r\n") {
			t.Fatalf("Raw of %q has line ends: %q", in, m.Raw)
		}
		if edited := m.WithID([]byte(`"new"`)); !json.Valid(edited) {
			t.Fatalf("WithID made %q of %q", edited, in)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	long := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("lorem ipsum ", 90_000) + `"}]}}`
	dense := `{"jsonrpc":"2.0","id":1,"result":{"tools":[` + strings.Repeat(`{"name":"t","inputSchema":{"type":"object","properties":{}}},`, 1000) + `{}]}}`
	escaped := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat(`\tif name == \"\" {\n\t\treturn errors.New(\"no name was given\")\n\t}\n\t// A comment goes on for a while and says why this is done the way it is.\n`, 6_500) + `"}]}}`
	for name, text := range map[string]string{"1MB-escaped": escaped, "100B": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello there, you"}}}`, "1MB-string": long, "60KB-dense": dense} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			raw := []byte(text)
			for b.Loop() {
				if _, err := envelope.Parse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestSameID(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{`1`, `1`, true}, {`1`, `1.0`, true}, {`1e2`, `100`, true}, {`9007199254740993`, `9007199254740992`, true}, {`1`, `"1"`, true},
		{`"\u00e9"`, `"é"`, true}, {`"a\/b"`, `"a/b"`, true}, {`-0`, `0`, true},
		{`1`, `2`, false}, {`"a"`, `"b"`, false}, {`"a"`, `1`, false}, {`1`, `null`, false}, {`""`, `0`, false}, {`"A"`, `"a"`, false},
	} {
		if got := envelope.SameID([]byte(tt.a), []byte(tt.b)); got != tt.want {
			t.Errorf("SameID(%s, %s) = %v", tt.a, tt.b, got)
		}
		if got := envelope.SameID([]byte(tt.b), []byte(tt.a)); got != tt.want {
			t.Errorf("SameID(%s, %s) = %v", tt.b, tt.a, got)
		}
	}
}
