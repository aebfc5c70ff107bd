package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"drawbridge/internal/cli"
	"drawbridge/internal/demo"
)

// These tests drive the real program, built once, as MCP clients and people do. The test binary plays more programs:
//
//	person      the command in BROWSER: opens the address it is given and signs in
//	mcpserver   an MCP server, to be stopped and killed
//	drawbridge  in scripts: runs the real program and keeps a record of its arguments and output

// binary is the program under test.
var binary string

// program ties the program to the test binary. The go command keeps a result for as long as the test binary is the same,
// and what TestMain builds is no part of that: after a change of the program, these tests passed without being run.
var program = cli.Main

func TestMain(m *testing.M) {
	testscript.Main(builder{m}, map[string]func(){"drawbridge": record, "person": person, "mcpserver": serve})
}

// builder builds the program before the tests run.
type builder struct{ *testing.M }

func (b builder) Run() int {
	defer runtime.KeepAlive(program)
	dir, err := os.MkdirTemp("", "drawbridge-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return b.M.Run()
}

func build(dir string) error {
	binary = filepath.Join(dir, "drawbridge")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build drawbridge: %w\n%s", err, out)
	}
	return nil
}

// Environment variables of the programs that the test binary plays.
const (
	varRecords = "TEST_RECORDS" // directory
	varBinary  = "TEST_BINARY"  // the real program
	varTabs    = "TEST_TABS"    // file: one line a tab that was opened, and beside it .pages: one line a tab that is done with
	varPerson  = "TEST_PERSON"  // who signs in: "ada" or "grace", with " denies" for one who does not consent, or "nobody"
	varGate    = "TEST_GATE"    // file that the person waits for before anything; "" for none
)

// record runs the real program and keeps arguments, standard output and standard error in a directory of their own.
func record() {
	dir, err := os.MkdirTemp(os.Getenv(varRecords), "run-")
	if err != nil {
		panic(err) // the environment is the tests' own
	}
	argv, _ := json.Marshal(os.Args[1:]) // strings always encode
	stdout, err1 := os.Create(filepath.Join(dir, "stdout"))
	stderr, err2 := os.Create(filepath.Join(dir, "stderr"))
	if err := errors.Join(err1, err2, os.WriteFile(filepath.Join(dir, "argv"), argv, 0o600)); err != nil {
		panic(err)
	}
	cmd := exec.Command(os.Getenv(varBinary), os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, io.MultiWriter(os.Stdout, stdout), io.MultiWriter(os.Stderr, stderr)
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		panic(err)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// person opens the address like somebody at a browser. What it prints must not reach anybody.
func person() {
	fmt.Println("chatter of a browser")
	address, tabs := os.Args[len(os.Args)-1], os.Getenv(varTabs)
	appendLine(tabs, address)
	appendLine(tabs+".pages", visit(address))
}

// visit returns what is to be said about the tab.
func visit(address string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name, deny := strings.CutSuffix(os.Getenv(varPerson), " denies")
	who, ok := map[string]demo.User{"ada": demo.Ada(), "grace": demo.Grace()}[name]
	if !ok || !gateOpens(ctx, os.Getenv(varGate)) {
		return "nobody looked at the tab"
	}
	page, err := demo.Human{Deny: deny}.SignIn(ctx, address, who.Name, who.Password)
	if err != nil {
		return fmt.Sprintf("%q: %v", page, err)
	}
	return fmt.Sprintf("%q", page)
}

// closed is what a gate holds that will not open any more.
const closed = "closed"

func gateOpens(ctx context.Context, gate string) bool {
	if gate == "" {
		return true
	}
	var text []byte
	there := poll(ctx, func() (ok bool) {
		var err error
		text, err = os.ReadFile(gate)
		return err == nil
	})
	return there && string(text) != closed
}

func appendLine(path, line string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(line + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		panic(err)
	}
}

// patience bounds every wait for something that must happen. It is far from what a slow machine needs.
const patience = 60 * time.Second

// poll asks until the answer is yes; it reports whether that was before ctx ended.
func poll(ctx context.Context, ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// eventually fails the test unless what comes true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !poll(within(t), ok) {
		t.Fatalf("%s: still not after %v", what, patience)
	}
}

// within returns a context for one wait.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
