package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/auth/guard"
	"drawbridge/auth/guard/audit"
)

// Limits of connections. There is none for answers: an event stream lasts as long as its client.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	maxHeader  = 64 << 10 // tokens with many groups are long
)

// instance is a running guard.
type instance struct {
	config   *config
	log      *slog.Logger
	service  *service
	audit    *audit.Log // nil if there is none
	measures *measures
	draining atomic.Bool
	mute     atomic.Bool // the audit cannot be written
	streams  context.Context
	end      context.CancelFunc // of streams
}

// serve runs a guard until ctx ends, and then until what is under way is done.
func serve(ctx context.Context, e env, c *config) (err error) {
	i := &instance{config: c, log: slog.New(slog.NewTextHandler(e.stderr, nil))}
	i.streams, i.end = context.WithCancel(context.WithoutCancel(ctx))
	defer i.end()
	if i.audit, err = openAudit(e, c.Audit); err != nil {
		return err
	}
	if i.audit != nil {
		defer func() { err = errors.Join(err, i.audit.Close()) }()
	}
	if i.measures, err = newMeasures(ctx, c.Traces, i.audit); err != nil {
		return err
	}
	defer i.measures.close(i.log)
	if i.service, err = build(c, i.hooks()); err != nil {
		return usageError{err}
	}
	for _, warning := range i.service.warnings {
		i.log.Warn(warning)
	}
	if err := i.prepare(ctx); err != nil && !errors.Is(err, guard.ErrAway) {
		return usageError{err}
	}
	go i.keepPrepared(ctx)
	return i.listen(ctx)
}

// How often issuers are asked for what they publish, without a request that needs it, and how long that may take: an
// instance that nobody uses stays ready.
const (
	prepareEvery = time.Minute
	prepareTime  = 15 * time.Second
)

func (i *instance) keepPrepared(ctx context.Context) {
	every := time.NewTicker(prepareEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			_ = i.prepare(ctx) // it was logged; requests find out by themselves
		}
	}
}

func (i *instance) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	err := i.service.guard.Prepare(ctx)
	if err != nil {
		i.log.Warn("issuers", "err", err)
	}
	return err
}

func (i *instance) hooks() hooks {
	h := hooks{observe: i.measures.observe, trace: i.measures.trace, forward: i.measures.forward, log: i.log}
	if i.audit != nil {
		write := writeTo(i.audit)
		h.audit = func(ctx context.Context, e guard.Event) error {
			err := write(ctx, e)
			i.mute.Store(err != nil && ctx.Err() == nil)
			return err
		}
	}
	return h
}

func (i *instance) listen(ctx context.Context) error {
	public := &http.Server{
		Handler: i.public(), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader, TLSConfig: i.service.tls,
		ErrorLog: slog.NewLogLogger(i.log.Handler(), slog.LevelDebug),
	}
	admin := &http.Server{Handler: i.admin(), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime}
	front, err := net.Listen("tcp", i.config.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	failed := make(chan error, 2)
	go func() {
		if i.service.tls != nil {
			failed <- public.ServeTLS(front, "", "")
			return
		}
		failed <- public.Serve(front)
	}()
	defer public.Close()
	args := []any{"resource", i.config.Resource, "upstream", i.config.Upstream, "listen", front.Addr().String()}
	if i.config.Admin != "" {
		back, err := net.Listen("tcp", i.config.Admin)
		if err != nil {
			return fmt.Errorf("listen for admin: %w", err)
		}
		args = append(args, "admin", back.Addr().String())
		go func() { failed <- admin.Serve(back) }()
		defer admin.Close()
	}
	i.log.Info("protecting", args...)
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		return i.drain(public)
	}
}

// drain ends the instance: readiness goes first, streams are closed so that clients take them up elsewhere, and requests
// get their time.
func (i *instance) drain(public *http.Server) error {
	i.draining.Store(true)
	i.log.Info("draining", "for", i.config.Drain.String())
	i.end()
	ctx, cancel := context.WithTimeout(context.Background(), *i.config.Drain)
	defer cancel()
	if err := public.Shutdown(ctx); err != nil {
		i.log.Warn("requests were cut off", "err", err)
	}
	return nil
}

// public is the handler of the public listener. Health is asked by address, so it knows no Host.
func (i *instance) public() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz":
			_, _ = w.Write([]byte("ok\n")) // the asker has gone
		case r.URL.Path == "/readyz":
			i.ready(w, r)
		case r.Method == http.MethodGet:
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(i.streams, cancel)()
			i.service.handler.ServeHTTP(w, r.WithContext(ctx))
		default:
			i.service.handler.ServeHTTP(w, r)
		}
	})
}

// ready says whether a load balancer should send requests here.
func (i *instance) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case i.draining.Load():
		http.Error(w, "draining", http.StatusServiceUnavailable)
	case i.mute.Load():
		http.Error(w, "the audit cannot be written", http.StatusServiceUnavailable)
	case i.service.guard.Ready() != nil:
		http.Error(w, "no token can be verified yet", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ok\n")) // the asker has gone
	}
}

// admin is the handler of the admin listener.
func (i *instance) admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", i.measures.handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", i.ready)
	if i.service.signer != nil {
		mux.HandleFunc("GET /identity-keys", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/jwk-set+json")
			_ = json.NewEncoder(w).Encode(i.service.signer.KeySet()) // the asker has gone
		})
	}
	return mux
}

// loopback reports whether an address is of this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func newCheckConfig(e env, f *flags) *cobra.Command {
	var asCedar bool
	cmd := &cobra.Command{
		Use:   "check-config",
		Short: "Check the configuration, and everything it names, without serving",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			c, err := f.load()
			if err != nil {
				return usageError{err}
			}
			s, err := build(c, checking(e))
			if err != nil {
				return usageError{err}
			}
			return report(e, c, s, asCedar)
		},
	}
	cmd.Flags().BoolVar(&asCedar, "cedar", false, "print the policy in Cedar")
	return cmd
}

// checking are the hooks of a service that will not serve.
func checking(e env) hooks {
	return hooks{
		trace: func(h http.Handler) http.Handler { return h }, forward: func(t http.RoundTripper) http.RoundTripper { return t },
		log: slog.New(slog.NewTextHandler(e.stderr, nil)),
	}
}

func report(e env, c *config, s *service, asCedar bool) error {
	for _, warning := range s.warnings {
		slog.New(slog.NewTextHandler(e.stderr, nil)).Warn(warning)
	}
	if asCedar {
		_, err := fmt.Fprintln(e.stdout, s.policy.Cedar())
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "configuration is good: %s in front of %s\n", c.Resource, c.Upstream)
	return err
}
