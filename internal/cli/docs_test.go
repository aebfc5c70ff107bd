package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"drawbridge/internal/clientconfig"
)

// These tests hold the documents to the program: what one of them names must be in the other.

const docs = "../../docs/"

// names returns the first group of every match in the files of a pattern, sorted, each once.
func names(t *testing.T, files, pattern string) (found []string) {
	t.Helper()
	paths, err := filepath.Glob(files)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files %s, error %v", files, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			found = append(found, match[1])
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// flags returns the names of all flags of a command and those below it, sorted, each once.
func flags(c *cobra.Command) (found []string) {
	c.InitDefaultHelpFlag()
	for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		set.VisitAll(func(f *pflag.Flag) { found = append(found, "--"+f.Name) })
	}
	for _, sub := range c.Commands() {
		found = append(found, flags(sub)...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestEveryFlagIsDocumented(t *testing.T) {
	root := newRoot(Env{Stdout: io.Discard, Stderr: io.Discard, LookupEnv: func(string) (string, bool) { return "", false }})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	if diff := cmp.Diff(flags(root), names(t, docs+"configuration.md", `(--[a-z][a-z0-9-]*)`)); diff != "" {
		t.Errorf("docs/configuration.md (-program +document):\n%s", diff)
	}
}

func TestEveryVariableIsDocumented(t *testing.T) {
	documented := names(t, docs+"configuration.md", "`([A-Z][A-Z0-9_]+)`")
	for _, name := range names(t, "*.go", `[gG]etenv\("([A-Z0-9_]+)"\)`) {
		if !slices.Contains(documented, name) {
			t.Errorf("docs/configuration.md does not name the variable %s", name)
		}
	}
}

func TestEveryErrorKindHasASection(t *testing.T) {
	made := names(t, "../../bridge/*.go", `(?:kind: |codeRefused, |codeUnknown, )"([a-z_]+)"`)
	if diff := cmp.Diff(made, names(t, docs+"troubleshooting.md", "(?m)^### `([a-z_]+)`$")); diff != "" {
		t.Errorf("docs/troubleshooting.md (-program +document):\n%s", diff)
	}
}

// TestEveryClaimNamesATest looks for each test that the threat model names, "package TestName".
func TestEveryClaimNamesATest(t *testing.T) {
	claims := names(t, docs+"security.md", "`([a-z/0-9.-]+ Test[A-Za-z0-9]+)`")
	if len(claims) < 20 {
		t.Errorf("docs/security.md names %d tests: is it still written like this?", len(claims))
	}
	for _, claim := range claims {
		dir, test, _ := strings.Cut(claim, " ")
		if !slices.Contains(names(t, "../../"+dir+"/*_test.go", `(?m)^func (Test\w+)\(`), test) {
			t.Errorf("docs/security.md: there is no test %s in %s", test, dir)
		}
	}
}

// TestEveryFileNamedExists looks for each `dir/file.go` that a document sends its reader to.
func TestEveryFileNamedExists(t *testing.T) {
	for _, document := range []string{docs + "*.md", "../../*.md"} {
		for _, name := range names(t, document, "`([a-z0-9_./-]+\\.go)`") {
			if _, err := os.Stat("../../" + name); err != nil {
				t.Errorf("%s names %s, which is not there", document, name)
			}
		}
	}
}

// TestClientsDocument compares the examples of docs/clients.md with what add writes.
func TestClientsDocument(t *testing.T) {
	text, err := os.ReadFile(docs + "clients.md")
	if err != nil {
		t.Fatal(err)
	}
	m := clientconfig.Machine{OS: "linux", Home: "/home/ada", Config: "/home/ada/.config", Getenv: func(string) string { return "" }}
	e := clientconfig.Entry{Name: "example", Command: "/usr/local/bin/drawbridge", Args: []string{"https://mcp.example.com/mcp"}}
	for _, c := range clientconfig.Clients() {
		entry, err := c.Snippet(m, clientconfig.User, e)
		if err != nil || !strings.Contains(string(text), "\n"+string(entry)+"```") {
			t.Errorf("docs/clients.md does not show what %s gets: %v\n%s", c.Name, err, entry)
		}
		if row := "| " + c.Name + " | `" + c.ID + "` |"; !strings.Contains(string(text), row) {
			t.Errorf("docs/clients.md has no row %s", row)
		}
	}
}
