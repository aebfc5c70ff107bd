package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"drawbridge/tokenstore"
)

func newStatus(env Env, o *options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [URL]",
		Short: "Show where you are signed in, as whom, and until when",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return oneURL(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return status(cmd.Context(), env, o, strings.Join(args, ""), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// signInStatus is one row of status. Its JSON form is stable.
type signInStatus struct {
	Server      string     `json:"server"`
	Profile     string     `json:"profile,omitempty"`
	SignedIn    bool       `json:"signed_in"`
	Account     string     `json:"account,omitempty"` // absent where the sign-in did not disclose it
	Issuer      string     `json:"issuer,omitempty"`
	ClientID    string     `json:"client_id,omitempty"`
	IdP         string     `json:"idp,omitempty"`         // profile that the identity provider was recognised as
	StaticKey   string     `json:"static_key,omitempty"`  // header that carries a static key; absent for a sign-in
	IdPChanges  []string   `json:"idp_changes,omitempty"` // in what it differs from the specifications
	Scopes      []string   `json:"scopes,omitempty"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"` // of the access token; absent where unknown
	Refreshable bool       `json:"refreshable"`
	Store       string     `json:"store"`
	Problem     string     `json:"problem,omitempty"`
}

// status prints one sign-in, or all of them when url is "".
func status(ctx context.Context, env Env, o *options, url string, asJSON bool) error {
	log, closeLog, err := openLog(env, o)
	if err != nil {
		return err
	}
	defer closeLog()
	store, err := o.openStore(env, log)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	var rows []signInStatus
	if url == "" {
		rows, err = allStatus(ctx, store)
	} else {
		rows, err = oneStatus(ctx, store, url, o.profile)
	}
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if err := printStatus(env, rows, url != "", asJSON); err != nil {
		return err
	}
	if url != "" && !rows[0].SignedIn {
		return hinted{fmt.Errorf("%w to %s", errNotSignedIn, url), "drawbridge login " + url}
	}
	return nil
}

func oneStatus(ctx context.Context, store tokenstore.Store, url, profile string) ([]signInStatus, error) {
	name, err := tokenstore.CredentialName(url, profile)
	if err != nil {
		return nil, err
	}
	c, err := tokenstore.LoadCredential(ctx, store, name)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return []signInStatus{{Server: url, Profile: profile, Store: store.Location()}}, nil
	}
	if err != nil {
		return nil, err
	}
	return []signInStatus{statusOf(c, store)}, nil
}

func allStatus(ctx context.Context, store tokenstore.Store) ([]signInStatus, error) {
	names, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	rows := []signInStatus{}
	for _, name := range names {
		if name.Kind() != tokenstore.KindCredential {
			continue
		}
		c, err := tokenstore.LoadCredential(ctx, store, name)
		switch {
		case errors.Is(err, tokenstore.ErrNotFound): // deleted meanwhile
		case err != nil:
			rows = append(rows, signInStatus{Server: string(name), Store: store.Location(), Problem: err.Error()})
		default:
			rows = append(rows, statusOf(c, store))
		}
	}
	slices.SortFunc(rows, func(a, b signInStatus) int { return strings.Compare(a.Server+" "+a.Profile, b.Server+" "+b.Profile) })
	return rows, nil
}

func statusOf(c tokenstore.Credential, store tokenstore.Store) signInStatus {
	s := signInStatus{
		Server: c.ServerURL, Profile: c.Profile, SignedIn: true, Account: c.Subject, Issuer: c.Issuer, ClientID: c.Client.ID,
		IdP: c.IdP.Profile, IdPChanges: c.IdP.Changes, Scopes: c.Scopes, Refreshable: !c.RefreshToken.IsZero(), Store: store.Location(),
		StaticKey: c.KeyHeader,
	}
	if !c.Expiry.IsZero() {
		s.ExpiresAt = &c.Expiry
	}
	if c.AccessToken.IsZero() || !s.Refreshable && s.ExpiresAt != nil && c.Expiry.Before(time.Now()) {
		s.SignedIn = false
	}
	return s
}

func printStatus(env Env, rows []signInStatus, one, asJSON bool) error {
	switch {
	case asJSON && one:
		return printJSON(env, rows[0])
	case asJSON:
		return printJSON(env, rows)
	case len(rows) == 0:
		_, err := fmt.Fprintln(env.Stdout, "not signed in anywhere; sign in with: drawbridge login URL")
		return err
	case one:
		return printDetail(env, rows[0])
	}
	return printTable(env, rows)
}

func printDetail(env Env, s signInStatus) error {
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, plain(value)) }
	line("server", s.Server)
	if s.Profile != "" {
		line("profile", s.Profile)
	}
	switch {
	case s.StaticKey != "":
		line("account", "static key, in the header "+s.StaticKey)
		line("token", s.expiry())
	case s.SignedIn:
		line("account", orDash(s.Account, "not disclosed"))
		line("issuer", s.Issuer)
		if s.IdP != "" {
			line("idp", strings.Join(append([]string{s.IdP}, s.IdPChanges...), "; "))
		}
		line("client", s.ClientID)
		line("scopes", orDash(strings.Join(s.Scopes, " "), "-"))
		line("token", s.expiry())
	default:
		line("account", "not signed in")
	}
	line("kept in", s.Store)
	return w.Flush()
}

func printTable(env Env, rows []signInStatus) error {
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER\tPROFILE\tACCOUNT\tISSUER\tTOKEN\tKEPT IN")
	for _, s := range rows {
		token := s.expiry()
		if s.Problem != "" {
			token = s.Problem
		}
		account := orDash(s.Account, "not disclosed")
		if s.StaticKey != "" {
			account = "static key"
		}
		cells := []string{s.Server, orDash(s.Profile, "-"), account, orDash(s.Issuer, "-"), token, s.Store}
		for i := range cells {
			cells[i] = plain(cells[i])
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// plain takes out of text what does not just print. Records hold what servers said, and may be older than the checks of it.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

func orDash(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// expiry says how long the access token lasts and what happens then.
func (s signInStatus) expiry() string {
	then := ", then you sign in again"
	if s.Refreshable {
		then = ", renewed by itself"
	}
	switch {
	case s.StaticKey != "":
		return "valid until it is withdrawn at the server"
	case s.ExpiresAt == nil:
		return "expiry unknown" + then
	case s.ExpiresAt.Before(time.Now()):
		return "expired" + then
	}
	return "expires in " + time.Until(*s.ExpiresAt).Round(time.Second).String() + then
}
