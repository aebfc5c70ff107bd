package sse_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/bridge/bulk"
	"drawbridge/bridge/sse"
)

func newReader(src io.Reader, limit int) *sse.Reader {
	return sse.NewReader(src, limit, &bulk.Pool{Limit: 3*limit + 1<<20})
}

type event struct{ ID, Name, Data string }

func readAll(r *sse.Reader) ([]event, error) {
	defer r.Close()
	var out []event
	for {
		e, err := r.Next()
		if err != nil {
			return out, err
		}
		out = append(out, event{e.ID, e.Name, string(e.Data)})
	}
}

func TestNext(t *testing.T) {
	tests := []struct {
		name, in string
		want     []event
	}{
		{"one", "data: {}\n\n", []event{{"", "message", "{}"}}},
		{"fields", "id: 7\nevent: ping\ndata:x\n\n", []event{{"7", "ping", "x"}}},
		{"several data lines", "data: {\ndata: \"a\": 1\ndata: }\n\n", []event{{"", "message", "{\n\"a\": 1\n}"}}},
		{"id stays", "id: 7\ndata: a\n\ndata: b\n\n", []event{{"7", "message", "a"}, {"7", "message", "b"}}},
		{"priming event", "id: 7\ndata: \n\n", []event{{"7", "message", ""}}},
		{"id alone", "id: 7\n\n", []event{{"7", "message", ""}}},
		{"id with NUL", "id: a\x00b\ndata: x\n\n", []event{{"", "message", "x"}}},
		{"comments", ": keep-alive\n\n:\r\n\ndata: x\n\n", []event{{"", "message", "x"}}},
		{"field without colon", "data\nretry\ndata: x\n\n", []event{{"", "message", "\nx"}}},
		{"CRLF", "data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", []event{{"", "message", "a\nb"}, {"", "message", "c"}}},
		{"CR", "data: a\r\rdata: b\r\r", []event{{"", "message", "a"}, {"", "message", "b"}}},
		{"byte order mark", "\xef\xbb\xbfdata: a\n\n", []event{{"", "message", "a"}}},
		{"one space only", "data:  a \n\n", []event{{"", "message", " a "}}},
		{"cut", "data: a\n\ndata: b\n", []event{{"", "message", "a"}}},
		{"data without colon, then some", "data\ndata\ndata:x\nid:\n\n", []event{{"", "message", "\n\nx"}}},
		{"event without data", "event: x\n\ndata: a\n\n", []event{{"", "x", "a"}}},
	}
	for _, tt := range tests {
		for how, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				got, err := readAll(newReader(wrap(strings.NewReader(tt.in)), 1<<20))
				if err != io.EOF {
					t.Errorf("error = %v", err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestRetryAndLastID(t *testing.T) {
	r := newReader(strings.NewReader("retry: 1500\nid: a\ndata:\n\nretry: soon\nid\n\n"), 100)
	if _, err := r.Next(); err != nil || r.Retry() != 1500*time.Millisecond || r.LastID() != "a" {
		t.Errorf("retry %v, id %q, %v", r.Retry(), r.LastID(), err)
	}
	if _, err := r.Next(); err != nil || r.Retry() != 1500*time.Millisecond || r.LastID() != "" {
		t.Errorf("an empty id resets: retry %v, id %q, %v", r.Retry(), r.LastID(), err)
	}
}

// TestLineEndIsNotAwaited: an event that ends in CR is dispatched although its LF may still come.
func TestLineEndIsNotAwaited(t *testing.T) {
	pr, pw := io.Pipe()
	defer pw.Close()
	got := make(chan string, 2)
	go func() {
		r := newReader(pr, 100)
		for {
			e, err := r.Next()
			if err != nil {
				return
			}
			got <- string(e.Data)
		}
	}()
	for _, part := range []string{"data: a\r\n\r", "\ndata: b\r\n\r"} {
		if _, err := io.WriteString(pw, part); err != nil {
			t.Fatal(err)
		}
		if want, e := string(strings.TrimSpace(part)[6]), <-got; e != want {
			t.Errorf("event = %q, want %q", e, want)
		}
	}
}

// TestLong: events of any size and shape, one after the other, whatever the pieces they arrive in.
func TestLong(t *testing.T) {
	var in strings.Builder
	var want []event
	add := func(lines int, line string) {
		in.WriteString("event: e\n: a comment\n" + strings.Repeat("data: "+line+"\r\nid: 7\n", lines) + "\n")
		want = append(want, event{"7", "e", strings.Repeat("\n"+line, lines)[1:]})
	}
	for _, size := range []int{1, 60, 15 << 10, 16 << 10, 17 << 10, 100 << 10, 1 << 20} {
		add(1, strings.Repeat("x", size))
		add(3, strings.Repeat("y", size))
		add(max(1, 60_000/size), strings.Repeat("z", size))
	}
	for name, src := range map[string]io.Reader{"whole": strings.NewReader(in.String()), "half": iotest.HalfReader(strings.NewReader(in.String())), "pieces": pieces(in.String(), 1000)} {
		got, err := readAll(newReader(src, 4<<20))
		if err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("%s: event %d: %d bytes of data, want %d", name, i, len(got[i].Data), len(want[i].Data))
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d events, want %d", name, len(got), len(want))
		}
	}
}

// pieces returns a Reader that gives size bytes at a time.
func pieces(s string, size int) io.Reader {
	var parts []io.Reader
	for ; len(s) > size; s = s[size:] {
		parts = append(parts, strings.NewReader(s[:size]))
	}
	return io.MultiReader(append(parts, strings.NewReader(s))...)
}

func TestTooLong(t *testing.T) {
	for _, in := range []string{"data: " + strings.Repeat("x", 1<<20), strings.Repeat("data: "+strings.Repeat("x", 100)+"\n", 1000)} {
		if _, err := readAll(newReader(strings.NewReader(in), 10_000)); !errors.Is(err, sse.ErrTooLong) {
			t.Errorf("error = %v, want ErrTooLong", err)
		}
	}
}

// FuzzNext: how the bytes are cut into reads changes nothing, and nothing panics.
func FuzzNext(f *testing.F) {
	f.Add([]byte("id: 1\r\ndata: {}\r\rdata\n\n"))
	f.Add([]byte("\xef\xbb\xbfdata: a\n\n:x\nretry: 5\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, errWhole := readAll(newReader(strings.NewReader(string(in)), 1000))
		bytewise, errBytes := readAll(newReader(iotest.OneByteReader(strings.NewReader(string(in))), 1000))
		if diff := cmp.Diff(whole, bytewise); diff != "" && errWhole == io.EOF && errBytes == io.EOF {
			t.Error(diff)
		}
	})
}

// BenchmarkNext reads streams as calls have them: some notifications and the answer, or one large answer.
func BenchmarkNext(b *testing.B) {
	pool := &bulk.Pool{Limit: 64 << 20}
	for name, in := range map[string]string{
		"8x100B": strings.Repeat("event: message\ndata: "+strings.Repeat("x", 100)+"\n\n", 8),
		"1MB":    "data: " + strings.Repeat("x", 1<<20) + "\n\n",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				r := sse.NewReader(strings.NewReader(in), 4<<20, pool)
				for {
					if _, err := r.Next(); err != nil {
						break
					}
				}
				r.Close()
			}
		})
	}
}

// TestTooLongIsSteppedOver: the events after one that is too long are read, and its id counts, wherever it stands. An event
// that the end cuts was not seen.
func TestTooLongIsSteppedOver(t *testing.T) {
	long := "data: " + strings.Repeat("id: 9", 10_000)
	for name, in := range map[string]string{
		"id first": "id: 2\n" + long + "\n\n", "id last": long + "\r\nid: 2\r\n\r\n", "many lines": strings.Repeat("data: "+strings.Repeat("x", 100)+"\n", 1000) + "id: 2\n\n",
		"two long lines": long + "\n" + long + "\rid: 2\r\r", "long comment": ":" + long + "\nid: 2\n\n",
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader} {
			r := newReader(wrap(strings.NewReader("id: 1\ndata: a\n\n"+in+"data: b\n\nid: 3\ndata: c\n")), 10_000)
			var got []string
			for range 5 {
				e, err := r.Next()
				got = append(got, fmt.Sprint(string(e.Data), " ", r.LastID(), " ", err))
			}
			want := []string{"a 1 <nil>", " 1 event too long", "b 2 <nil>", " 2 EOF", " 2 EOF"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s: %s", name, how, diff)
			}
		}
	}
}
