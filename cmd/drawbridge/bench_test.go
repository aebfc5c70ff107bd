package main_test

import (
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"drawbridge/internal/demo"
)

// BenchmarkColdStart measures from the start of the process to the answer to initialize: signed in, tokens in the file
// store, the server on this machine.
func BenchmarkColdStart(b *testing.B) {
	p := newPlace(b, demo.Config{})
	p.do("login", p.world.URL())
	for b.Loop() {
		w := p.start()
		w.send(initialize)
		if m := w.answer("0"); m.Error != nil {
			b.Fatalf("initialize: %+v", m.Error)
		}
		b.StopTimer()
		w.hangUp()
		w.wantExit(0)
		b.StartTimer()
	}
	p.wantTabs(1, "login")
}

// BenchmarkCall measures tool calls whose answers have various sizes, through the bridge and without it in turns, and
// reports how often the one time goes into the other.
func BenchmarkCall(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"100B", 100}, {"10KB", 10 << 10}, {"1MB", 1 << 20}} {
		b.Run(size.name, func(b *testing.B) {
			p := newPlace(b, demo.Config{Server: demo.ServerConfig{Open: true}})
			bridged := connectOver(b, &mcp.CommandTransport{Command: p.command(p.world.URL())})
			direct := connectOver(b, &mcp.StreamableClientTransport{Endpoint: p.world.URL()})
			var through, without time.Duration
			for b.Loop() {
				through += timeCall(b, bridged, size.bytes)
				without += timeCall(b, direct, size.bytes)
			}
			b.ReportMetric(float64(through.Nanoseconds())/float64(b.N), "ns/bridged-call")
			b.ReportMetric(float64(without.Nanoseconds())/float64(b.N), "ns/direct-call")
			b.ReportMetric(float64(through)/float64(without), "bridged/direct")
		})
	}
}

func connectOver(b *testing.B, transport mcp.Transport) *mcp.ClientSession {
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(b.Context(), transport, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = session.Close() }) // how it ends is not measured
	return session
}

func timeCall(b *testing.B, session *mcp.ClientSession, size int) time.Duration {
	began := time.Now()
	result, err := session.CallTool(b.Context(), &mcp.CallToolParams{Name: "big", Arguments: map[string]any{"bytes": size}})
	took := time.Since(began)
	if err != nil {
		b.Fatal(err)
	}
	if got := len(textOf(result.Content)); got != size {
		b.Fatalf("got %d bytes, want %d", got, size)
	}
	return took
}
