package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"drawbridge/internal/clientconfig"
	"drawbridge/tokenstore"
)

func newRemove(env Env) *cobra.Command {
	r := &removal{env: env}
	cmd := &cobra.Command{
		Use:   "remove URL|NAME",
		Short: "Take a server out of the configuration of your MCP clients",
		Long: `remove takes out the entries that start drawbridge for the server, or that have the name: yours, and those of the project that
the current directory is in. It shows the change and asks, and it touches no entry of another program. You stay signed in;
drawbridge logout ends that.`,
		Example: `  drawbridge remove https://mcp.example.com/mcp
  drawbridge remove example --client cursor --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{hinted{fmt.Errorf("one server URL or name is expected, not %d arguments", len(args)), "usage: " + cmd.UseLine()}}
			}
			return nil
		},
		RunE:              func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args[0]) },
		ValidArgsFunction: r.complete,
	}
	r.choice.register(cmd, "")
	r.choice.registerChange(cmd)
	return cmd
}

// removal is one run of remove.
type removal struct {
	env     Env
	choice  clientChoice
	machine clientconfig.Machine
	results []fileResult
}

func (r *removal) run(ctx context.Context, what string) error {
	rows, err := r.find(what)
	if err != nil {
		return err
	}
	ask := person{bufio.NewReader(r.env.Stdin), r.env.Stderr}
	for _, row := range rows {
		if err := r.remove(ctx, row, ask); err != nil {
			return fmt.Errorf("remove %q from %s: %w", row.Name, row.place, err)
		}
	}
	if r.choice.asJSON {
		return printJSON(r.env, r.results)
	}
	return nil
}

// find returns the entries that are meant. Files that cannot be read hold none that could be taken out.
func (r *removal) find(what string) (found []listed, err error) {
	if r.machine, err = machineOf(r.env); err != nil {
		return nil, err
	}
	rows, err := entriesOf(r.env, r.machine, r.choice)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		switch {
		case row.Name == "":
			report(r.env.Stderr, fmt.Errorf("%s is left alone: %s", row.place, row.Problem))
		case row.Name == what || sameServer(row.Server, what):
			found = append(found, row)
		}
	}
	if found == nil {
		return nil, hinted{fmt.Errorf("no entry of an MCP client starts drawbridge for %q", what), "drawbridge list shows those there are"}
	}
	return found, nil
}

func sameServer(a, b string) bool {
	canonicalA, errA := tokenstore.CanonicalURL(a)
	canonicalB, errB := tokenstore.CanonicalURL(b)
	return errA == nil && errB == nil && canonicalA == canonicalB
}

func (r *removal) remove(ctx context.Context, row listed, ask person) error {
	change, err := row.place.client.Remove(r.machine, row.place.scope, row.entry, backupsOf(r.machine))
	if err != nil {
		return err
	}
	if !r.choice.asJSON {
		fmt.Fprint(r.env.Stdout, difference(change))
	}
	result := resultOf(row.place, change.Path, "planned")
	if !r.choice.dryRun {
		if result.State, result.Backup, err = r.apply(ctx, change, row, ask); err != nil {
			return err
		}
	}
	r.results = append(r.results, result)
	return nil
}

// apply makes the change if the person agrees, and says so.
func (r *removal) apply(ctx context.Context, change clientconfig.Change, row listed, ask person) (state, backup string, err error) {
	ok := r.choice.yes
	if !ok {
		if ok, err = ask.agrees(ctx, question(change, row.place)); err != nil || !ok {
			return "declined", "", err
		}
	}
	if backup, err = change.Apply(backupsOf(r.machine)); err != nil {
		if errors.Is(err, clientconfig.ErrConcurrent) {
			err = hinted{err, "it is as the other program left it; try again"}
		}
		return "", "", err
	}
	if !r.choice.asJSON {
		fmt.Fprintf(r.env.Stdout, "removed %s from %s: %s\n  the file as it was: %s\n", row.Name, row.place, change.Path, backup)
	}
	return "removed", backup, nil
}

// complete offers the names of the entries that there are.
func (r *removal) complete(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	m, err := machineOf(r.env)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	rows, _ := entriesOf(r.env, m, r.choice) // there is nobody to tell
	var names []string
	for _, row := range rows {
		if row.Name != "" && strings.HasPrefix(row.Name, typed) {
			names = append(names, row.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
