package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/internal/demo"
	"drawbridge/tokenstore"
)

// Ports that `demo --serve` prefers, so that a client's configuration survives a restart of the demo.
const (
	demoServerAddr = "127.0.0.1:17624"
	demoIdPAddr    = "127.0.0.1:17625"
)

const (
	// demoLifetime is how long the demo's access tokens live: long enough to see them work, short enough to wait for.
	demoLifetime = 3 * time.Second
	// serveLifetime is the same for --serve, where people look around.
	serveLifetime = time.Minute
)

func newDemo(env Env) *cobra.Command {
	var auto, serve bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole job on this machine, with an embedded identity provider and MCP server",
		Long: `demo starts an identity provider and a protected MCP server on loopback ports, runs drawbridge as an MCP client would,
and shows a sign-in, a silent refresh and what happens when the person is deactivated. It needs nothing but this program and
leaves nothing behind.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if serve {
				return serveDemo(cmd.Context(), env)
			}
			return runDemo(cmd.Context(), env, auto || !canOpenBrowser(env))
		},
	}
	cmd.Flags().BoolVar(&auto, "auto", false, "fill in the sign-in form without a browser (the default without a display)")
	cmd.Flags().BoolVar(&serve, "serve", false, "keep identity provider and server running, for a client of yours")
	return cmd
}

// serveDemo runs the peers until the command is interrupted.
func serveDemo(ctx context.Context, env Env) error {
	world, err := demo.Start(ctx, demo.Config{
		TokenLifetime: serveLifetime,
		Server:        demo.ServerConfig{Addr: freeOr(demoServerAddr), Guard: (&demoGuard{show: env.Stdout}).stand}, IdP: demo.IdPConfig{Addr: freeOr(demoIdPAddr)},
	})
	if err != nil {
		return err
	}
	defer world.Close()
	self, err := env.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	fmt.Fprintf(env.Stdout, `identity provider  %s
MCP server         %s

Your MCP clients:
  %s add %s

Other clients with a JSON configuration:
  {"mcpServers": {"drawbridge-demo": {"command": %q, "args": [%q]}}}

Each decision of the guard in front of the server is shown as a line of its audit.
Sign in as %s with the password %s, or as %s with %s. Access tokens live %s.
Interrupt (Ctrl-C) to stop.
`, world.Issuer(), world.URL(), shellQuote(self), world.URL(), self, world.URL(),
		demo.Ada().Name, demo.Ada().Password.Reveal(), demo.Grace().Name, demo.Grace().Password.Reveal(), serveLifetime)
	<-ctx.Done()
	return nil
}

// freeOr returns addr if it can be listened on, else "" for a random port.
func freeOr(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return ""
	}
	_ = l.Close() // only a look
	return addr
}

// runDemo shows the whole job once.
func runDemo(ctx context.Context, env Env, auto bool) error {
	began := time.Now()
	s, err := newStage(ctx, env, auto)
	if err != nil {
		return err
	}
	err = errors.Join(s.play(ctx), s.leave())
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	s.say("\nAll of it held, in %.1f s. Nothing is left behind.", time.Since(began).Seconds())
	return nil
}

// demoStore is the keychain where there is one, else an encrypted file store in dir.
func demoStore(ctx context.Context, env Env, dir string) (tokenstore.Store, []string, error) {
	keychain := tokenstore.Options{Kind: "keychain", SessionBus: env.getenv("DBUS_SESSION_BUS_ADDRESS")}
	if s, err := tokenstore.Open(keychain); err == nil && tokenstore.Probe(ctx, s) == nil {
		return s, []string{"--token-store", "keychain"}, nil
	}
	file := tokenstore.Options{Kind: "file", Dir: filepath.Join(dir, "tokens"), KeyFile: filepath.Join(dir, "key")}
	if err := tokenstore.CreateKeyFile(file.KeyFile); err != nil {
		return nil, nil, err
	}
	s, err := tokenstore.Open(file)
	return s, []string{"--token-store", "file", "--token-store-dir", file.Dir, "--token-store-key-file", file.KeyFile}, err
}

// shellQuote quotes a path for a POSIX shell where it needs it.
func shellQuote(path string) string {
	for _, r := range path {
		if r <= ' ' || r == '\'' || r == '"' || r == '\\' || r == '$' || r == '`' {
			return fmt.Sprintf("%q", path)
		}
	}
	return path
}

// newStage sets the scene.
func newStage(ctx context.Context, env Env, auto bool) (*stage, error) {
	self, err := env.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	dir, err := os.MkdirTemp("", "drawbridge-demo-")
	if err != nil {
		return nil, err
	}
	s := &stage{env: env, auto: auto, self: self, dir: dir}
	world := demo.Config{TokenLifetime: demoLifetime, Server: demo.ServerConfig{Guard: s.guard.stand}}
	if s.world, err = demo.Start(ctx, world); err == nil {
		s.store, s.storeFlags, err = demoStore(ctx, env, dir)
	}
	if err != nil {
		return nil, errors.Join(err, s.leave())
	}
	return s, nil
}
