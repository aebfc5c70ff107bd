package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/tokenstore"
)

func newLogout(env Env, o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "logout URL",
		Short: "Delete the sign-in at the MCP server at URL from this machine",
		Long: `logout deletes the tokens of one server and profile from this machine. It does not tell the identity provider: an
access token that somebody copied stays good until it expires.`,
		Args: oneURL,
		RunE: func(cmd *cobra.Command, args []string) error { return logout(cmd.Context(), env, o, args[0]) },
	}
}

// logout deletes one credential and says what it leaves behind.
func logout(ctx context.Context, env Env, o *options, url string) error {
	c, err := connect(env, o, url)
	if err != nil {
		return err
	}
	defer c.end()
	name, err := tokenstore.CredentialName(url, o.profile)
	if err != nil {
		return err
	}
	stored, err := tokenstore.LoadCredential(ctx, c.store, name)
	if errors.Is(err, tokenstore.ErrNotFound) {
		fmt.Fprintf(env.Stdout, "not signed in to %s\n", url)
		return nil
	}
	// A record that cannot be read is deleted all the same: that is what was asked for.
	if errors.Is(err, tokenstore.ErrUnavailable) {
		return fmt.Errorf("log out: %w", err)
	}
	if err := c.store.Delete(ctx, name); err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	fmt.Fprintf(env.Stdout, "signed out of %s: the tokens are deleted from %s\n", url, c.store.Location())
	if !stored.RefreshToken.IsZero() || stored.Expiry.After(time.Now()) {
		fmt.Fprintf(env.Stdout, "the identity provider was not told; to end the session there, sign out at %s\n", stored.Issuer)
	}
	return nil
}
