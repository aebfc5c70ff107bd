package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"drawbridge/internal/demo"
	"drawbridge/internal/demo/sdk"
	"drawbridge/internal/secret"
)

// TestScript runs testdata/script. A script has these commands beside those of testscript:
//
//	world [flags]          start an identity provider and a server; sets URL, ISSUER and BROKEN
//	deactivate USER        IT deactivates the person
//	revoke USER            IT ends the person's sign-ins
//	close-idp              the identity provider goes away
//	expire                 access tokens issued so far expire
//	tabs N                 fail unless N browser tabs were opened so far
//	failure ID KIND [RE]   fail unless the last standard output answers the request with an error of this kind, a cause
//	                       that RE matches, and a hint
//	exits CODE COMMAND     run the command, which is to end with this exit code
//	usage COMMAND          the same with the exit code 2 and nothing on standard output
//	empty DIR              fail unless the directory is empty
//	mode OCTAL FILE        fail unless the file has these permissions
//
// When a script ends, nothing that the identity provider handed out may be in an argument, in any output, or in a file
// below $WORK; and what a bridge wrote to standard output must be messages.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"world": startWorld, "deactivate": deactivate, "revoke": revoke, "close-idp": closeIdP, "expire": expire, "tabs": wantTabs,
			"failure": wantFailure, "exits": exits, "usage": wantUsage, "mode": wantMode, "empty": wantEmpty,
		},
	})
}

// scene is what a script has set up.
type scene struct {
	world   *demo.World
	clock   clock
	secrets []string // of the script, beside the identity provider's
}

type sceneKey struct{}

func sceneOf(ts *testscript.TestScript) *scene { return ts.Value(sceneKey{}).(*scene) }

func setUpScript(env *testscript.Env) error {
	s := &scene{}
	env.Values[sceneKey{}] = s
	vars := environment(filepath.Join(env.WorkDir, "my home"), "ada")
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env.Setenv(name, vars[name])
	}
	env.Defer(func() {
		if err := s.end(env); err != nil {
			env.T().Log(err)
			env.T().FailNow()
		}
	})
	return prepare(vars)
}

// end looks through everything that the script left.
func (s *scene) end(env *testscript.Env) error {
	var errs []error
	secrets := s.secrets
	if s.world != nil {
		secrets = append(secrets, s.world.IdP.Issued()...)
		errs = append(errs, s.world.Close())
	}
	files, err := filesBelow(env.WorkDir)
	errs = append(errs, err)
	for _, name := range leaks(secrets, files) {
		errs = append(errs, fmt.Errorf("a secret is in %s", name))
	}
	for name, text := range files {
		if filepath.Base(name) == "argv" {
			errs = append(errs, checkStreams(text, string(files[filepath.Join(filepath.Dir(name), "stdout")])))
		}
	}
	return errors.Join(errs...)
}

// checkStreams wants messages, and nothing else, on the standard output of a bridge.
func checkStreams(argv []byte, stdout string) error {
	var args []string
	if err := json.Unmarshal(argv, &args); err != nil {
		return fmt.Errorf("arguments %q: %w", argv, err)
	}
	if !isBridge(args) {
		return nil
	}
	for line := range strings.Lines(stdout) {
		if _, ok := parse(line); !ok && !isBatch(line) {
			return fmt.Errorf("drawbridge %q wrote %q to standard output", args, line)
		}
	}
	return nil
}

func isBridge(args []string) bool {
	other := []string{"login", "logout", "status", "version", "demo", "client-metadata", "add", "remove", "list", "help", "--help", "-h", "completion"}
	return !slices.ContainsFunc(args, func(arg string) bool { return slices.Contains(other, arg) })
}

// isBatch reports whether every element of an array is a message (MCP 2025-03-26).
func isBatch(line string) bool {
	var elements []json.RawMessage
	if json.Unmarshal([]byte(line), &elements) != nil || len(elements) == 0 {
		return false
	}
	for _, e := range elements {
		if _, ok := parse(string(e) + "\n"); !ok {
			return false
		}
	}
	return true
}

