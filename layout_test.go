// Package drawbridge_test holds the rules that the whole tree obeys: who may import whom, who may touch the process's
// environment, how long files and functions are, what tests may not do. The rules are written in rules_test.go.
package drawbridge_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// module is the path that our own imports start with.
const module = "drawbridge"

// file is a parsed Go file of the tree, whatever its build constraints: files for other systems obey the same rules.
type file struct {
	name  string // path below the root
	dir   string // package path below the module; "" is the root
	test  bool
	lines int
	fset  *token.FileSet
	ast   *ast.File
}

// load parses every Go file of the tree.
func load(t *testing.T, tree fs.FS) (files []file) {
	t.Helper()
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && skipped(name, entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		f, err := parse(tree, name)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// skipped names the directories that hold no package of ours: the go command leaves out the first kinds too.
func skipped(name, base string) bool {
	return name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules")
}

func parse(tree fs.FS, name string) (file, error) {
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return file{}, err
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	dir := path.Dir(name)
	if dir == "." {
		dir = ""
	}
	return file{
		name: name, dir: dir, test: strings.HasSuffix(name, "_test.go"), fset: fset, ast: parsed,
		lines: strings.Count(string(text), "\n"),
	}, err
}

// at says where a node is.
func (f file) at(n ast.Node) string {
	return f.name + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line)
}

// imported returns the paths that the file imports.
func (f file) imported() (paths []string) {
	for _, spec := range f.ast.Imports {
		paths = append(paths, importPath(spec))
	}
	return paths
}

// names returns the paths that the file imports by the name they have in it.
func (f file) names() map[string]string {
	paths := map[string]string{}
	for _, spec := range f.ast.Imports {
		name := path.Base(importPath(spec))
		if spec.Name != nil {
			name = spec.Name.Name
		}
		paths[name] = importPath(spec)
	}
	return paths
}

func importPath(spec *ast.ImportSpec) string {
	p, _ := strconv.Unquote(spec.Path.Value) // the parser accepts nothing that is not quoted
	return p
}

// TestLayout applies every rule to the tree.
func TestLayout(t *testing.T) {
	files := load(t, os.DirFS("."))
	if len(files) < 10 {
		t.Fatalf("found %d Go files: is this the root of the module?", len(files))
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			for _, violation := range rule(files) {
				t.Error(violation)
			}
		})
	}
}

// TestRulesCatch shows each rule a tree that breaks it, and one that does not.
func TestRulesCatch(t *testing.T) {
	for _, test := range violations {
		t.Run(test.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, text := range test.tree {
				tree[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got := rules[test.rule](load(t, tree))
			if !slices.Equal(got, test.want) {
				t.Errorf("rule %q:\n got %q\nwant %q", test.rule, got, test.want)
			}
		})
	}
}

// TestLinked looks at what is linked, not only at what is imported directly: a package must not bring in through others
// what it may not import.
func TestLinked(t *testing.T) {
	const (
		sdk       = "github.com/modelcontextprotocol/go-sdk/mcp"
		policy    = "github.com/cedar-policy/cedar-go"
		telemetry = "go.opentelemetry.io/otel"
	)
	for pkg, banned := range map[string][]string{
		"bridge":          {sdk, "golang.org/x/oauth2", "github.com/zalando/go-keyring", "github.com/spf13/cobra", "testing"},
		"auth":            {sdk, "github.com/spf13/cobra", "testing"},
		"auth/guard":      {sdk, policy, telemetry, "golang.org/x/oauth2", "github.com/spf13/cobra", "testing"},
		"tokenstore":      {sdk, "net/http", "golang.org/x/oauth2", "testing"},
		"internal/markup": {"net/http", "testing"},
		"internal/secret": {"net/http", "testing"},
		"cmd/drawbridge":  {policy, telemetry, sdk, "testing", "net/http/httptest", "html/template"},
	} {
		t.Run(pkg, func(t *testing.T) {
			linked := dependencies(t, "./"+pkg)
			for _, dep := range banned {
				if slices.Contains(linked, dep) {
					t.Errorf("%s links %s", pkg, dep)
				}
			}
		})
	}
}

func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}
