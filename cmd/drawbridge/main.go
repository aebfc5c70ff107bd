// Command drawbridge lets an MCP client use a remote, OAuth-protected MCP server as its human.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"drawbridge/internal/cli"
)

func main() { os.Exit(mainExit()) }

// mainExit exists so that deferred calls run before the process ends.
func mainExit() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// A client that closes our standard output must not kill us before the session is ended and the port is free.
	signal.Ignore(syscall.SIGPIPE)
	defer cli.KeepTerminal(os.Stdin)()
	return cli.Main(ctx, cli.Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		LookupEnv: os.LookupEnv, AskSecret: cli.AskAt(os.Stdin, os.Stderr), Executable: os.Executable,
	})
}
