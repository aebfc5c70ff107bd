package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"drawbridge/internal/clientconfig"
)

// clientChoice are the flags that say which configurations are meant, and how a change is made.
type clientChoice struct {
	clients     []string
	scope       string
	yes, dryRun bool
	asJSON      bool
}

func (c *clientChoice) register(cmd *cobra.Command, scope string) {
	f := cmd.Flags()
	f.StringSliceVar(&c.clients, "client", nil, "MCP client: "+strings.Join(clientIDs(), ", ")+" (repeatable; default: each that is found)")
	f.StringVar(&c.scope, "config-scope", scope, "for whom: user, project, or local (you in this project; Claude Code only)")
	f.BoolVar(&c.asJSON, "json", false, "print JSON")
	must(cmd.RegisterFlagCompletionFunc("client", cobra.FixedCompletions(clientIDs(), cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("config-scope", cobra.FixedCompletions(scopeNames(), cobra.ShellCompDirectiveNoFileComp)))
}

func (c *clientChoice) registerChange(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&c.yes, "yes", "y", false, "change the files without asking")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "show the change and make none")
}

// must is for what can fail only by a mistake of ours.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func clientIDs() (ids []string) {
	for _, c := range clientconfig.Clients() {
		ids = append(ids, c.ID)
	}
	return ids
}

func scopeNames() (names []string) {
	for _, s := range clientconfig.Scopes() {
		names = append(names, string(s))
	}
	return names
}

// machineOf finds out where clients keep their files.
func machineOf(env Env) (clientconfig.Machine, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return clientconfig.Machine{}, fmt.Errorf("find your home directory: %w", err)
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return clientconfig.Machine{}, fmt.Errorf("find your configuration directory: %w", err)
	}
	work, err := os.Getwd()
	if err != nil {
		return clientconfig.Machine{}, fmt.Errorf("find the current directory: %w", err)
	}
	return clientconfig.Machine{OS: runtime.GOOS, Home: home, Config: config, Project: projectOf(work), Getenv: env.getenv}, nil
}

// projectOf is the repository that a directory is in, else the directory.
func projectOf(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, ".git")); err == nil {
			return d
		}
		if d == filepath.Dir(d) {
			return dir
		}
	}
}

func backupsOf(m clientconfig.Machine) clientconfig.Backups {
	return clientconfig.Backups{Dir: filepath.Join(m.Config, "drawbridge", "backups")}
}

// place is a configuration of a client.
type place struct {
	client clientconfig.Client
	scope  clientconfig.Scope
}

func (p place) String() string { return fmt.Sprintf("%s (%s)", p.client.Name, p.scope) }

// places returns the configurations that the flags name; without --client those of the clients for which want says yes.
func (c *clientChoice) places(want func(clientconfig.Client) bool) (places []place, err error) {
	if c.scope != "" && !slices.Contains(scopeNames(), c.scope) {
		return nil, usageError{fmt.Errorf("--config-scope %q: want %s", c.scope, strings.Join(scopeNames(), ", "))}
	}
	for _, id := range c.clients {
		client, ok := clientconfig.ClientByID(id)
		if !ok {
			return nil, usageError{hinted{fmt.Errorf("--client %q: this client is not known", id), "known are " + strings.Join(clientIDs(), ", ") + "; for others, drawbridge add --print shows what to write"}}
		}
		if c.scope != "" && !slices.Contains(client.Scopes(), clientconfig.Scope(c.scope)) {
			return nil, usageError{hinted{fmt.Errorf("--config-scope %s: %s has no such scope", c.scope, client.Name), fmt.Sprintf("it has %v", client.Scopes())}}
		}
	}
	for _, client := range clientconfig.Clients() {
		if c.clients == nil && !want(client) || c.clients != nil && !slices.Contains(c.clients, client.ID) {
			continue
		}
		for _, s := range client.Scopes() {
			if c.scope == "" || c.scope == string(s) {
				places = append(places, place{client, s})
			}
		}
	}
	return places, nil
}

// person asks questions on standard error and reads answers from standard input.
type person struct {
	in  *bufio.Reader
	out io.Writer
}

// question names the file, and the one that a link leads to: a project that came from somewhere may hold any link.
func question(c clientconfig.Change, at place) string {
	if target := c.Target(); target != c.Path {
		return fmt.Sprintf("Change %s of %s, which is a link to %s?", c.Path, at, target)
	}
	return fmt.Sprintf("Change %s of %s?", c.Path, at)
}

// agrees asks for a yes. Nobody there is an error, not a no. An interrupt ends the wait; the reading goes on until the
// process ends.
func (p person) agrees(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(p.out, "%s [y/N] ", question)
	type line struct {
		text string
		err  error
	}
	lines := make(chan line, 1)
	go func() {
		text, err := p.in.ReadString('\n')
		lines <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(p.out)
		return false, ctx.Err()
	case answer := <-lines:
		if answer.err != nil && answer.text == "" {
			fmt.Fprintln(p.out)
			return false, usageError{hinted{errors.New("nobody answered, and nothing was changed"), "--yes agrees beforehand, --dry-run only shows the change"}}
		}
		word := strings.ToLower(strings.TrimSpace(answer.text))
		return word == "y" || word == "yes", nil
	}
}

// difference shows a change as a unified diff. The lines around it, or all of it where a file is one line, belong to others:
// what looks like a secret is covered, and no file can play tricks with the terminal.
func difference(c clientconfig.Change) string {
	text := string(diff.Diff(c.Path, c.Before, c.Path, c.After))
	_, text, _ = strings.Cut(text, "\n") // "diff old new"
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(shownLine(strings.TrimRight(line, "\r\n")) + "\n")
	}
	return out.String()
}

// maxShown is the longest line that is shown, in characters: some files are one line.
const maxShown = 1000

func shownLine(line string) string {
	line = shownCredential.ReplaceAllString(line, "***")
	line = assignment.ReplaceAllStringFunc(line, coverSecret)
	shown := []rune(strings.Map(visible, line))
	if len(shown) > maxShown {
		return string(shown[:maxShown]) + " ..."
	}
	return string(shown)
}

func visible(r rune) rune {
	if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
		return '?'
	}
	return r
}
