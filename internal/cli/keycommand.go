package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"drawbridge/internal/secret"
)

const (
	keyCommandLimit = 30 * time.Second // of any command; a human may have to type something
	keyCommandPause = time.Second      // for its children to give standard output back after its end
	keyCommandSize  = 4096             // bytes of output; a key has 32
)

// keyCommand returns what runs line and yields its standard output. No shell is involved. The command gets no standard
// input, which is the MCP client's, and says what it has to say on standard error or in a window of its own.
func keyCommand(env Env, line string) (func() (secret.Text, error), error) {
	args, err := splitCommand(line)
	if err != nil {
		return nil, usageError{hinted{fmt.Errorf("--token-store-key-command: %w", err), "for instance: --token-store-key-command 'pass show drawbridge-key'"}}
	}
	return func() (secret.Text, error) { return output(env, "key command", args, keyCommandSize) }, nil
}

// output runs a command and returns what it prints, at most size bytes. Errors name the command by what, and do not show
// what it printed.
func output(env Env, what string, args []string, size int) (secret.Text, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keyCommandLimit)
	defer cancel()
	out := &bounded{left: size}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, env.Stderr, keyCommandPause
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("no answer within %v", keyCommandLimit)
	}
	if err != nil {
		return secret.Text{}, fmt.Errorf("%s %q: %w", what, args[0], err)
	}
	return secret.New(out.text.String()), nil
}

// bounded keeps what is written up to a size, beyond which it refuses.
type bounded struct {
	text bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, io.ErrShortWrite
	}
	return b.text.Write(p)
}

// splitCommand splits a command line at spaces. Double or single quotes keep what is between them together; nothing has a
// special meaning in them, not even a backslash, which paths on Windows are full of.
func splitCommand(line string) ([]string, error) {
	var args []string
	var word strings.Builder
	quote, begun := byte(0), false
	for _, b := range []byte(line) { // bytes, as a path need not be UTF-8
		switch {
		case quote != 0 && b == quote:
			quote = 0
		case quote == 0 && (b == '"' || b == '\''):
			quote, begun = b, true
		case quote == 0 && strings.IndexByte(" \t\r\n", b) >= 0:
			if begun {
				args = append(args, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteByte(b)
			begun = true
		}
	}
	if begun {
		args = append(args, word.String())
	}
	switch {
	case quote != 0:
		return nil, errors.New("a quote is not closed")
	case len(args) == 0 || args[0] == "":
		return nil, errors.New("it names no command")
	}
	return args, nil
}
