package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"drawbridge/internal/clientconfig"
)

// startLimit is how long a started server may take to answer. The least patient client gives it ten seconds.
const startLimit = 10 * time.Second

// started is what a client finds out about a server that it starts.
type started struct {
	tools      []string
	needsHuman bool // its only tool is the one that has a person sign in
}

// tryStart starts an entry as an MCP client does, shakes hands, lists the tools if that is wanted, and ends it.
func tryStart(ctx context.Context, e clientconfig.Entry, variables []string, list bool) (started, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.Command, e.Args...)
	cmd.Env = variables
	var said bytes.Buffer
	cmd.Stderr = &said
	client, err := startMCP(cmd, "drawbridge-add")
	if errors.As(err, new(*rpcError)) {
		if !list {
			return started{}, nil // it answers, and that is what was asked
		}
		return started{}, fmt.Errorf("start %s as a client does: %w", e.Command, err) // the answer says why
	}
	if err != nil {
		return started{}, fmt.Errorf("start %s as a client does: %w%s", e.Command, err, complaint(said.String()))
	}
	defer client.close()
	if !list {
		return started{}, nil
	}
	s := started{}
	s.tools, err = client.tools()
	if err != nil {
		return started{}, fmt.Errorf("list the tools as a client does: %w", err)
	}
	s.needsHuman = len(s.tools) == 1 && s.tools[0] == "sign_in"
	return s, nil
}

// complaint is what a program that ended without an answer said, in brackets.
func complaint(text string) string {
	for line := range strings.Lines(text) {
		if _, cause, ok := strings.Cut(line, "drawbridge: error: "); ok {
			shown := []rune(strings.Map(visible, strings.TrimSpace(cause)))
			return " (" + string(shown[:min(len(shown), maxShown)]) + ")"
		}
	}
	return ""
}
