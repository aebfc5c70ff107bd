package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/trace"

	"drawbridge/auth/guard"
	"drawbridge/auth/guard/audit"
)

// openAudit opens the log that the configuration names; nil if it names none.
func openAudit(e env, c auditConfig) (*audit.Log, error) {
	cfg := audit.Config{Path: c.Path, MaxSize: int64(c.MaxSize), Sync: c.Sync, MaxWaiting: c.MaxWaiting}
	switch c.Path {
	case "":
		return nil, nil
	case "-":
		return audit.New(e.stdout, cfg)
	}
	return audit.Open(cfg)
}

// writeTo returns a [guard.Config.Audit] that writes to a log.
func writeTo(log *audit.Log) func(context.Context, guard.Event) error {
	return func(ctx context.Context, e guard.Event) error { return log.Append(ctx, entryOf(ctx, e)) }
}

func entryOf(ctx context.Context, e guard.Event) audit.Entry {
	entry := audit.Decision(e)
	entry.Trace = traceOf(ctx, e)
	return entry
}

// traceOf returns the trace that the decision belongs to: ours, or the one that the request says it is part of.
func traceOf(ctx context.Context, e guard.Event) string {
	if own := trace.SpanContextFromContext(ctx); own.HasTraceID() {
		return own.TraceID().String()
	}
	// 00-TRACE-PARENT-FLAGS (W3C Trace Context section 3.2)
	if len(e.Traceparent) >= 55 {
		if id, err := trace.TraceIDFromHex(e.Traceparent[3:35]); err == nil {
			return id.String()
		}
	}
	return ""
}

func newAudit(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Look into audit files", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "verify FILE...",
		Short: "Check that no line of audit files was changed, taken out or put in",
		Long: `verify reads audit files in any order and names every line that is not what was written. It prints the head of each
chain (instance, last line, hash): keep it elsewhere, because lines that are missing at the very end leave no trace.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error { return verify(e, files) },
	})
	return cmd
}

func verify(e env, files []string) error {
	var v audit.Verifier
	for _, name := range files {
		if err := readInto(&v, name); err != nil {
			return err
		}
	}
	report := v.Report()
	for _, c := range report.Chains {
		missing := ""
		if c.First > 1 {
			missing = fmt.Sprintf(" (lines 1 to %d were not given)", c.First-1)
		}
		fmt.Fprintf(e.stdout, "instance %s: lines %d to %d%s, %s to %s, head %s\n", c.Instance, c.First, c.Last, missing,
			c.Begin.Format("2006-01-02 15:04:05"), c.End.Format("2006-01-02 15:04:05"), c.Head)
	}
	for _, p := range report.Problems {
		fmt.Fprintln(e.stdout, p)
	}
	switch {
	case len(report.Problems) > 0:
		return hinted{fmt.Errorf("the audit is not as it was written: problems: %d", len(report.Problems)), "the lines that are not named are as they were written"}
	case len(report.Chains) == 0:
		return fmt.Errorf("the files hold no audit lines")
	}
	return nil
}

func readInto(v *audit.Verifier, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return v.Read(name, f)
}
