package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge/bulk"
	"drawbridge/bridge/sse"
	"drawbridge/internal/bench/script"
)

// direct is a session that posts to the server itself: what no bridge can be faster than.
type direct struct {
	url   string
	http  *http.Client
	id    string // of the MCP session
	began time.Time
	pool  *bulk.Pool
	buf   []byte

	ctx  context.Context // connection lifetime; cancelled by close
	stop context.CancelFunc
}

// maxAnswer is the size of the largest answer.
const maxAnswer = 16 << 20

func newDirect(url string, trust *tls.Config) *direct {
	t := &http.Transport{MaxIdleConnsPerHost: 256, ForceAttemptHTTP2: true, TLSClientConfig: trust, ReadBufferSize: 16 << 10, WriteBufferSize: 16 << 10}
	d := &direct{url: url, http: &http.Client{Transport: t}, began: time.Now(), pool: &bulk.Pool{Limit: 3*maxAnswer + 1<<20}, buf: make([]byte, 64<<10)}
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d
}

func (d *direct) pid() int { return os.Getpid() }

func (d *direct) close() {
	d.stop()
	d.http.CloseIdleConnections()
}

func (d *direct) open(ctx context.Context) (initialized, ready time.Duration, err error) {
	if _, _, err := d.post(ctx, []byte(script.Initialize), nil, nil); err != nil {
		return 0, 0, err
	}
	initialized = time.Since(d.began)
	if _, _, err := d.post(ctx, []byte(script.Initialized), nil, nil); err != nil {
		return 0, 0, err
	}
	go d.listen()
	line, _, err := d.post(ctx, []byte(script.ListTools), nil, nil)
	if err != nil {
		return 0, 0, err
	}
	return initialized, time.Since(d.began), listed(line)
}

// listen keeps the GET stream open.
func (d *direct) listen() {
	req, err := d.request(d.ctx, http.MethodGet, nil)
	if err != nil {
		return
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // until the session ends
}

func (d *direct) request(ctx context.Context, method string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer x")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if d.id != "" {
		req.Header.Set("Mcp-Session-Id", d.id)
	}
	return req, nil
}

// post sends a message and returns the answer, in buf if it fits, and buf or what took its place.
func (d *direct) post(ctx context.Context, line, buf []byte, note func()) (answer, _ []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := d.request(ctx, http.MethodPost, line)
	if err != nil {
		return nil, buf, err
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return nil, buf, err
	}
	defer resp.Body.Close()
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" && d.id == "" {
		d.id = id
	}
	switch {
	case resp.StatusCode >= 300:
		return nil, buf, fmt.Errorf("the server answered %s", resp.Status)
	case strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"):
		return d.events(resp.Body, buf, note)
	}
	buf = grown(buf, int(resp.ContentLength))
	n, err := io.ReadFull(resp.Body, buf[:max(0, int(resp.ContentLength))])
	return buf[:n], buf, err
}

// events returns the last event of a stream.
func (d *direct) events(body io.Reader, buf []byte, note func()) (answer, _ []byte, err error) {
	r := sse.NewReader(body, maxAnswer, d.pool)
	defer r.Close()
	for {
		e, err := r.Next()
		switch {
		case err == io.EOF && answer != nil:
			return answer, buf, nil
		case err != nil:
			return nil, buf, err
		}
		if bytes.Contains(e.Data[:min(len(e.Data), 60)], []byte(`"method":`)) {
			if note != nil {
				note()
			}
			continue
		}
		buf = grown(buf, len(e.Data))
		answer = buf[:copy(buf, e.Data)]
	}
}

func grown(buf []byte, size int) []byte {
	if size <= len(buf) {
		return buf
	}
	return make([]byte, size)
}

func (d *direct) call(ctx context.Context, _ int, line []byte, note func()) (answer []byte, err error) {
	answer, d.buf, err = d.post(ctx, line, d.buf, note)
	return answer, err
}

func (d *direct) many(ctx context.Context, inFlight, least int, until time.Time, line func(int) []byte) (took []time.Duration, err error) {
	var mu sync.Mutex // guards took, err and left
	left := least
	more := func(t time.Duration, failed error) bool {
		mu.Lock()
		defer mu.Unlock()
		if t > 0 {
			took = append(took, t)
		}
		left--
		err = errors.Join(err, failed)
		return err == nil && (left >= 0 || time.Now().Before(until))
	}
	var all sync.WaitGroup
	for i := range inFlight {
		all.Go(func() {
			buf := make([]byte, 64<<10)
			var failed error
			var last time.Duration
			for id := i; more(last, failed); id += inFlight {
				began := time.Now()
				_, buf, failed = d.post(ctx, line(id+2), buf, nil)
				last = time.Since(began)
			}
		})
	}
	all.Wait()
	return took, err
}
