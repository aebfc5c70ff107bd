package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"drawbridge/auth/guard/audit"
)

func open(t *testing.T, cfg audit.Config) *audit.Log {
	t.Helper()
	l, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func appendAll(t *testing.T, l *audit.Log, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := l.Append(t.Context(), audit.Entry{Time: time.Unix(1, 0).UTC(), Event: audit.EventDecision, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
}

func closeLog(t *testing.T, l *audit.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// verify reads the texts as files named a, b, c...
func verify(t *testing.T, texts ...[]byte) audit.Report {
	t.Helper()
	var v audit.Verifier
	for i, text := range texts {
		if err := v.Read(string(rune('a'+i)), bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	return v.Report()
}

func problems(r audit.Report) (found []string) {
	for _, p := range r.Problems {
		found = append(found, p.String())
	}
	return found
}

func wantProblems(t *testing.T, r audit.Report, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, problems(r)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// lines returns a log of a start line and one line a name.
func lines(t *testing.T, names ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, audit.Config{Path: path})
	appendAll(t, l, names...)
	closeLog(t, l)
	return read(t, path)
}

func TestLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, audit.Config{Path: path, Sync: true, Now: func() time.Time { return time.Unix(0, 0) }})
	entry := audit.Entry{
		Time: time.Unix(2, 5).UTC(), Event: audit.EventDecision, Issuer: "https://idp.example", Subject: "s1", Email: "ada@example.com",
		Groups: []string{"a", "b"}, Client: "c", HTTPMethod: "POST", Method: "tools/call", Target: "tool", Name: "deploy<>&\n\"",
		ID: `"7"`, Decision: "deny", Reason: "needs group x", Took: 1500, Trace: strings.Repeat("f", 32),
	}
	if err := l.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	instance, seq, hash := l.Head()
	closeLog(t, l)
	all := bytes.Split(bytes.TrimSuffix(read(t, path), []byte("\n")), []byte("\n"))
	if len(all) != 2 {
		t.Fatalf("%d lines, want 2: %q", len(all), all)
	}
	var got struct {
		audit.Entry
		Instance, Prev, Hash string
		Seq                  uint64
	}
	if err := json.Unmarshal(all[1], &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entry, got.Entry); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
	if got.Instance != instance || got.Seq != 2 || seq != 2 || got.Hash != hash || len(instance) != 16 {
		t.Errorf("line %+v, head %s %d %s", got, instance, seq, hash)
	}
	var start struct{ Hash, Event string }
	if err := json.Unmarshal(all[0], &start); err != nil || start.Hash != got.Prev || start.Event != audit.EventStart {
		t.Errorf("first line %+v, %v; the second names %s", start, err, got.Prev)
	}
}

func TestLongTexts(t *testing.T) {
	text := lines(t, strings.Repeat("é", 5000))
	if len(text) > 4000 || !bytes.Contains(text, []byte("... (10000 bytes)")) {
		t.Errorf("%d bytes for a name of 10,000", len(text))
	}
	wantProblems(t, verify(t, text))
}

// TestRestart: the chain goes on where it ended, whatever was between.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for _, name := range []string{"first", "second", "third"} {
		l := open(t, audit.Config{Path: path})
		appendAll(t, l, name)
		closeLog(t, l)
	}
	r := verify(t, read(t, path))
	wantProblems(t, r)
	want := []audit.Chain{{First: 1, Last: 6, Lines: 6}}
	if diff := cmp.Diff(want, r.Chains, cmpopts.IgnoreFields(audit.Chain{}, "Instance", "Head", "Begin", "End")); diff != "" {
		t.Errorf("chains (-want +got):\n%s", diff)
	}
}

// TestCrash cuts the file at every byte of its last line, as a crash may, and goes on with it.
func TestCrash(t *testing.T) {
	whole := lines(t, "one", "two")
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for end := last; end < len(whole); end++ {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		write(t, path, whole[:end])
		l := open(t, audit.Config{Path: path})
		appendAll(t, l, "three")
		closeLog(t, l)
		text := read(t, path)
		r := verify(t, text)
		if len(r.Problems) > 0 || len(r.Chains) != 1 || r.Chains[0].Last != 4 {
			t.Fatalf("cut at byte %d: %+v", end, r)
		}
		if told := bytes.Contains(text, []byte("cut off")); told != (end > last) {
			t.Fatalf("cut at byte %d: the new start line tells of it: %v", end, told)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("altered end", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		write(t, path, bytes.Replace(lines(t, "one"), []byte(`"one"`), []byte(`"two"`), 1))
		if _, err := audit.Open(audit.Config{Path: path}); err == nil || !strings.Contains(err.Error(), "altered") {
			t.Errorf("Open = %v", err)
		}
	})
	t.Run("two processes", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		open(t, audit.Config{Path: path})
		if _, err := audit.Open(audit.Config{Path: path}); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("Open = %v", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		if _, err := audit.Open(audit.Config{Path: filepath.Join(t.TempDir(), "none", "audit.jsonl")}); err == nil {
			t.Error("Open = nil")
		}
	})
	t.Run("closed", func(t *testing.T) {
		l := open(t, audit.Config{Path: filepath.Join(t.TempDir(), "audit.jsonl")})
		closeLog(t, l)
		if err := l.Append(t.Context(), audit.Entry{}); err == nil {
			t.Error("Append = nil")
		}
	})
}

// TestEveryByte flips each bit of a log in turn. Verify names the line, or, where a line's end is gone, that line.
func TestEveryByte(t *testing.T) {
	text := lines(t, "one", "two")
	wantProblems(t, verify(t, text))
	for i := range text {
		altered := slices.Clone(text)
		altered[i] ^= 1
		line := bytes.Count(text[:i], []byte("\n")) + 1
		r := verify(t, altered)
		if len(r.Problems) == 0 || r.Problems[0].Line != line {
			t.Fatalf("byte %d (%q) of line %d flipped: %q", i, text[i], line, problems(r))
		}
		if text[i] != '\n' && len(r.Problems) > 1 && line > 1 {
			t.Fatalf("byte %d of line %d flipped: more than that line is named: %q", i, line, problems(r))
		}
	}
}

func TestVerify(t *testing.T) {
	text := lines(t, "one", "two", "three")
	cut := func(keep ...int) (out []byte) {
		all := bytes.SplitAfter(text, []byte("\n"))
		for _, n := range keep {
			out = append(out, all[n-1]...)
		}
		return out
	}
	var id struct{ Instance string }
	if err := json.Unmarshal(cut(1), &id); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		in   [][]byte
		want []string
	}{
		{"whole", [][]byte{text}, nil},
		{"in two files", [][]byte{cut(1, 2), cut(3, 4)}, nil},
		{"files in the wrong order", [][]byte{cut(3, 4), cut(1, 2)}, nil},
		{"the later file alone", [][]byte{cut(3, 4)}, nil},
		{"a line taken out", [][]byte{cut(1, 3, 4)}, []string{"a:2: line 3 of instance " + id.Instance + " follows line 1"}},
		{"lines swapped", [][]byte{cut(1, 3, 2)}, []string{"a:2: line 3 of instance " + id.Instance + " follows line 1", "a:3: line 2 of instance " + id.Instance + " follows line 3"}},
		{"a file taken out", [][]byte{cut(1), cut(4)}, []string{"b:1: lines 2 to 3 are missing before this one"}},
		{"a file twice", [][]byte{text, cut(3, 4)}, []string{"b:1: line 3 is there twice (also in a)"}},
		{"cut off", [][]byte{text[:len(text)-9]}, []string{"a:4: the line has no end: it was cut off, or is being written"}},
		{"an empty line", [][]byte{slices.Concat(cut(1), []byte("\n"), cut(2))}, []string{"a:2: the line is too short to be one"}},
		{"a line too long", [][]byte{slices.Concat(cut(1), bytes.Repeat([]byte("x"), 3<<20), []byte("\n"), cut(2))}, []string{"a:2: the line is longer than any that is written"}},
		{"nothing", [][]byte{nil}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantProblems(t, verify(t, tt.in...), tt.want...) })
	}
}

// TestInstances: the standard output of many instances ends up in one file, line by line.
func TestInstances(t *testing.T) {
	var mixed, other bytes.Buffer
	a, err := audit.New(&mixed, audit.Config{Path: "no file"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := audit.New(&mixed, audit.Config{})
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, a, "a1")
	appendAll(t, b, "b1", "b2")
	appendAll(t, a, "a2")
	r := verify(t, mixed.Bytes(), other.Bytes())
	wantProblems(t, r)
	if len(r.Chains) != 2 || r.Chains[0].Lines != 3 || r.Chains[1].Lines != 3 {
		t.Errorf("chains = %+v", r.Chains)
	}
	grafted := bytes.Replace(mixed.Bytes(), []byte(`"b2"`), []byte(`"b3"`), 1)
	wantProblems(t, verify(t, grafted), "a:5: the line was altered: its hash does not fit")
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	l := open(t, audit.Config{Path: path, MaxSize: 700, Sync: true})
	for i := range 20 {
		appendAll(t, l, fmt.Sprint(i))
	}
	closeLog(t, l)
	texts := [][]byte{}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 5 {
		t.Fatalf("files %q, %v", files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".lock") {
			continue
		}
		text := read(t, file)
		if len(text) > 700 {
			t.Errorf("%s has %d bytes", file, len(text))
		}
		texts = append(texts, text)
	}
	r := verify(t, texts...)
	wantProblems(t, r)
	if len(r.Chains) != 1 || r.Chains[0].Lines != 21 {
		t.Fatalf("chains = %+v", r.Chains)
	}
	// A crash between putting a file aside and the next line leaves no file, or an empty one.
	if err := os.Rename(path, path+".000000000021"); err != nil {
		t.Fatal(err)
	}
	l = open(t, audit.Config{Path: path})
	if instance, seq, _ := l.Head(); instance != r.Chains[0].Instance || seq != 22 {
		t.Errorf("after the crash: instance %s line %d, want %s line 22", instance, seq, r.Chains[0].Instance)
	}
}

// TestConcurrent: lines of many callers make one chain, written through or not.
func TestConcurrent(t *testing.T) {
	for _, through := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := open(t, audit.Config{Path: path, Sync: through, MaxSize: 20_000})
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 50 {
					if err := l.Append(context.Background(), audit.Entry{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		if _, seq, _ := l.Head(); seq != 401 {
			t.Errorf("sync %v: %d lines, want 401", through, seq)
		}
	}
}

// stuck is a writer that blocks until it is told what to return.
type stuck struct{ result chan error }

func (s stuck) Write(p []byte) (int, error) {
	if err := <-s.result; err != nil {
		return len(p) / 2, err
	}
	return len(p), nil
}

// TestBackPressure: behind a slow disk callers wait, or are refused where that was asked for; nothing is dropped.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := stuck{make(chan error)}
		go func() { w.result <- nil }()
		l, err := audit.New(w, audit.Config{MaxWaiting: 2})
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 2)
		go func() { results <- l.Append(t.Context(), audit.Entry{}) }()
		synctest.Wait() // it writes
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { results <- l.Append(ctx, audit.Entry{}) }()
		synctest.Wait() // it waits
		if err := l.Append(t.Context(), audit.Entry{}); !errors.Is(err, audit.ErrBusy) {
			t.Errorf("third caller: %v, want ErrBusy", err)
		}
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second caller: %v, want its deadline", err)
		}
		w.result <- nil
		if err := <-results; err != nil {
			t.Errorf("first caller: %v", err)
		}
	})
}

