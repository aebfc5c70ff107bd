package bridge_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"drawbridge/bridge"
)

// BenchmarkCall takes one call after the other through the pump and an HTTP server on a socket, whose share is in the
// figures: they are for comparing revisions, and for allocations.
func BenchmarkCall(b *testing.B) {
	for _, size := range []int{100, 10 << 10, 1 << 20} {
		for _, kind := range []string{"json", "sse"} {
			b.Run(fmt.Sprintf("%s/%d", kind, size), func(b *testing.B) { benchmarkCall(b, kind, size) })
		}
	}
}

func benchmarkCall(b *testing.B, kind string, size int) {
	payload := strings.Repeat("x", size)
	s := &server{handle: func(w http.ResponseWriter, r *http.Request, _, body string) {
		id, _, _ := strings.Cut(strings.TrimPrefix(body, `{"jsonrpc":"2.0","id":`), ",")
		answer := `{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[{"type":"text","text":"` + payload + `"}]}}`
		if kind == "sse" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event: message\ndata: "+answer+"\n\n")
			return
		}
		answerJSON(w, answer)
	}}
	stdinR, stdin := io.Pipe()
	stdout, stdoutW := io.Pipe()
	go func() { _ = stdoutW.CloseWithError(bridge.Run(b.Context(), serve(b, s), stdinR, stdoutW)) }()
	lines := bufio.NewReaderSize(stdout, 2<<20)
	exchange := func(message string) {
		_, _ = io.WriteString(stdin, message+"\n") // a broken bridge shows at the read
		if line, err := lines.ReadSlice('\n'); err != nil || strings.Contains(string(line[:min(len(line), 100)]), `"error"`) {
			b.Fatalf("answer %.200q, %v", line, err)
		}
	}
	exchange(initialize)
	_, _ = io.WriteString(stdin, initialized+"\n")
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for id := 1; b.Loop(); id++ {
		exchange(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"x"}}`, id))
	}
	_ = stdin.Close()
	_, _ = io.Copy(io.Discard, lines) // until the bridge ends
}
