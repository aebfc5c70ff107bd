package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
)

// openLog returns the logger that the flags ask for. Without any, warnings go to standard error and nothing else is
// said. What is logged are methods, ids, sizes, times and causes; secrets are of a type that no logger shows.
func openLog(env Env, o *options) (*slog.Logger, func(), error) {
	level := slog.LevelWarn
	if o.debug || o.logFile != "" {
		level = slog.LevelDebug
	}
	opts := &slog.HandlerOptions{Level: level}
	if o.logFile == "" {
		return slog.New(slog.NewTextHandler(env.Stderr, opts)), func() {}, nil
	}
	f, err := os.OpenFile(o.logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open log file: %w", err)
	}
	var w io.Writer = f
	if o.debug {
		w = io.MultiWriter(f, env.Stderr)
	}
	return slog.New(slog.NewJSONHandler(w, opts)), func() { _ = f.Close() }, nil // nothing is buffered
}
