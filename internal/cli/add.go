package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"drawbridge/internal/clientconfig"
)

func newAdd(env Env) *cobra.Command {
	a := &addition{env: env}
	cmd := &cobra.Command{
		Use:   "add URL [flags] [-- flags of the bridge]",
		Short: "Put the MCP server at URL into the configuration of your MCP clients, and sign in",
		Long: `add finds the MCP clients on this machine, shows what it would change in their configuration and asks, signs you in, checks
that a client can start the result, and writes it. It keeps a copy of each file, and everything in it but the new entry.
Flags of the bridge, such as --client-id, become part of the entry.`,
		Example: `  drawbridge add https://mcp.example.com/mcp
  drawbridge add https://mcp.example.com/mcp --client claude-code --yes
  drawbridge add https://mcp.example.com/mcp --client cursor -- --client-id mcp-laptops
  drawbridge add https://mcp.example.com/mcp --print`,
		Args: cobra.ArbitraryArgs, // judged with the flags behind --
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.read(cmd, args); err != nil {
				return err
			}
			return a.run(cmd.Context())
		},
	}
	a.choice.register(cmd, string(clientconfig.User))
	a.choice.registerChange(cmd)
	cmd.Flags().StringVar(&a.name, "name", "", "name of the entry (default: from the host of the URL)")
	cmd.Flags().BoolVar(&a.print, "print", false, "print the entry for a client's configuration, and do nothing else")
	cmd.Flags().BoolVar(&a.noLogin, "no-login", false, "do not sign in, and do not ask the server for its tools")
	return cmd
}

// addition is one run of add.
type addition struct {
	env            Env
	choice         clientChoice
	name           string
	print, noLogin bool

	line    clientLine
	machine clientconfig.Machine
	ask     person
	result  addResult
}

// addResult is what add reports. Its JSON form is stable.
type addResult struct {
	Server   string       `json:"server"`
	Name     string       `json:"name"`
	Args     []string     `json:"args"`
	SignedIn bool         `json:"signed_in"` // a client that starts it now finds the sign-in; false where that was not looked at
	Tools    int          `json:"tools"`     // how many the server lists
	Clients  []fileResult `json:"clients"`
}

// fileResult is what became of one file.
type fileResult struct {
	Client  string `json:"client"`
	Scope   string `json:"scope"`
	File    string `json:"file"`
	State   string `json:"state"` // added, replaced, removed, unchanged, declined, planned or failed
	Backup  string `json:"backup,omitempty"`
	Problem string `json:"problem,omitempty"`
}

func resultOf(p place, path, state string) fileResult {
	return fileResult{Client: p.client.ID, Scope: string(p.scope), File: path, State: state}
}

// read takes the command line apart: flags of the bridge count before and behind --.
func (a *addition) read(cmd *cobra.Command, args []string) (err error) {
	behind := cmd.ArgsLenAtDash()
	if behind < 0 {
		behind = len(args)
	}
	if err := oneURL(cmd, args[:behind]); err != nil {
		return err
	}
	var words []string
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			for _, value := range valuesOf(f) {
				words = append(words, flagWords(f, value)...)
			}
		}
	})
	if a.line, err = parseClientLine(slices.Concat(words, args[:1], args[behind:])); err != nil {
		return err
	}
	if err := errors.Join(secretInURL(a.line.url), a.line.options.translate(a.env, a.line.url)); err != nil {
		return err
	}
	if !a.shared() {
		if err := a.line.pinStore(a.env); err != nil {
			return err
		}
	}
	if a.name == "" {
		a.name = entryName(a.line.url)
	}
	a.machine, err = machineOf(a.env)
	a.ask = person{bufio.NewReader(a.env.Stdin), a.env.Stderr}
	a.env.Stdin = a.ask.in // the sign-in reads what the questions left
	a.result = addResult{Server: a.line.url, Name: a.name}
	return errors.Join(checkEntryName(a.name), err)
}

// shared reports whether the entry is for others too, who keep their tokens where they like.
func (a *addition) shared() bool { return a.choice.scope == string(clientconfig.Project) }

func (a *addition) run(ctx context.Context) (err error) {
	if a.choice.scope == "" {
		return usageError{errors.New("--config-scope: want " + strings.Join(scopeNames(), ", "))}
	}
	if a.result.Args, err = a.line.args(); err != nil {
		return err
	}
	if a.print {
		return a.printEntries()
	}
	plans, err := a.plan()
	if err != nil {
		return err
	}
	if a.choice.dryRun {
		return a.finish(nil)
	}
	if plans, err = a.agreed(ctx, plans); err != nil {
		return err
	}
	if len(plans) > 0 || a.has("unchanged") {
		if err := a.prepare(ctx); err != nil {
			return hinted{fmt.Errorf("nothing was written: %w", err), firstOf(hintOf(err), "correct that and try again, or write the entry all the same with --no-login")}
		}
	}
	return a.finish(a.write(plans))
}

