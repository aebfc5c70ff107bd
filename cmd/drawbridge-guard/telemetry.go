package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"drawbridge/auth/guard"
	"drawbridge/auth/guard/audit"
)

// measures are the instance's metrics and traces.
type measures struct {
	registry  *prometheus.Registry
	metrics   *sdkmetric.MeterProvider
	traces    *sdktrace.TracerProvider // nil if none are wanted
	tracer    trace.Tracer
	decisions metric.Int64Counter
	took      metric.Float64Histogram
	answered  metric.Float64Histogram
	open      metric.Int64UpDownCounter
}

// closeTime bounds the sending of the last traces.
const closeTime = 5 * time.Second

// newMeasures sends traces to an OTLP endpoint, if one is given. log, if not nil, is measured too.
func newMeasures(ctx context.Context, endpoint string, log *audit.Log) (*measures, error) {
	m := &measures{registry: prometheus.NewRegistry()}
	reader, err := exporter.New(exporter.WithRegisterer(m.registry), exporter.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	about := resource.NewSchemaless(attribute.String("service.name", "drawbridge-guard"), attribute.String("service.version", version()))
	m.metrics = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(about))
	if endpoint != "" {
		out, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
		if err != nil {
			return nil, fmt.Errorf("traces: %w", err)
		}
		m.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(out), sdktrace.WithResource(about))
		m.tracer = m.traces.Tracer("drawbridge-guard")
	}
	return m, m.instruments(log)
}

func (m *measures) instruments(log *audit.Log) (err error) {
	meter := m.metrics.Meter("drawbridge-guard")
	keep := func(e error) {
		if err == nil && e != nil {
			err = fmt.Errorf("metrics: %w", e)
		}
	}
	var e error
	m.decisions, e = meter.Int64Counter("drawbridge.guard.decisions", metric.WithDescription("Decisions, by verdict and MCP method."))
	keep(e)
	m.took, e = meter.Float64Histogram("drawbridge.guard.decision.duration", metric.WithUnit("s"), metric.WithDescription("Time to decide."),
		metric.WithExplicitBucketBoundaries(0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5))
	keep(e)
	m.answered, e = meter.Float64Histogram("drawbridge.guard.upstream.duration", metric.WithUnit("s"), metric.WithDescription("Time until the server behind began to answer."))
	keep(e)
	m.open, e = meter.Int64UpDownCounter("drawbridge.guard.requests.open", metric.WithDescription("Requests and streams under way."))
	keep(e)
	if log != nil {
		_, e = meter.Int64ObservableCounter("drawbridge.guard.audit.lines", metric.WithDescription("The number of the last audit line."),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				_, seq, _ := log.Head()
				o.Observe(int64(seq))
				return nil
			}))
		keep(e)
	}
	return err
}

// close sends what is left.
func (m *measures) close(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if m.traces != nil {
		if err := m.traces.Shutdown(ctx); err != nil {
			log.Warn("traces were lost", "err", err)
		}
	}
	_ = m.metrics.Shutdown(ctx) // they are asked for, not sent
}

func (m *measures) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// known are the methods that metrics tell apart: a client can make up any number of others.
var known = map[string]bool{
	"initialize": true, "ping": true, "server/discover": true, "tools/list": true, "tools/call": true, "prompts/list": true, "prompts/get": true,
	"resources/list": true, "resources/read": true, "resources/templates/list": true, "resources/subscribe": true, "resources/unsubscribe": true,
	"subscriptions/listen": true, "completion/complete": true, "logging/setLevel": true, "tasks/get": true, "tasks/list": true, "tasks/cancel": true,
	"tasks/result": true, "tasks/update": true,
}

// observe is a [guard.Config.Observe].
func (m *measures) observe(ctx context.Context, e guard.Event) {
	method := e.Call.Method
	switch {
	case strings.HasPrefix(method, "notifications/"):
		method = "notifications"
	case method != "" && !known[method]:
		method = "other"
	}
	attributes := metric.WithAttributeSet(attribute.NewSet(attribute.String("verdict", string(e.Verdict)), attribute.String("method", method)))
	m.decisions.Add(ctx, 1, attributes)
	m.took.Record(ctx, e.Took.Seconds())
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String("mcp.method.name", e.Call.Method), attribute.String("drawbridge.verdict", string(e.Verdict)))
		if e.Verdict != guard.Allowed {
			span.SetStatus(codes.Error, string(e.Verdict))
		}
	}
}

var w3c = propagation.TraceContext{}

// trace returns a handler that opens a span for each request, as a part of the trace that the request names.
func (m *measures) trace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.open.Add(r.Context(), 1)
		defer m.open.Add(context.WithoutCancel(r.Context()), -1)
		if m.tracer == nil {
			next.ServeHTTP(w, r)
			return
		}
		ctx := w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := m.tracer.Start(ctx, "mcp "+r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// forward returns a transport that measures the server behind and hands the trace on to it. Without traces of our own the
// request keeps the trace that it came with.
func (m *measures) forward(next http.RoundTripper) http.RoundTripper { return forwarder{m, next} }

type forwarder struct {
	measures *measures
	next     http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (f forwarder) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.measures.tracer != nil {
		r = r.Clone(r.Context())
		w3c.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
	}
	began := time.Now()
	resp, err := f.next.RoundTrip(r)
	f.measures.answered.Record(r.Context(), time.Since(began).Seconds())
	return resp, err
}
