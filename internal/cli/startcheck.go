package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// startLimit is how long a started server may take to answer. The least patient client gives it ten seconds.
const startLimit = 10 * time.Second

// started is what a client finds out about a server that it starts.
type started struct {
	tools      []string
	needsHuman bool // its only tool is the one that has a person sign in
}

// tryStart starts a command as an MCP client does, shakes hands, lists the tools and ends it. Variables of our own are left
// out: what the command needs has to be in its arguments.
func tryStart(ctx context.Context, command string, args []string, list bool) (started, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "DRAWBRIDGE_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	client, err := startMCP(cmd, "drawbridge-add")
	if errors.As(err, new(*rpcError)) {
		if !list {
			return started{}, nil // it answers, and that is what was asked
		}
		return started{}, fmt.Errorf("start %s as a client does: %w", command, err) // the answer says why
	}
	if err != nil {
		return started{}, fmt.Errorf("start %s as a client does: %w%s", command, err, complaint(said.String()))
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
