package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The benchmarks hold the guard against a bare httputil.ReverseProxy in front of the same server, in the same run. Each
// is a process of its own, so that its processor time and memory can be told apart:
//
//	benchmark ─┬─ bare ──┬─ upstream
//	           └─ guard ─┘
//
// They read /proc, so they need Linux:
//
//	go test -run '^$' -bench . -benchtime 5x ./cmd/drawbridge-guard

// answer is 1 KB of JSON.
var answer = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", 940) + `"}]}}`

// question is 1 KB of JSON.
var question = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"text":"` + strings.Repeat("y", 920) + `"}}}`

func playUpstream() {
	announce(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "id: 1\ndata:\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = io.WriteString(w, answer)
	}))
}

func playBare() {
	to, err := url.Parse(os.Getenv("UPSTREAM"))
	if err != nil {
		panic(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.DisableCompression = 256, 256, true
	announce(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.SetXForwarded() }, Transport: transport})
}

// announce serves until standard input ends.
func announce(h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("listen=" + l.Addr().String())
	go func() { _ = http.Serve(l, h) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// peer is a process under measurement.
type peer struct {
	url    string
	pid    int
	client *http.Client
	header http.Header
}

// startPart runs the test binary as a part, until the benchmark ends.
func startPart(b *testing.B, name string, args []string, variables ...string) *peer {
	b.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), "DRAWBRIDGE_GUARD_TEST_PART="+name), variables...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Signal(os.Interrupt) // the guard's way to end
		_ = cmd.Wait()
	})
	p := &peer{pid: cmd.Process.Pid, header: http.Header{"Content-Type": {"application/json"}}}
	found := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			say := ""
			if _, rest, ok := strings.Cut(lines.Text(), "listen="); ok {
				say, _, _ = strings.Cut(rest, " ")
			} else if strings.Contains(lines.Text(), "error") {
				say = lines.Text()
			} else {
				continue
			}
			select {
			case found <- say:
			default: // it was heard
			}
		}
	}()
	address := <-found
	if strings.Contains(address, "error") {
		b.Fatal(address)
	}
	p.url = "http://mcp.example.com/mcp"
	p.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	if name == "upstream" {
		p.url = "http://" + address + "/mcp"
	}
	return p
}

// startPeers runs the bare proxy and the guard, which has rules, keeps an audit, and verifies JWTs.
func startPeers(b *testing.B) (bare, guarded *peer) {
	b.Helper()
	behind := startPart(b, "upstream", nil)
	bare = startPart(b, "bare", nil, "UPSTREAM="+strings.TrimSuffix(behind.url, "/mcp"))
	p := startIDP(b)
	yaml, _ := setup(b, p, behind.url)
	file := write(b, filepath.Join(b.TempDir(), "guard.yaml"), "listen: 127.0.0.1:0\nresource: "+public+"\nlimits: {rate: 1000000, concurrent: 10000}\n"+yaml+rules)
	guarded = startPart(b, "guard", []string{"--config", file})
	guarded.header.Set("Authorization", "Bearer "+p.token(b, "ada", []string{"staff"}, nil))
	bare.header = guarded.header // both get the same requests
	return bare, guarded
}

func (p *peer) ask(b *testing.B, method string) *http.Response {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(question)
	}
	r, err := http.NewRequest(method, p.url, body)
	if err != nil {
		b.Fatal(err)
	}
	r.Header = p.header
	resp, err := p.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("%s %s: %s", method, p.url, resp.Status)
	}
	return resp
}

func (p *peer) call(b *testing.B) {
	resp := p.ask(b, http.MethodPost)
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(len(answer)) {
		b.Errorf("%d bytes, %v", n, err)
	}
	resp.Body.Close()
}

// median makes n calls one after the other and returns the middle time.
func (p *peer) median(b *testing.B, n int) time.Duration {
	times := make([]time.Duration, n)
	for i := range times {
		began := time.Now()
		p.call(b)
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[n/2]
}

// burst makes n calls, 16 at a time, and returns how long they took and the processor time of the process.
func (p *peer) burst(b *testing.B, n int) (took, processor time.Duration) {
	began, before := time.Now(), p.processor(b)
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for range n / 16 {
				p.call(b)
			}
		})
	}
	callers.Wait()
	return time.Since(began), p.processor(b) - before
}

// processor returns the processor time of the process so far, from the scheduler's count in nanoseconds.
func (p *peer) processor(b *testing.B) (sum time.Duration) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.pid))
	if err != nil || len(tasks) == 0 {
		b.Fatalf("no schedstat: %v", err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			b.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// memory returns the resident size in bytes.
func (p *peer) memory(b *testing.B) float64 {
	text := read(b, fmt.Sprintf("/proc/%d/status", p.pid))
	_, rest, _ := strings.Cut(text, "VmRSS:")
	kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kB * 1024
}

// ratios collects the guard's figure over the bare proxy's, round by round.
type ratios map[string][]float64

func (r ratios) report(b *testing.B) {
	for name, values := range r {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], name)
	}
}

// BenchmarkRequests compares calls of 1 KB, in rounds that take turns.
func BenchmarkRequests(b *testing.B) {
	bare, guarded := startPeers(b)
	for _, p := range []*peer{bare, guarded} {
		p.burst(b, 3200) // connections are open, the token is known
	}
	figures := ratios{}
	add := func(name string, bare, guarded time.Duration) {
		figures[name+"-bare-us"] = append(figures[name+"-bare-us"], float64(bare.Nanoseconds())/1000)
		figures[name+"-ratio"] = append(figures[name+"-ratio"], float64(guarded)/float64(bare))
	}
	for b.Loop() {
		add("p50", bare.median(b, 1000), guarded.median(b, 1000))
		const n = 8000
		bareTook, bareCPU := bare.burst(b, n)
		took, cpu := guarded.burst(b, n)
		add("cpu", bareCPU/n, cpu/n)
		figures["throughput-ratio"] = append(figures["throughput-ratio"], float64(bareTook)/float64(took))
	}
	figures.report(b)
}

// BenchmarkStreams compares the memory of 1,000 open event streams.
func BenchmarkStreams(b *testing.B) {
	const streams = 1000
	for b.Loop() {
		bare, guarded := startPeers(b)
		var size [2]float64
		for i, p := range []*peer{bare, guarded} {
			for range streams {
				resp := p.ask(b, http.MethodGet)
				b.Cleanup(func() { resp.Body.Close() })
				if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
					b.Fatal(err)
				}
			}
			size[i] = p.memory(b)
		}
		b.ReportMetric(size[0]/1e6, "bare-MB")
		b.ReportMetric(size[1]/1e6, "guard-MB")
		b.ReportMetric(size[1]/size[0], "memory-ratio")
	}
}