// entry is what goes into a client's configuration.
func (a *addition) entry(scope clientconfig.Scope) (clientconfig.Entry, error) {
	command, err := program(a.env, scope)
	return clientconfig.Entry{
		Name: a.name, Command: command, Args: a.result.Args,
		Variables: a.line.variables(), Session: setVariables(a.env, sessionVariables),
	}, err
}

// printEntries prints what to write by hand: for the clients that were named, else what most clients read.
func (a *addition) printEntries() error {
	if a.choice.clients == nil {
		a.choice.clients, a.choice.scope = []string{"cursor"}, string(clientconfig.User)
	}
	places, err := a.choice.places(nil)
	for _, p := range places {
		entry, err := a.entry(p.scope)
		if err != nil {
			return err
		}
		text, err := p.client.Snippet(a.machine, p.scope, entry)
		if err != nil {
			return err
		}
		if len(places) > 1 {
			path, _ := p.client.Path(a.machine, p.scope) // it has the scope
			fmt.Fprintf(a.env.Stdout, "# %s: %s\n", p, path)
		}
		if _, err := a.env.Stdout.Write(text); err != nil {
			return err
		}
	}
	return err
}

// plan is a change of a client's configuration.
type plan struct {
	place
	change clientconfig.Change
	state  string // when it is made
}

// plan works out every change and shows it. What cannot be changed is reported, and does not keep the others.
func (a *addition) plan() (plans []plan, err error) {
	places, err := a.choice.places(func(c clientconfig.Client) bool { return c.Installed(a.machine) })
	if err != nil {
		return nil, err
	}
	if len(places) == 0 {
		return nil, hinted{fmt.Errorf("no MCP client with the scope %q was found on this machine", a.choice.scope),
			"name one with --client (" + strings.Join(clientIDs(), ", ") + "), or see what to write with --print"}
	}
	for _, at := range places {
		path, _ := at.client.Path(a.machine, at.scope) // it has the scope
		p, err := a.planOne(at)
		switch {
		case errors.Is(err, clientconfig.ErrUnchanged):
			a.note(resultOf(at, path, "unchanged"))
		case err != nil && len(places) == 1:
			return nil, a.explain(at, err)
		case err != nil:
			report(a.env.Stderr, a.explain(at, err))
			r := resultOf(at, path, "failed")
			r.Problem = err.Error()
			a.note(r)
		default:
			a.show(p.change)
			plans = append(plans, p)
			if a.choice.dryRun {
				a.note(resultOf(at, path, "planned"))
			}
		}
	}
	return plans, nil
}

// planOne works out the change of one file. An entry that starts drawbridge for this server already is replaced.
func (a *addition) planOne(at place) (plan, error) {
	entry, err := a.entry(at.scope)
	if err != nil {
		return plan{}, err
	}
	change, err := at.client.Add(a.machine, at.scope, entry)
	if !errors.Is(err, clientconfig.ErrTaken) {
		return plan{at, change, "added"}, err
	}
	entries, readErr := at.client.Entries(a.machine, at.scope)
	same := func(e clientconfig.Entry) bool {
		line, err := parseClientLine(e.Args)
		return e.Name == entry.Name && isOurs(a.env, e) && err == nil && sameServer(line.url, a.line.url)
	}
	if readErr != nil || !slices.ContainsFunc(entries, same) {
		return plan{}, err
	}
	change, err = at.client.Replace(a.machine, at.scope, entry)
	return plan{at, change, "replaced"}, err
}

// explain says what can be done about a file that cannot be changed.
func (a *addition) explain(p place, err error) error {
	err = fmt.Errorf("add to %s: %w", p, err)
	switch {
	case errors.Is(err, clientconfig.ErrTaken):
		return hinted{err, fmt.Sprintf("choose another name with --name, or take the other one out: drawbridge remove %s --client %s", a.name, p.client.ID)}
	case errors.Is(err, clientconfig.ErrReadOnly):
		return hinted{err, "make it writable, or see what to write with --print --client " + p.client.ID}
	}
	return err
}

func (a *addition) note(r fileResult) { a.result.Clients = append(a.result.Clients, r) }

func (a *addition) has(state string) bool {
	return slices.ContainsFunc(a.result.Clients, func(r fileResult) bool { return r.State == state })
}

