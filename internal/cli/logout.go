package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/spf13/cobra"

	"drawbridge/auth"
)

func newLogout(env Env, o *options) *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "logout URL | --all",
		Short: "End the sign-in at the MCP server at URL: here, and at the identity provider",
		Long: `logout deletes the tokens of one server and profile from this machine, asks the identity provider to revoke them, and says
what it confirmed. With --all it ends every sign-in in the token store and deletes every client registration. Without a
network it deletes all the same, and says what stays valid at the identity provider and until when.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return usageError{hinted{errors.New("logout: --all and a server URL exclude each other"), "usage: drawbridge " + cmd.Use}}
			case all:
				return nil
			}
			return oneURL(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				return logoutAll(cmd.Context(), env, o, asJSON)
			}
			return logoutOne(cmd.Context(), env, o, args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "end every sign-in in the token store, and delete the client registrations")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// errNotConfirmed makes a command exit with exitUnconfirmed.
var errNotConfirmed = errors.New("signed out on this machine, but not everything was confirmed by the identity provider")

// errKeyStays makes a command exit with exitUnconfirmed too.
var errKeyStays = errors.New("the key is gone from this machine, and still valid at the server")

// logoutOne ends one sign-in.
func logoutOne(ctx context.Context, env Env, o *options, url string, asJSON bool) error {
	l, end, err := openLogout(env, o)
	if err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	defer end()
	r, err := l.One(ctx, url, o.profile)
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(env, receiptOf(r))
	} else {
		err = printReceipt(env, r, l.Store)
	}
	return errors.Join(err, verdict([]auth.Receipt{r}))
}

// logoutAll ends everything in the store, and says so as it goes.
func logoutAll(ctx context.Context, env Env, o *options, asJSON bool) error {
	l, end, err := openLogout(env, o)
	if err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	defer end()
	var receipts []auth.Receipt
	rows := []receipt{}
	listErr := l.All(ctx, func(r auth.Receipt) {
		receipts, rows = append(receipts, r), append(rows, receiptOf(r))
		if !asJSON && err == nil {
			err = printReceipt(env, r, l.Store)
		}
	})
	switch {
	case listErr != nil:
		listErr = fmt.Errorf("log out: %w", listErr)
	case asJSON:
		err = printJSON(env, rows)
	case len(rows) == 0:
		_, err = fmt.Fprintln(env.Stdout, "not signed in anywhere")
	}
	return errors.Join(err, listErr, verdict(receipts))
}

// verdict is the worst that receipts say.
func verdict(receipts []auth.Receipt) error {
	var open error
	for _, r := range receipts {
		switch {
		case !r.Wiped():
			return fmt.Errorf("log out of %s: %w", subjectOf(r), r.Local.Cause)
		case r.Key.State == auth.Unconfirmed:
			open = hinted{errKeyStays, "withdraw the key at the server, or have whoever gave it to you do it"}
		case !r.Confirmed():
			open = hinted{errNotConfirmed, "end the session at the identity provider yourself, or ask its administrator to; the tokens are gone from this machine"}
		}
	}
	return open
}

// openLogout builds a logout from flags and environment. Flags about the server and the sign-in do not matter: what is
// stored says where it belongs.
func openLogout(env Env, o *options) (auth.Logout, func(), error) {
	log, closeLog, err := openLog(env, o)
	if err != nil {
		return auth.Logout{}, nil, err
	}
	l, err := o.logout(env, log)
	if err != nil {
		closeLog()
		return l, nil, err
	}
	return l, func() { l.HTTP.CloseIdleConnections(); closeLog() }, nil
}

func (o *options) logout(env Env, log *slog.Logger) (auth.Logout, error) {
	if err := o.translate(env, ""); err != nil {
		return auth.Logout{}, err
	}
	client, err := o.client(env)
	if err != nil {
		return auth.Logout{}, err
	}
	way, err := o.network.transport(env)
	if err != nil {
		return auth.Logout{}, err
	}
	store, err := o.openStore(env, log)
	return auth.Logout{Store: store, HTTP: &http.Client{Transport: way}, Client: client, Log: log, Forgotten: forgetter(env, log)}, err
}
