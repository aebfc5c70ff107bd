// Package cli is the command line of drawbridge: it builds the parts and wires them together.
//
// It is the only package, with cmd, that touches arguments, environment, standard streams and the browser. One file
// holds one verb. The rules for what people see:
//
//   - standard output carries what a command was asked for (for the bridge: MCP messages); everything else is standard
//     error, with "drawbridge: " in front, no capital at the beginning and no period at the end;
//   - success is silent where the result speaks for itself;
//   - an error says the step and the cause; what the user can do follows as a hint on a line of its own.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/spf13/cobra"

	"drawbridge/internal/secret"
)

// Env is everything outside the process that a command may touch.
type Env struct {
	Args      []string // without the program's name
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
	LookupEnv func(name string) (string, bool)

	// AskSecret asks the person for a secret, without showing what they type. If nil, there is no terminal.
	AskSecret func(prompt string) (secret.Text, error)

	// Executable returns the path of this program, for the demo to start it again.
	Executable func() (string, error)
}

// getenv returns a variable, or "".
func (e Env) getenv(name string) string {
	v, _ := e.LookupEnv(name)
	return v
}

// Exit codes. Scripts may rely on them.
const (
	exitOK          = 0
	exitError       = 1 // something went wrong
	exitUsage       = 2 // the command line is wrong
	exitUnconfirmed = 3 // signed out here, and the identity provider did not confirm it
	exitSignIn      = 4 // a person has to sign in first
	exitStopped     = 130
)

// Main runs one command and returns the exit code. ctx ends on a signal.
func Main(ctx context.Context, env Env) int {
	log.SetOutput(io.Discard) // net/http remarks on broken answers there, and quotes them: a server may echo a token
	root := newRoot(env)
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		return exitStopped
	}
	report(env.Stderr, err)
	return exitCode(err)
}

// report is the one place that shows an error to a person.
func report(w io.Writer, err error) {
	fmt.Fprintf(w, "drawbridge: error: %v\n", err)
	if h := hintOf(err); h != "" {
		fmt.Fprintf(w, "drawbridge: hint: %s\n", h)
	}
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// usageError is a wrong command line.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }

// errNotSignedIn makes a command exit with exitSignIn.
var errNotSignedIn = errors.New("not signed in")

func exitCode(err error) int {
	switch {
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.Is(err, errNotSignedIn):
		return exitSignIn
	case errors.Is(err, errNotConfirmed), errors.Is(err, errKeyStays):
		return exitUnconfirmed
	}
	return exitError
}

// hinted is an error that says what the user can do.
type hinted struct {
	error
	hint string
}

// Unwrap returns the error without the hint.
func (e hinted) Unwrap() error { return e.error }

// Hint says what the user can do.
func (e hinted) Hint() string { return e.hint }

func newRoot(env Env) *cobra.Command {
	cobra.MousetrapHelpText = "" // a client may start the bridge from Windows Explorer
	opts := &options{}
	root := &cobra.Command{
		Use:   "drawbridge URL",
		Short: "Use a remote, OAuth-protected MCP server from any MCP client, as yourself",
		Long: `drawbridge URL speaks MCP on standard input and output and carries it to the server at URL. It signs you in at your
identity provider in the browser, keeps the tokens in the system's keychain and refreshes them.`,
		Example: `  drawbridge https://mcp.example.com/mcp
  drawbridge login https://mcp.example.com/mcp
  drawbridge demo`,
		Args:          opts.bridgeArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, args []string) error { return runBridge(cmd.Context(), env, opts, args[0]) },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	opts.register(root.PersistentFlags())
	root.AddCommand(newRun(env, opts), newLogin(env, opts), newLogout(env, opts), newStatus(env, opts), newDemo(env), newAdd(env), newRemove(env), newList(env), newClientMetadata(env, opts), newVersion(env))
	return root
}

// oneURL refuses command lines without exactly one server URL.
func oneURL(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usageError{hinted{errors.New("no server URL"), "usage: " + cmd.UseLine() + "; try " + cmd.CommandPath() + " --help"}}
	case len(args) > 1:
		return usageError{hinted{fmt.Errorf("one server URL is expected, not %d arguments", len(args)), "usage: " + cmd.UseLine()}}
	}
	return checkURL(args[0])
}
