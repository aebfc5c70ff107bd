package cli

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"drawbridge/internal/clientconfig"
)

func newList(env Env) *cobra.Command {
	choice := clientChoice{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show which MCP clients start drawbridge, for which server, and what is wrong there",
		Long: `list reads the configuration files of the MCP clients it knows: yours, and those of the project that the current directory
is in.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return list(env, choice) },
	}
	choice.register(cmd, "")
	return cmd
}

// listed is an entry of a client that starts this program. Its JSON form is stable.
type listed struct {
	Client  string `json:"client"`
	Scope   string `json:"scope"`
	Name    string `json:"name,omitempty"`
	Server  string `json:"server,omitempty"`
	Profile string `json:"profile,omitempty"`
	File    string `json:"file"`
	Command string `json:"command,omitempty"`
	Problem string `json:"problem,omitempty"`

	place place
	entry clientconfig.Entry
}

func list(env Env, choice clientChoice) error {
	m, err := machineOf(env)
	if err != nil {
		return err
	}
	rows, err := entriesOf(env, m, choice)
	switch {
	case err != nil:
		return err
	case choice.asJSON:
		return printJSON(env, rows)
	case len(rows) == 0:
		_, err := fmt.Fprintln(env.Stdout, "no MCP client starts drawbridge; add one with: drawbridge add URL")
		return err
	}
	return printListed(env, rows)
}

// printListed prints a table, and below it what is wrong, which is longer than a line.
func printListed(env Env, rows []listed) error {
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT\tSCOPE\tNAME\tSERVER\tSTATE")
	var problems []string
	for _, r := range rows {
		state := "ok"
		if r.Problem != "" {
			state = "broken"
			problems = append(problems, fmt.Sprintf("%s in %s: %s", orDash(r.Name, "file"), r.place, r.Problem))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Client, r.Scope, orDash(r.Name, "-"), orDash(r.Server, "-"), state)
	}
	err := w.Flush()
	for _, p := range problems {
		fmt.Fprintln(env.Stdout, "\n"+p)
	}
	return err
}

// entriesOf reads the configurations that are meant. A file that cannot be read is a row with a problem.
func entriesOf(env Env, m clientconfig.Machine, choice clientChoice) ([]listed, error) {
	places, err := choice.places(func(clientconfig.Client) bool { return true })
	if err != nil {
		return nil, err
	}
	rows := []listed{}
	read, broken := map[string]bool{}, map[string]bool{}
	for _, p := range places {
		path, _ := p.client.Path(m, p.scope) // it has the scope
		if p.scope != clientconfig.Local && read[path] {
			continue // in the home directory, the project's file is the person's
		}
		read[path] = true
		row := listed{Client: p.client.ID, Scope: string(p.scope), File: path, place: p}
		entries, err := p.client.Entries(m, p.scope)
		if err != nil && !broken[path] {
			broken[path] = true // once for all scopes in it
			row.Problem = strings.Map(visible, err.Error())
			rows = append(rows, row)
		}
		for _, e := range entries {
			if isOurs(env, e) {
				rows = append(rows, row.of(e))
			}
		}
	}
	return rows, nil
}

// isOurs reports whether an entry starts this program, by whatever path.
func isOurs(env Env, e clientconfig.Entry) bool {
	self, err := env.Executable()
	return programName(e.Command) == "drawbridge" || err == nil && e.Command == self
}

// programName is the last part of a path of any system.
func programName(command string) string {
	base := command[strings.LastIndexAny(command, `/\`)+1:]
	return strings.TrimSuffix(strings.ToLower(base), ".exe")
}

// of is the row of an entry: what it leads to, and what is wrong with it. It shows no argument but the server and profile.
func (r listed) of(e clientconfig.Entry) listed {
	r.entry, r.Name, r.Command = e, strings.Map(visible, e.Name), strings.Map(visible, e.Command)
	line, err := parseClientLine(e.Args)
	if err == nil {
		r.Server, r.Profile = line.url, line.options.profile
		_, err = line.args()
		err = errors.Join(secretInURL(line.url), err)
	}
	if secretInURL(line.url) != nil {
		r.Server, _, _ = strings.Cut(line.url, "?")
	}
	if _, missing := exec.LookPath(e.Command); missing != nil {
		err = errors.Join(fmt.Errorf("there is no program %q", e.Command), err)
	}
	if err != nil {
		r.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return r
}
