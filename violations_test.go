package drawbridge_test

import "strings"

// violations are small trees and what a rule says of them.
var violations = []struct {
	name, rule string
	tree       map[string]string
	want       []string
}{
	{
		"bridge imports auth", "imports",
		map[string]string{"bridge/a.go": "package bridge\nimport \"drawbridge/auth\""},
		[]string{"bridge/a.go: must not import drawbridge/auth (see layers)"},
	}, {
		"a package below bridge imports auth", "imports",
		map[string]string{"bridge/sse/a.go": "package sse\nimport _ \"drawbridge/auth\""},
		[]string{"bridge/sse/a.go: must not import drawbridge/auth (see layers)"},
	}, {
		"auth imports its guard", "imports",
		map[string]string{"auth/a.go": "package auth\nimport \"drawbridge/auth/guard\""},
		[]string{"auth/a.go: must not import drawbridge/auth/guard (see layers)"},
	}, {
		"a test of the token store imports auth", "imports",
		map[string]string{"tokenstore/a_test.go": "package tokenstore\nimport \"drawbridge/auth\""},
		[]string{"tokenstore/a_test.go: must not import drawbridge/auth (see layers)"},
	}, {
		"the demo imports bridge", "imports",
		map[string]string{"internal/demo/a.go": "package demo\nimport \"drawbridge/bridge\""},
		[]string{"internal/demo/a.go: must not import drawbridge/bridge (see layers)"},
	}, {
		"the file of another system counts", "imports",
		map[string]string{"tokenstore/a_windows.go": "package tokenstore\nimport \"drawbridge/auth\""},
		[]string{"tokenstore/a_windows.go: must not import drawbridge/auth (see layers)"},
	}, {
		"an undecided package", "imports",
		map[string]string{"internal/util/a.go": "package util"},
		[]string{"internal/util/a.go: package belongs to no layer"},
	}, {
		"the bridge decodes messages", "imports",
		map[string]string{"bridge/a.go": "package bridge\nimport \"" + typedSDK + "\""},
		[]string{"bridge/a.go: must not import " + typedSDK + ": the SDK's types alter messages"},
	}, {
		"imports as they should be", "imports",
		map[string]string{
			"internal/cli/a.go":   "package cli\nimport (\n\"drawbridge/auth\"\n\"drawbridge/bridge/sse\"\n)",
			"auth/a.go":           "package auth\nimport \"drawbridge/tokenstore\"",
			"bridge/a_test.go":    "package bridge\nimport (\n\"drawbridge/internal/demo\"\n\"" + typedSDK + "\"\n)",
			"bridge/sse/a.go":     "package sse\nimport \"drawbridge/bridge/stdio\"",
			"cmd/drawbridge/a.go": "package main\nimport \"drawbridge/internal/cli\"",
		},
		nil,
	}, {
		"no package comment, and two", "package comment",
		map[string]string{
			"auth/a.go": "package auth", "auth/a_test.go": "// Package auth tests.\npackage auth",
			"bridge/a.go": "// Package bridge is.\npackage bridge", "bridge/b.go": "// Package bridge is too.\npackage bridge",
		},
		[]string{
			`package "auth" has 0 package comments, want 1: []`,
			`package "bridge" has 2 package comments, want 1: [bridge/a.go bridge/b.go]`,
		},
	}, {
		"one package comment", "package comment",
		map[string]string{
			"auth/a.go": "// Package auth is.\npackage auth", "auth/b.go": "//go:build linux\n\npackage auth",
			"e2e/a_test.go": "// Package e2e is.\npackage e2e",
		},
		nil,
	}, {
		"a library touches the process", "environment",
		map[string]string{"auth/a.go": `package auth
import (
	"fmt"
	sys "os"
	"log"
	"log/slog"
)
func f() {
	sys.Exit(len(sys.Args))
	fmt.Println(sys.Getenv("HOME"))
	log.Fatal(slog.Default())
	println()
}`},
		[]string{
			"auth/a.go:9: sys.Exit", "auth/a.go:9: sys.Args", "auth/a.go:10: fmt.Println", "auth/a.go:10: sys.Getenv",
			"auth/a.go:11: log.Fatal", "auth/a.go:11: slog.Default", "auth/a.go:12: println",
		},
	}, {
		"the composition root and tests may", "environment",
		map[string]string{
			"internal/cli/a.go":   "package cli\nimport \"os\"\nvar out = os.Stdout",
			"cmd/drawbridge/a.go": "package main\nimport \"os\"\nfunc main() { os.Exit(0) }",
			"auth/a_test.go":      "package auth\nimport \"os\"\nvar home = os.Getenv(\"HOME\")",
			"auth/a.go":           "package auth\nimport \"os\"\nvar read = os.ReadFile",
		},
		nil,
	}, {
		"test machinery in the product", "product code",
		map[string]string{"internal/demo/a.go": "package demo\nimport (\n\"net/http/httptest\"\n\"testing\"\n)"},
		[]string{"internal/demo/a.go: must not import net/http/httptest", "internal/demo/a.go: must not import testing"},
	}, {
		"a test sleeps and skips", "tests",
		map[string]string{"auth/a_test.go": `package auth
import (
	"testing"
	"testing/synctest"
	"time"
)
func TestA(t *testing.T) {
	time.Sleep(1)
	synctest.Test(t, func(t *testing.T) { time.Sleep(1) })
	t.Skip("later")
}`},
		[]string{"auth/a_test.go:8: time.Sleep outside synctest.Test", "auth/a_test.go:10: Skip"},
	}, {
		"a long file, long functions", "size",
		map[string]string{
			"auth/a.go": "package auth\nfunc f() {\n" + strings.Repeat("\n", 20) + "}\n",
			"auth/b.go": "package auth\n" + strings.Repeat("//\n", 500),
		},
		[]string{"auth/b.go: 501 lines, at most 500", "the median function has 22 lines, at most 12"},
	},
}
