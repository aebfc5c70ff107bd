package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"drawbridge/auth"
	"drawbridge/tokenstore"
)

func newLogin(env Env, o *options) *cobra.Command {
	var k keyLogin
	cmd := &cobra.Command{
		Use:   "login URL",
		Short: "Sign in to the MCP server at URL now, and keep the sign-in for the bridge",
		Args:  o.bridgeArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if k.stdin || k.header != "" {
				return k.login(cmd.Context(), env, o, args[0])
			}
			return login(cmd.Context(), env, o, args[0])
		},
	}
	k.register(cmd.Flags())
	return cmd
}

// login signs the person in and stores the outcome.
func login(ctx context.Context, env Env, o *options, url string) error {
	credential, location, err := signIn(ctx, env, o, url)
	if err == nil {
		tellSignedIn(env, credential, location)
	}
	return err
}

func tellSignedIn(env Env, c tokenstore.Credential, location string) {
	fmt.Fprintf(env.Stdout, "signed in to %s%s\n", c.ServerURL, as(c.Subject))
	fmt.Fprintf(env.Stdout, "tokens are kept in: %s\n", location)
}

// signIn has the person sign in, and says where the tokens are kept. It refuses a store that would forget them at once.
func signIn(ctx context.Context, env Env, o *options, url string) (c tokenstore.Credential, location string, err error) {
	if err := o.prepareStore(env); err != nil {
		return c, "", err
	}
	conn, err := connect(env, o, url)
	if err != nil {
		return c, "", err
	}
	defer conn.end()
	if err := tokenstore.Probe(ctx, conn.store); err != nil {
		return c, "", fmt.Errorf("sign in: the token store does not answer: %w", err)
	}
	go readPasted(ctx, env, conn.session)
	if c, err = conn.session.SignIn(ctx); err != nil {
		return c, "", fmt.Errorf("sign in to %s: %w", url, err)
	}
	return c, conn.store.Location(), nil
}

// readPasted hands addresses that the person pastes to the sign-in under way. It ends with the input; the command does
// not wait for it.
func readPasted(ctx context.Context, env Env, session *auth.Session) {
	lines := bufio.NewScanner(env.Stdin)
	lines.Buffer(nil, maxPasted)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if err := session.Paste(ctx, lines.Text()); err != nil {
			report(env.Stderr, fmt.Errorf("pasted address: %w", err))
		}
	}
}

// maxPasted bounds a pasted line.
const maxPasted = 64 << 10

func as(subject string) string {
	if subject == "" {
		return ""
	}
	return " as " + subject
}

// prepareStore makes the key of a new file store, and refuses the memory store.
func (o *options) prepareStore(env Env) error {
	s, err := o.storeOptions(env)
	if err != nil {
		return err
	}
	switch {
	case s.Kind == "memory":
		return usageError{hinted{errors.New("login: the memory store forgets the sign-in when this command ends"),
			"use --token-store keychain, kernel or file; the bridge itself can sign in with the memory store"}}
	case s.Kind == "file" && s.KeyFile != "" && missing(s.KeyFile) && missing(s.Dir):
		if err := tokenstore.CreateKeyFile(s.KeyFile); err != nil {
			return fmt.Errorf("create the key of the file store: %w", err)
		}
		notice(env)("created the key file " + s.KeyFile + "; whoever has it and the files in " + s.Dir + " has your sign-in")
	}
	return nil
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}
