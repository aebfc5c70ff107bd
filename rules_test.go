package drawbridge_test

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"strings"
)

// rules are the rules of the tree by name; each returns what breaks it.
var rules = map[string]func([]file) []string{
	"imports":         importRule,
	"package comment": commentRule,
	"environment":     environmentRule,
	"product code":    productRule,
	"tests":           testRule,
	"size":            sizeRule,
}

// layers says which layers each layer may import. A layer is a directory with all below it that is no layer of its own.
// docs/design.md shows the same as a picture. A package outside every layer fails, so that its place is decided.
var layers = map[string][]string{
	"":                      {},
	"cmd/drawbridge":        {"internal/cli"},
	"cmd/drawbridge-guard":  {"auth/guard", "internal/secret"},
	"internal/cli":          {"bridge", "auth", "auth/guard", "tokenstore", "internal/clientconfig", "internal/demo", "internal/secret"},
	"bridge":                {"bridge/envelope"},
	"bridge/envelope":       {},
	"auth":                  {"tokenstore", "internal/markup", "internal/secret"},
	"auth/guard":            {"bridge/envelope", "internal/secret"}, // what a message asks for is read in one place
	"tokenstore":            {"internal/secret"},
	"internal/clientconfig": {},
	"internal/demo":         {"internal/markup", "internal/secret"},
	"internal/bench":        {"bridge", "bridge/envelope", "internal/demo"},
	"internal/markup":       {},
	"internal/secret":       {},
	"e2e":                   {},
}

// forTests may be imported by every test.
var forTests = []string{"internal/demo", "internal/secret"}

// typedSDK may be imported only where messages are not the user's: the bridge moves raw bytes, which the SDK's types
// would alter.
const typedSDK = "github.com/modelcontextprotocol/go-sdk/mcp"

var mayUseTypedSDK = []string{"internal/demo"}

// wiring are the layers that may touch the process: its streams, arguments, environment and end.
var wiring = []string{"cmd/drawbridge", "cmd/drawbridge-guard", "internal/bench", "internal/cli"}

// process is what only wiring may use. Directories that derive from variables count as environment.
var process = map[string][]string{
	"os": {
		"Stdin", "Stdout", "Stderr", "Args", "Exit", "Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv",
		"Clearenv", "UserHomeDir", "UserCacheDir", "UserConfigDir", "TempDir",
	},
	"fmt":     {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
	"syscall": {"Getenv", "Environ", "Setenv", "Exit"},
	"log": {
		"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln", "Print", "Printf", "Println", "Default", "SetOutput",
	},
	"log/slog": {
		"Default", "SetDefault", "Debug", "DebugContext", "Info", "InfoContext", "Warn", "WarnContext", "Error", "ErrorContext",
		"Log", "LogAttrs", "With",
	},
	"os/signal": {"Notify", "NotifyContext", "Ignore", "Reset"},
}

// Limits of the size rule, in lines.
const (
	maxFile   = 500
	maxMedian = 12 // of all functions that are not tests
)

// layer returns the layer that a package belongs to.
func layer(dir string) (string, bool) {
	for d := dir; ; {
		if _, ok := layers[d]; ok && (d != "" || dir == "") {
			return d, true
		}
		cut := strings.LastIndexByte(d, '/')
		if cut < 0 {
			return "", false
		}
		d = d[:cut]
	}
}

func importRule(files []file) (broken []string) {
	for _, f := range files {
		from, ok := layer(f.dir)
		if !ok {
			broken = append(broken, f.name+": package belongs to no layer")
			continue
		}
		for _, p := range f.imported() {
			if why := forbiddenImport(f, from, p); why != "" {
				broken = append(broken, fmt.Sprintf("%s: must not import %s%s", f.name, p, why))
			}
		}
	}
	return broken
}

// forbiddenImport says why a file of a layer must not import a path, or nothing.
func forbiddenImport(f file, from, imported string) string {
	if imported == typedSDK && !f.test && !slices.Contains(mayUseTypedSDK, from) {
		return ": the SDK's types alter messages"
	}
	dir, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return ""
	}
	to, _ := layer(dir)
	allowed := to == from || slices.Contains(layers[from], to) || f.test && slices.Contains(forTests, to)
	if allowed {
		return ""
	}
	return " (see layers)"
}

