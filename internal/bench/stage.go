package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"drawbridge/internal/demo"
)

// stage is what all measurements share: the programs, the server, the sign-ins.
type stage struct {
	options
	dir     string
	self    string // this program
	echo    string
	idp     *demo.IdP
	server  *exec.Cmd
	hangUp  io.Closer // ends the server
	at      places
	trust   *tls.Config
	caFile  string
	keyFile string
}

// setUp starts everything. The caller calls takeDown, whatever the outcome.
func setUp(ctx context.Context, o options) (s *stage, err error) {
	s = &stage{options: o}
	if s.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return s, err
	}
	if s.self, err = os.Executable(); err != nil {
		return s, err
	}
	for _, step := range []func(context.Context) error{s.build, s.startIdP, s.startServer, s.signIn} {
		if err := step(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *stage) takeDown() error {
	var errs []error
	if s.hangUp != nil {
		errs = append(errs, s.hangUp.Close())
		_ = s.server.Wait() // how it ended is of no interest
	}
	if s.idp != nil {
		s.forget()
		errs = append(errs, s.idp.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// build makes the programs, drawbridge as it is released.
func (s *stage) build(ctx context.Context) error {
	s.echo = filepath.Join(s.dir, "echo")
	if err := build(ctx, s.echo, "drawbridge/internal/bench/echo"); err != nil || s.program != "" {
		return err
	}
	s.program = filepath.Join(s.dir, "drawbridge")
	return build(ctx, s.program, "drawbridge/cmd/drawbridge")
}

func build(ctx context.Context, file, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, out)
	}
	return nil
}

func (s *stage) startIdP(ctx context.Context) (err error) {
	s.idp, err = demo.StartIdP(ctx, demo.IdPConfig{TokenLifetime: 24 * time.Hour})
	return err
}

func (s *stage) startServer(ctx context.Context) error {
	s.server = exec.CommandContext(ctx, s.self, "serve", "-issuer", s.idp.Issuer())
	s.server.Stderr = os.Stderr
	in, err := s.server.StdinPipe()
	if err != nil {
		return err
	}
	out, err := s.server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.server.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.hangUp = in
	if err := json.NewDecoder(out).Decode(&s.at); err != nil {
		return fmt.Errorf("wait for the server: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(s.at.CA))
	s.trust, s.caFile = &tls.Config{RootCAs: pool}, filepath.Join(s.dir, "ca.pem")
	return s.writeTrust()
}

// systemTrust are the files of trust stores of Linux distributions.
var systemTrust = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

// writeTrust writes the server's certificate behind those of the system, so that a program has as much to read as always.
func (s *stage) writeTrust() error {
	var all []byte
	for _, name := range systemTrust {
		if text, err := os.ReadFile(name); err == nil {
			all = append(text, '\n')
			break
		}
	}
	return os.WriteFile(s.caFile, append(all, s.at.CA...), 0o600)
}

func (s *stage) urls() []string { return []string{s.at.Plain, s.at.TLS, s.at.Far, s.at.Closer} }

// signIn puts a sign-in for each of the server's faces into the store, as a person does.
func (s *stage) signIn(ctx context.Context) error {
	s.keyFile = filepath.Join(s.dir, "key")
	if err := os.WriteFile(s.keyFile, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		return err
	}
	for _, url := range s.urls() {
		s.idp.AddResource(url)
		if err := s.login(ctx, url); err != nil {
			return fmt.Errorf("sign in to %s: %w", url, err)
		}
	}
	return nil
}

var signInAddress = regexp.MustCompile(`https?://\S+/authorize\?\S+`)

// login runs "drawbridge login" and fills in the form that it asks for.
func (s *stage) login(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, s.arguments("login", url, "--no-browser")...)
	cmd.Env = s.environment()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var said []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said = append(said, lines.Text())
		if address := signInAddress.FindString(lines.Text()); address != "" {
			if _, err := (demo.Human{}).SignIn(ctx, address, demo.Ada().Name, demo.Ada().Password); err != nil {
				cancel()
				said = append(said, err.Error())
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.Join(said, "; "))
	}
	return nil
}

// forget removes the sign-ins, which may be in a store that is not the bench's own.
func (s *stage) forget() {
	if s.store == "file" { // it goes with its directory
		return
	}
	for _, url := range s.urls() {
		cmd := exec.Command(s.program, s.arguments("logout", url)...)
		cmd.Env = s.environment()
		_ = cmd.Run() // what was not stored cannot be removed
	}
}

func (s *stage) storeFlags() []string {
	if s.store == "file" {
		return []string{"--token-store", "file", "--token-store-dir", filepath.Join(s.dir, "tokens"), "--token-store-key-file", s.keyFile}
	}
	return []string{"--token-store", s.store}
}

// arguments are those of a drawbridge command.
func (s *stage) arguments(command, url string, more ...string) []string {
	args := append([]string{command, url}, s.storeFlags()...)
	if strings.HasPrefix(url, "https:") && runtime.GOOS != "linux" {
		args = append(args, "--ca-file", s.caFile)
	}
	return append(args, more...)
}

// environment is what children see: nothing that would make one run differ from another.
func (s *stage) environment() []string {
	env := []string{"HOME=" + s.dir, "DRAWBRIDGE_CACHE_DIR=" + filepath.Join(s.dir, "cache"), "NODE_EXTRA_CA_CERTS=" + s.caFile, "SSL_CERT_FILE=" + s.caFile, "SSL_CERT_DIR=" + filepath.Join(s.dir, "none")}
	for _, name := range []string{"PATH", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "GOMAXPROCS"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// counts returns how many requests and connections the server has had.
func (s *stage) counts(ctx context.Context) (requests, connections int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.at.Plain, endpoint)+"/counts", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	_, err = fmt.Fscan(resp.Body, &requests, &connections)
	return requests, connections, err
}
