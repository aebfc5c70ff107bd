package stdio_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"drawbridge/bridge/stdio"
)

func readAll(t *testing.T, in io.Reader, limit int) (lines []string) {
	t.Helper()
	r := stdio.NewReader(in, limit)
	for {
		line, err := r.Next()
		switch {
		case err == io.EOF:
			return lines
		case errors.Is(err, stdio.ErrTooLong):
			lines = append(lines, "too long")
		case err != nil:
			t.Fatal(err)
		default:
			lines = append(lines, string(line))
		}
	}
}

func TestNext(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	tests := []struct {
		name, in string
		want     []string
	}{
		{"lines", "{\"a\":1}\n{}\n", []string{`{"a":1}`, "{}"}},
		{"last line without an end", "{}\n[]", []string{"{}", "[]"}},
		{"CRLF, blanks, blank lines", "\r\n{} \t\r\n\n \n {}\n", []string{"{}", "{}"}},
		{"byte order mark", "\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n", []string{"{}", "\xef\xbb\xbf{}"}},
		{"over the buffer", long + "\n{}\n", []string{long, "{}"}},
		{"over the limit", long + long + "\n{}\n" + long + long, []string{"too long", "{}", "too long"}},
		{"empty", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(tt.in), iotest.HalfReader(strings.NewReader(tt.in))} {
				if diff := cmp.Diff(tt.want, readAll(t, in, 300<<10)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	r := stdio.NewReader(io.MultiReader(strings.NewReader("{}\n{"), iotest.ErrReader(broken)), 100)
	if line, err := r.Next(); string(line) != "{}" || err != nil {
		t.Errorf("first line = %q, %v", line, err)
	}
	if line, err := r.Next(); !errors.Is(err, broken) {
		t.Errorf("then %q, %v; want the source's error", line, err)
	}
}

func TestWriterKeepsMessagesApart(t *testing.T) {
	var buf bytes.Buffer
	w := stdio.NewWriter(&buf)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 50 {
				_ = w.Write([]byte(fmt.Sprintf(`{"id":%d,"pad":%q}`, i, strings.Repeat("p", i*100))))
			}
		})
	}
	wg.Wait()
	lines := readAll(t, &buf, 1<<20)
	for _, line := range lines {
		if !strings.HasPrefix(line, `{"id":`) || !strings.HasSuffix(line, `"}`) {
			t.Fatalf("a mixed line: %q", line)
		}
	}
	if len(lines) != 800 {
		t.Errorf("%d lines, want 800", len(lines))
	}
}

func TestWriterStaysBroken(t *testing.T) {
	pr, pw := io.Pipe()
	_ = pr.CloseWithError(io.ErrClosedPipe)
	w := stdio.NewWriter(pw)
	if err := w.Write([]byte("{}")); err == nil {
		t.Error("the first write to a closed pipe gave no error")
	}
	if err := w.Write([]byte("{}")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the second: %v", err)
	}
}

// FuzzNext: no line holds a line end, and the parts are the input's.
func FuzzNext(f *testing.F) {
	f.Add([]byte("{}\r\n\n x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, line := range readAll(t, bytes.NewReader(in), 1000) {
			if strings.Contains(line, "\n") || line != "too long" && !bytes.Contains(in, []byte(line)) {
				t.Fatalf("%q of %q", line, in)
			}
		}
	})
}
