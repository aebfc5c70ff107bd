//go:build e2e

// Package e2e drives the real binary against real components: oidc-provider as the identity provider, headless Chromium
// as the person's browser, GNOME keyring on a private session bus as the keychain, and an MCP server of the Go SDK that
// verifies tokens by the identity provider's published keys.
//
//	go-sdk client ── stdio ── drawbridge ── HTTP ── MCP server ── JWKS ─┐
//	                            │    └── BROWSER ── Chromium ── oidc-provider
//	                            └── D-Bus ── gnome-keyring
//
// For drawbridge-guard, the MCP server is server-everything of the TypeScript SDK, which knows nothing of tokens.
//
// The tests carry the build tag e2e. With the tag a missing component is a failure that names the set-up script; no
// test skips.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// binary is the drawbridge under test, and guardBinary the drawbridge-guard, built once by TestMain.
var binary, guardBinary string

// patience bounds every wait of these tests: a browser on a loaded two-core machine needs some seconds a page.
const patience = 90 * time.Second

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if err := missing(); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "e2e-bin-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	binary, guardBinary = filepath.Join(dir, "drawbridge"), filepath.Join(dir, "drawbridge-guard")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", dir, "drawbridge/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build drawbridge: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// missing names every component that is not installed.
func missing() error {
	var errs []error
	for _, name := range []string{"dbus-run-session", "gnome-keyring-daemon", "gdbus", "secret-tool", "chromium", "node", "glewlwyd", "sqlite3"} {
		if _, err := exec.LookPath(name); err != nil {
			errs = append(errs, fmt.Errorf("program %s is missing: run .ci/setup", name))
		}
	}
	for _, name := range []string{"oidc-provider", "playwright-core", "@modelcontextprotocol/server-everything"} {
		if _, err := os.Stat(filepath.Join("npm", "node_modules", name, "package.json")); err != nil {
			errs = append(errs, fmt.Errorf("npm package %s is missing: run .ci/setup", name))
		}
	}
	return errors.Join(errs...)
}

// within gives a test's waits their end.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks again and again until ok says yes, and fails the test when patience runs out.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}