var errFull = errors.New("no space left")

// flaky is a writer that writes half of a line and fails when it is told to.
type flaky struct {
	bytes.Buffer
	fail bool
}

func (f *flaky) Write(p []byte) (int, error) {
	if f.fail {
		n, _ := f.Buffer.Write(p[:len(p)/2])
		return n, errFull
	}
	return f.Buffer.Write(p)
}

// TestFailedWrite: what could not be written is an error for its caller, and no gap in the chain.
func TestFailedWrite(t *testing.T) {
	var out flaky
	l, err := audit.New(&out, audit.Config{})
	if err != nil {
		t.Fatal(err)
	}
	out.fail = true
	for range 2 {
		if err := l.Append(t.Context(), audit.Entry{}); !errors.Is(err, errFull) {
			t.Errorf("Append = %v", err)
		}
	}
	out.fail = false
	appendAll(t, l, "after")
	r := verify(t, out.Bytes())
	if len(r.Chains) != 1 || r.Chains[0].Last != 2 {
		t.Errorf("chains = %+v: the line after the failure is not the second", r.Chains)
	}
	for _, p := range r.Problems {
		if p.Line == 1 || p.Line == 4 {
			t.Errorf("a whole line is named: %s", p)
		}
	}
}

// FuzzVerify: whatever a file holds, reading it ends, and nothing that was not written as a line counts as one.
func FuzzVerify(f *testing.F) {
	log, err := os.ReadFile("testdata/two.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(log)
	f.Add([]byte("{}\n\n{\"seq\":1}"))
	written := map[string]bool{}
	for line := range bytes.Lines(log) {
		written[string(line)] = true
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := verify(t, in)
		foreign := 0
		for line := range bytes.Lines(in) {
			if !written[string(line)] {
				foreign++
			}
		}
		// A fuzzer finds no SHA-256 by chance, so every foreign line must have been named.
		if named := len(r.Problems); foreign > named {
			t.Fatalf("%d foreign lines, %d problems: %q", foreign, named, problems(r))
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l, err := audit.Open(audit.Config{Path: filepath.Join(b.TempDir(), "audit.jsonl")})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	e := audit.Entry{Time: time.Now(), Event: audit.EventDecision, Issuer: "https://idp.example.com", Subject: "00u1abcd", Email: "ada@example.com", Groups: []string{"engineering", "release"}, Method: "tools/call", Name: "deploy", Decision: "allow"}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

// TestForeignBytes: text that is not UTF-8 is cut like any other.
func TestForeignBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := open(t, audit.Config{Path: path})
	appendAll(t, l, strings.Repeat("\x80", 5000))
	closeLog(t, l)
	if !bytes.Contains(read(t, path), []byte("... (5000 bytes)")) {
		t.Error("the line does not say how long the text was")
	}
}