func startWorld(ts *testscript.TestScript, neg bool, args []string) {
	s := sceneOf(ts)
	cfg := demo.Config{Now: s.clock.now}
	flags := flag.NewFlagSet("world", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.DurationVar(&cfg.TokenLifetime, "lifetime", 0, "of access tokens")
	flags.BoolVar(&cfg.Server.Open, "open", false, "no sign-in")
	flags.BoolVar(&cfg.Server.HTTPSSE, "httpsse", false, "the transport of MCP 2024-11-05")
	key := flags.String("key", "", "header that carries an API key, which is put into $KEY")
	registration := flags.Bool("registration", true, "dynamic client registration")
	revocation := flags.Bool("revocation", true, "revocation of tokens")
	client := flags.String("client", "", "id of a pre-registered client")
	clientSecret := flags.String("client-secret", "", "its secret")
	redirect := flags.String("redirect", "http://127.0.0.1/callback", "its redirect URI, with any port")
	if err := flags.Parse(args); err != nil || neg || s.world != nil {
		ts.Fatalf("usage: world [flags], once: %v", err)
	}
	if *key != "" {
		s.secrets = append(s.secrets, canary+"-api-key-of-the-server")
		ts.Setenv("KEY", s.secrets[0])
		cfg.Server.APIKey, cfg.Server.APIKeyHeader = secret.New(s.secrets[0]), *key
	}
	if *client != "" {
		cfg.IdP.AnyLoopbackPort = true
		cfg.IdP.Clients = []demo.Client{{ID: *client, Secret: secret.New(*clientSecret), RedirectURIs: []string{*redirect}}}
	}
	var err error
	cfg.Server.Engine = sdk.New
	s.world, err = demo.Start(context.Background(), cfg)
	ts.Check(err)
	s.world.IdP.SetFaults(demo.Faults{NoRegistration: !*registration, NoRevocation: !*revocation})
	ts.Setenv("URL", s.world.URL())
	ts.Setenv("ISSUER", s.world.Issuer())
	ts.Setenv("BROKEN", s.world.Server.BrokenURL(""))
}

func deactivate(ts *testscript.TestScript, _ bool, args []string) {
	sceneOf(ts).world.IdP.Deactivate(args[0])
}

func revoke(ts *testscript.TestScript, _ bool, args []string) {
	sceneOf(ts).world.IdP.RevokeUser(args[0])
}

func closeIdP(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(sceneOf(ts).world.IdP.Close()) }

func expire(ts *testscript.TestScript, _ bool, _ []string) { sceneOf(ts).clock.expire() }

func wantTabs(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(ts.Getenv(varTabs))
	if err != nil && !os.IsNotExist(err) {
		ts.Fatalf("%v", err)
	}
	if got := strconv.Itoa(strings.Count(string(text), "\n")); got != args[0] {
		ts.Fatalf("%s browser tabs were opened, want %s", got, args[0])
	}
}

func wantFailure(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: failure ID KIND [RE]")
	}
	type failure struct{ Kind, Cause, Hint string }
	cause := strings.Join(args[2:], " ")
	var got failure
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if m, _ := parse(line); m.Error != nil && string(m.ID) == args[0] {
			d := m.Error.Data
			got = failure{d.Kind, d.Cause, d.Hint}
		}
	}
	want := failure{args[1], got.Cause, got.Hint}
	if matched, err := regexp.MatchString(cause, got.Cause); !matched || err != nil || got.Cause == "" {
		want.Cause = "a match of " + strconv.Quote(cause)
	}
	if got.Hint == "" {
		want.Hint = "a hint"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		ts.Fatalf("error of request %s (-want +got):\n%s", args[0], diff)
	}
}

// exits runs a program that is to end with an exit code: exits CODE PROGRAM ARGS...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// wantUsage runs a wrong command line, which is to end with exit code 2 and nothing on standard output.
func wantUsage(ts *testscript.TestScript, _ bool, args []string) {
	exits(ts, false, append([]string{"2"}, args...))
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output: %q", out)
	}
}

// wantMode compares the permissions of a file, in octal.
func wantMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has the mode %s, want %s", args[1], got, args[0])
	}
}

func wantEmpty(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(entries) > 0 {
		ts.Fatalf("%s holds %v", args[0], entries)
	}
}
