package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// loopback is an HTTP server on a loopback port.
type loopback struct {
	server   *http.Server
	cancel   context.CancelFunc // ends the requests under way
	unwatch  func() bool        // stops waiting for the end of the context that it was started with
	finished chan struct{}      // closed when the server has stopped accepting
}

// listenLoopback binds addr, which must name a loopback host, and returns the host and port that callers dial.
func listenLoopback(addr string) (net.Listener, string, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", fmt.Errorf("listen on %q: %w", addr, err)
	}
	if !isLoopback(host) {
		return nil, "", fmt.Errorf("listen on %q: not a loopback address", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return l, net.JoinHostPort(host, port), err
}

// plainPath is a path that means the same in a URL and in a pattern of http.ServeMux. Dots may not begin a segment,
// which keeps out "..", and ".well-known" that has its own use.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

func checkPath(path string) error {
	if !plainPath.MatchString(path) || strings.HasPrefix(path+"/", "/broken/") {
		return fmt.Errorf("%q is not a plain path such as /mcp", path)
	}
	return nil
}

// isLoopback reports whether host, without a port, names this computer.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serveLoopback serves h on l until close is called or ctx ends.
func serveLoopback(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) *loopback {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &loopback{cancel: cancel, finished: make(chan struct{})}
	s.server = &http.Server{
		Handler:           rejectForeignHosts(h),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.finished)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("loopback server ended", "addr", l.Addr().String(), "err", err)
		}
	}()
	s.unwatch = context.AfterFunc(ctx, func() { _ = s.close() }) // nobody is left to hear of an error
	return s
}

// rejectForeignHosts answers only requests that were sent to this computer by name, so that a page on another site
// cannot reach the server by pointing its own name here (DNS rebinding).
func rejectForeignHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil || !isLoopback(host) {
			http.Error(w, "this server answers to loopback names only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *loopback) close() error {
	s.unwatch()
	err := s.server.Close() // before cancel: a request that hangs must end without an answer
	s.cancel()
	<-s.finished
	return err
}

// wait returns after d, or false as soon as ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// cut ends the connection of a request without an answer, as a failing network does.
func cut(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close() // the caller is meant to see an error
	}
}