func (a *addition) show(c clientconfig.Change) {
	if !a.choice.asJSON {
		fmt.Fprint(a.env.Stdout, difference(c))
	}
}

// agreed asks about each change.
func (a *addition) agreed(ctx context.Context, plans []plan) (agreed []plan, err error) {
	for _, p := range plans {
		ok := a.choice.yes
		if !ok {
			if ok, err = a.ask.agrees(ctx, question(p.change, p.place)); err != nil {
				return nil, err
			}
		}
		if ok {
			agreed = append(agreed, p)
		} else {
			a.note(resultOf(p.place, p.change.Path, "declined"))
		}
	}
	return agreed, nil
}

// prepare signs in if that is needed, and sees that a client that starts the entry finds what it looks for.
func (a *addition) prepare(ctx context.Context) error {
	entry, err := a.entry(clientconfig.Scope(a.choice.scope))
	if err != nil {
		return err
	}
	bare, err := a.withoutSignIn()
	if err != nil {
		return err
	}
	s, err := tryStart(ctx, entry, a.variablesFor(), !bare)
	if err != nil || bare {
		return err
	}
	if s.needsHuman {
		if err := a.signIn(ctx); err != nil {
			return err
		}
		if s, err = tryStart(ctx, entry, a.variablesFor(), true); err != nil {
			return err
		}
	}
	if s.needsHuman {
		return hinted{errors.New("you signed in, but drawbridge, started as a client starts it, does not find the sign-in"), "look with drawbridge status, and see what it logs with --debug"}
	}
	a.result.SignedIn, a.result.Tools = true, len(s.tools)
	return nil
}

// variablesFor is the environment that the entry is tried with. Variables of our own are left out: what the entry needs has to
// be in it. Of an entry that is shared, it does not.
func (a *addition) variablesFor() []string {
	if a.shared() {
		return os.Environ()
	}
	return slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "DRAWBRIDGE_") })
}

// withoutSignIn reports whether there is nobody to sign in now: it was not wanted, or the sign-in would be forgotten at once.
// Otherwise it makes sure that the token store can be used.
func (a *addition) withoutSignIn() (bool, error) {
	if a.noLogin || a.line.options.tokenStore == "memory" {
		return true, nil
	}
	return false, a.line.options.prepareStore(a.env)
}

func (a *addition) signIn(ctx context.Context) error {
	credential, location, err := signIn(ctx, a.env, a.line.options, a.line.url)
	if err == nil && !a.choice.asJSON {
		tellSignedIn(a.env, credential, location)
	}
	return err
}

// write makes the changes that were agreed to.
func (a *addition) write(plans []plan) error {
	var errs []error
	for _, p := range plans {
		r := resultOf(p.place, p.change.Path, p.state)
		backup, err := p.change.Apply(backupsOf(a.machine))
		r.Backup = backup
		if err != nil {
			err = fmt.Errorf("add to %s: %w", p, err)
			r.State, r.Problem = "failed", err.Error()
			errs = append(errs, err)
		}
		a.note(r)
	}
	if err := errors.Join(errs...); err != nil {
		return hinted{err, "this file is as it was; try again"}
	}
	return nil
}

// finish reports what became of everything.
func (a *addition) finish(err error) error {
	if a.choice.asJSON {
		err = errors.Join(err, printJSON(a.env, a.result))
	} else {
		a.tell()
	}
	if err == nil && a.has("failed") {
		return errors.New("not every client could be changed")
	}
	return err
}

func (a *addition) tell() {
	for _, r := range a.result.Clients {
		client, _ := clientconfig.ClientByID(r.Client)
		switch r.State {
		case "added", "replaced":
			word := map[string]string{"added": "added %s to", "replaced": "replaced %s in"}[r.State]
			fmt.Fprintf(a.env.Stdout, word+" %s (%s): %s\n", a.name, client.Name, r.Scope, r.File)
			if r.Backup != "" {
				fmt.Fprintf(a.env.Stdout, "  the file as it was: %s\n", r.Backup)
			}
		case "unchanged":
			fmt.Fprintf(a.env.Stdout, "%s is in %s (%s) already: %s\n", a.name, client.Name, r.Scope, r.File)
		case "declined":
			fmt.Fprintf(a.env.Stdout, "left %s (%s) as it is\n", client.Name, r.Scope)
		}
	}
	if a.result.SignedIn {
		fmt.Fprintf(a.env.Stdout, "started as a client starts it, it lists %d tools of the server\n", a.result.Tools)
	}
}
