// Command drawbridge-guard makes an MCP server an OAuth 2.1 resource server: it stands in front of it, lets through what
// carries a token of the company's own identity provider and what the policy allows, and writes everything down.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(mainExit()) }

// mainExit exists so that deferred calls run before the process ends.
func mainExit() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, env{args: os.Args[1:], stdout: os.Stdout, stderr: os.Stderr, lookup: os.LookupEnv})
}
