// Command bench measures the bridge: against a direct HTTP client, which is the limit, against a process that only echoes,
// and against mcp-remote where a node_modules directory that holds it is named.
//
//	go run ./internal/bench [flags]
//
// It builds drawbridge, signs in at an identity provider of its own, and starts every bridge with the sign-in in its
// store. Peers take turns in each measurement, so that whatever else the machine does meets all of them; what counts is
// the median of the rounds' ratios. Memory and processor time need Linux.
//
// It is the MCP client; the server and the echo are processes of their own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() { os.Exit(mainExit()) }

func mainExit() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := play(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

// play is one of the bench's processes.
func play(ctx context.Context, args []string, in io.Reader, out, diagnostics io.Writer) error {
	if len(args) > 0 && args[0] == "serve" {
		return serve(ctx, args[1:], in, out)
	}
	o, err := parseOptions(args, diagnostics)
	if err != nil {
		return err
	}
	return run(ctx, o, out)
}

// options are what a person may choose.
type options struct {
	rounds      int
	scale       float64
	only        *regexp.Regexp
	json        bool
	program     string // drawbridge
	nodeModules string
	store       string
	fleet       int
	progress    io.Writer
}

func parseOptions(args []string, diagnostics io.Writer) (options, error) {
	o := options{progress: diagnostics}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(diagnostics)
	f.IntVar(&o.rounds, "rounds", 5, "how often everything is measured")
	f.Float64Var(&o.scale, "scale", 1, "how long timed parts take, 1 being about a second each")
	only := f.String("only", "", "measure only what matches this regular expression")
	f.BoolVar(&o.json, "json", false, "print every sample as JSON instead of a table")
	f.StringVar(&o.program, "drawbridge", "", "program to measure (default: built from this module)")
	f.StringVar(&o.nodeModules, "node-modules", "", "directory with mcp-remote in it, to measure that too")
	f.StringVar(&o.store, "store", "file", "token store: file, kernel or keychain")
	f.IntVar(&o.fleet, "fleet", 50, "how many bridges are started at once")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("--only: %w", err)
	}
	if o.rounds < 1 || o.scale <= 0 || o.fleet < 1 {
		return o, errors.New("--rounds, --scale and --fleet must be positive")
	}
	return o, nil
}

// budget is how long a timed part takes that is to take d.
func (o options) budget(d time.Duration) time.Duration {
	return time.Duration(float64(d) * o.scale)
}
