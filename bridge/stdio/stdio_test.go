package stdio_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"drawbridge/bridge/bulk"
	"drawbridge/bridge/stdio"
)

func newReader(in io.Reader, limit int) *stdio.Reader {
	return stdio.NewReader(in, limit, &bulk.Pool{Limit: limit + 1<<20})
}

func readAll(t *testing.T, in io.Reader, limit int) (lines []string) {
	t.Helper()
	r := newReader(in, limit)
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
			lines = append(lines, string(line.Own()))
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
		{"over and over", strings.Repeat(long+"\r\n{}\n", 5), slices.Repeat([]string{long, "{}"}, 5)},
		{"about the buffer", long[:65535] + "\n" + long[:65536] + "\n" + long[:65537] + "\n{}", []string{long[:65535], long[:65536], long[:65537], "{}"}},
		{"blank lines, long ones", strings.Repeat(" ", 200<<10) + "\n{}\n", []string{"{}"}},
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
	r := newReader(io.MultiReader(strings.NewReader("{}\n{"), iotest.ErrReader(broken)), 100)
	if line, err := r.Next(); string(line.Bytes) != "{}" || err != nil {
		t.Errorf("first line = %q, %v", line.Bytes, err)
	}
	if line, err := r.Next(); !errors.Is(err, broken) {
		t.Errorf("then %q, %v; want the source's error", line.Bytes, err)
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

// counting counts writes.
type counting struct {
	bytes.Buffer
	writes int
}

func (c *counting) Write(b []byte) (int, error) {
	c.writes++
	return c.Buffer.Write(b)
}

// TestQueue: what is queued goes out with the next message, in order, and at the latest when it is much.
func TestQueue(t *testing.T) {
	var out counting
	w := stdio.NewWriter(&out)
	message, big := []byte(`{"n":1}`), bytes.Repeat([]byte("b"), 100<<10)
	for range 100 {
		_ = w.Queue(message)
	}
	if out.writes != 0 {
		t.Errorf("%d writes after little was queued", out.writes)
	}
	_ = w.Write([]byte(`{"n":2}`))
	want := strings.Repeat(string(message)+"\n", 100) + `{"n":2}` + "\n"
	if out.writes != 1 || out.String() != want {
		t.Errorf("%d writes, %d bytes; want 1, %d", out.writes, out.Len(), len(want))
	}
	_ = w.Queue(message)
	_ = w.Queue(big)
	_ = w.Flush()
	if want += string(message) + "\n" + string(big) + "\n"; out.String() != want {
		t.Errorf("a big message between others: %d bytes, want %d", out.Len(), len(want))
	}
	for range 20_000 {
		_ = w.Queue(message)
	}
	if out.Len() < 100_000 {
		t.Error("a long queue was not written")
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

func BenchmarkNext(b *testing.B) {
	pool := &bulk.Pool{Limit: 64 << 20}
	for name, line := range map[string]string{"100B": strings.Repeat("x", 100) + "\n", "1MB": strings.Repeat("x", 1<<20) + "\n"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			r := stdio.NewReader(&forever{line: line}, 4<<20, pool)
			for b.Loop() {
				l, err := r.Next()
				if err != nil {
					b.Fatal(err)
				}
				l.Lent.Release()
			}
		})
	}
}

// forever repeats a line.
type forever struct {
	line string
	at   int
}

func (f *forever) Read(b []byte) (n int, _ error) {
	for n < len(b) {
		c := copy(b[n:], f.line[f.at:])
		n, f.at = n+c, (f.at+c)%len(f.line)
	}
	return n, nil
}

func BenchmarkWrite(b *testing.B) {
	for name, message := range map[string][]byte{"100B": bytes.Repeat([]byte("x"), 100), "1MB": bytes.Repeat([]byte("x"), 1<<20)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			w := stdio.NewWriter(io.Discard)
			for b.Loop() {
				_ = w.Write(message)
			}
		})
	}
}

// TestWriterWritesUTF8: a server that sends other bytes must not end the connection of a client with a strict decoder.
func TestWriterWritesUTF8(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"a":"plain, \u00e9, é, 日本, 🙂"}`, `{"a":"plain, \u00e9, é, 日本, 🙂"}`},
		{"{\"a\":\"x\xff\xfey\"}", "{\"a\":\"x\uFFFDy\"}"},
		{"{\"a\":\"\xc3\"}", "{\"a\":\"\uFFFD\"}"},                                   // a character that is cut
		{"{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\uFFFD\"}"},                           // a surrogate
		{"{\"a\":\"caf\xe9\"}", "{\"a\":\"caf\uFFFD\"}"},                             // Latin-1
		{strings.Repeat("a", 1<<17) + "\xff", strings.Repeat("a", 1<<17) + "\uFFFD"}, // too long to queue
	}
	for _, tt := range tests {
		var written, queued bytes.Buffer
		w, q := stdio.NewWriter(&written), stdio.NewWriter(&queued)
		if err := errors.Join(w.Write([]byte(tt.in)), q.Queue([]byte(tt.in)), q.Flush()); err != nil {
			t.Fatal(err)
		}
		if written.String() != tt.want+"\n" || queued.String() != tt.want+"\n" {
			t.Errorf("%.50q was written as %.50q and queued as %.50q, want %.50q", tt.in, written.String(), queued.String(), tt.want)
		}
	}
}