// commentRule wants one package comment a package, in a file that is not a test unless all are.
func commentRule(files []file) (broken []string) {
	hasProduct, commented := map[string]bool{}, map[string][]string{}
	for _, f := range files {
		hasProduct[f.dir] = hasProduct[f.dir] || !f.test
	}
	for _, f := range files {
		if f.ast.Doc != nil && f.test != hasProduct[f.dir] {
			commented[f.dir] = append(commented[f.dir], f.name)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(hasProduct)) {
		if names := commented[dir]; len(names) != 1 {
			broken = append(broken, fmt.Sprintf("package %q has %d package comments, want 1: %v", dir, len(names), names))
		}
	}
	return broken
}

func environmentRule(files []file) (broken []string) {
	for _, f := range files {
		if from, _ := layer(f.dir); f.test || slices.Contains(wiring, from) {
			continue
		}
		broken = append(broken, f.uses(process)...)
	}
	return broken
}

// productRule keeps test machinery out of the binary. Importing net/http/httptest would register a flag.
func productRule(files []file) (broken []string) {
	for _, f := range files {
		for _, p := range f.imported() {
			if !f.test && (p == "testing" || strings.HasPrefix(p, "testing/") || p == "net/http/httptest") {
				broken = append(broken, fmt.Sprintf("%s: must not import %s", f.name, p))
			}
		}
	}
	return broken
}

// testRule: a test neither skips nor waits by sleeping. In a synctest bubble, where time is not real, Sleep is how it
// passes.
func testRule(files []file) (broken []string) {
	for _, f := range files {
		if !f.test {
			continue
		}
		bubbles := f.calls("testing/synctest", "Test")
		for _, sleep := range f.calls("time", "Sleep") {
			inside := func(b *ast.CallExpr) bool { return b.Pos() <= sleep.Pos() && sleep.End() <= b.End() }
			if !slices.ContainsFunc(bubbles, inside) {
				broken = append(broken, f.at(sleep)+": time.Sleep outside synctest.Test")
			}
		}
		broken = append(broken, f.skips()...)
	}
	return broken
}

func sizeRule(files []file) (broken []string) {
	var lengths []int
	for _, f := range files {
		if f.lines > maxFile {
			broken = append(broken, fmt.Sprintf("%s: %d lines, at most %d", f.name, f.lines, maxFile))
		}
		if !f.test {
			lengths = append(lengths, f.functions()...)
		}
	}
	slices.Sort(lengths)
	if len(lengths) > 0 && lengths[len(lengths)/2] > maxMedian {
		broken = append(broken, fmt.Sprintf("the median function has %d lines, at most %d", lengths[len(lengths)/2], maxMedian))
	}
	return broken
}

// functions returns the lengths of the file's functions in lines, from func to the closing brace.
func (f file) functions() (lengths []int) {
	for _, decl := range f.ast.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			lengths = append(lengths, f.fset.Position(fn.End()).Line-f.fset.Position(fn.Pos()).Line+1)
		}
	}
	return lengths
}

// uses finds the selectors of the table, names by import path, and the builtins that print.
func (f file) uses(table map[string][]string) (found []string) {
	paths := f.names()
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok && slices.Contains(table[paths[pkg.Name]], n.Sel.Name) {
				found = append(found, fmt.Sprintf("%s: %s.%s", f.at(n), pkg.Name, n.Sel.Name))
			}
		case *ast.CallExpr:
			if fn, ok := n.Fun.(*ast.Ident); ok && (fn.Name == "print" || fn.Name == "println") {
				found = append(found, fmt.Sprintf("%s: %s", f.at(n), fn.Name))
			}
		}
		return true
	})
	return found
}

// calls returns the calls of a function of an imported package.
func (f file) calls(importPath, name string) (calls []*ast.CallExpr) {
	paths := f.names()
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == name {
			if pkg, ok := sel.X.(*ast.Ident); ok && paths[pkg.Name] == importPath {
				calls = append(calls, call)
			}
		}
		return true
	})
	return calls
}

// skips finds calls of methods that only tests have, whatever the receiver is called.
func (f file) skips() (found []string) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
			found = append(found, f.at(n)+": "+sel.Sel.Name)
		}
		return true
	})
	return found
}
