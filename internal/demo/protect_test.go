package demo

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPeek(t *testing.T) {
	call := peeked{Method: "tools/call"}
	call.Params.Name = "admin"
	for body, want := range map[string][]peeked{
		`{"method":"tools/call","params":{"name":"admin"}}`:                     {call},
		`[{"method":"tools/call","params":{"name":"admin"}},{"method":"ping"}]`: {call, {Method: "ping"}},
		`{"id":1,"result":{}}`: {{}},
		`nonsense`:             nil,
	} {
		r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(body))
		if diff := cmp.Diff(want, peek(httptest.NewRecorder(), r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		if left, err := io.ReadAll(r.Body); err != nil || string(left) != body {
			t.Errorf("left %q and %v of %q", left, err, body)
		}
	}
	long := httptest.NewRequest(http.MethodPost, "/mcp", bytes.NewReader(make([]byte, bodyLimit+1)))
	peek(httptest.NewRecorder(), long)
	var tooLong *http.MaxBytesError
	if _, err := io.ReadAll(long.Body); !errors.As(err, &tooLong) {
		t.Errorf("a body that is too long ended with %v", err)
	}
}

// FuzzPeek: whatever is sent, the SDK gets the same bytes.
func FuzzPeek(f *testing.F) {
	f.Add([]byte(`{"method":"tools/call","params":{"name":"admin"}}`))
	f.Add([]byte(`[{"method":"a"},{"params":[]}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/mcp", bytes.NewReader(body))
		peek(httptest.NewRecorder(), r)
		if left, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(left, body) {
			t.Errorf("left %q and %v of %q", left, err, body)
		}
	})
}
