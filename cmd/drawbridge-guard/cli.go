package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// env is everything outside the process that a command may touch.
type env struct {
	args           []string
	stdout, stderr io.Writer
	lookup         func(name string) (string, bool)
}

// Exit codes. Scripts may rely on them.
const (
	exitOK    = 0
	exitError = 1 // something went wrong, or a log is not what was written
	exitUsage = 2 // the command line or the configuration is wrong
)

// run runs one command and returns the exit code. ctx ends on a signal.
func run(ctx context.Context, e env) int {
	root := newRoot(e)
	root.SetArgs(e.args)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(e.stderr, "drawbridge-guard: error: %v\n", err)
	if h := (hinted{}); errors.As(err, &h) {
		fmt.Fprintf(e.stderr, "drawbridge-guard: hint: %s\n", h.hint)
	}
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitError
}

// usageError is a wrong command line or configuration.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }

// hinted is an error that says what the user can do.
type hinted struct {
	error
	hint string
}

// Unwrap returns the error without the hint.
func (e hinted) Unwrap() error { return e.error }

// releaseVersion is set by the release build (-ldflags "-X main.releaseVersion=1.2.3").
var releaseVersion string

func version() string {
	if releaseVersion != "" {
		return releaseVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func newRoot(e env) *cobra.Command {
	f := &flags{}
	root := &cobra.Command{
		Use:   "drawbridge-guard --upstream URL --resource URL --issuer URL",
		Short: "Protect an MCP server with your own identity provider",
		Long: `drawbridge-guard stands in front of an MCP server and lets through what carries an access token that your identity
provider issued for it and what the policy allows. The token stays here; every decision is written down.`,
		Example: `  drawbridge-guard --upstream http://127.0.0.1:8080/mcp --resource https://mcp.example.com/mcp --issuer https://idp.example.com
  drawbridge-guard --config guard.yaml
  drawbridge-guard check-config --config guard.yaml
  drawbridge-guard audit verify audit.jsonl*`,
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load()
			if err != nil {
				return usageError{err}
			}
			return serve(cmd.Context(), e, c)
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f.register(root.PersistentFlags())
	root.AddCommand(newCheckConfig(e, f), newAudit(e), newVersion(e))
	return root
}

func newVersion(e env) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(e.stdout, "drawbridge-guard %s %s/%s %s\n", version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{hinted{fmt.Errorf("unknown command or argument %.100q", args[0]), "usage: " + cmd.UseLine()}}
	}
	return nil
}
