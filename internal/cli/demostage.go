package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// stage is one run of the demo: the peers, the real program as a child process, and the story told on standard output.
type stage struct {
	env        Env
	auto       bool
	self       string // this program
	dir        string // scratch directory
	world      *demo.World
	guard      demoGuard
	store      tokenstore.Store
	storeFlags []string
	step       int
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.env.Stdout, format+"\n", args...) }

// scene announces the next step.
func (s *stage) scene(format string, args ...any) {
	s.step++
	s.say("\n%d. "+format, append([]any{s.step}, args...)...)
}

// leave takes everything down and removes what was stored.
func (s *stage) leave() error {
	var errs []error
	if s.store != nil {
		errs = append(errs, s.forget())
	}
	if s.world != nil {
		errs = append(errs, s.world.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// forget deletes the items that this run's server and issuer gave rise to.
func (s *stage) forget() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	credential, err := tokenstore.CredentialName(s.world.URL(), "")
	if err != nil {
		return err
	}
	signIn, err := tokenstore.SignInName(s.world.URL(), "")
	return errors.Join(err, s.store.Delete(ctx, credential), s.store.Delete(ctx, signIn),
		s.store.Delete(ctx, tokenstore.RegistrationName(s.world.Issuer())))
}

// play runs the scenes in order; each fails if what it shows does not hold.
func (s *stage) play(ctx context.Context) error {
	s.say("An engineer, an identity provider and an MCP server that only lets her in with a token of it.")
	s.say("   identity provider  %s", s.world.Issuer())
	s.say("   MCP server         %s, behind the guard", s.world.URL())
	s.say("   tokens are kept in %s", s.store.Location())
	for _, scene := range []func(context.Context) error{s.firstStart, s.secondStart} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

// firstStart: the client is not kept waiting, the person signs in, the call that waited is answered.
func (s *stage) firstStart(ctx context.Context) error {
	began := time.Now()
	client, err := s.launch(ctx, s.auto)
	if err != nil {
		return err
	}
	defer client.close()
	s.scene("An MCP client starts drawbridge. Nobody has signed in, yet the client is answered after %d ms.", time.Since(began).Milliseconds())
	tools, err := client.tools()
	if err != nil || len(tools) != 1 || tools[0] != "sign_in" {
		return fmt.Errorf("list tools before the sign-in: want the tool sign_in, got %v, %w", tools, err)
	}
	s.say("   Its tool list holds one tool, sign_in. The agent calls another one, whoami, and that waits for the person.")
	if !s.auto {
		s.say("   A browser tab opens now. Sign in as %s with the password %s.", demo.Ada().Name, demo.Ada().Password.Reveal())
	}
	text, err := client.callUntilSignedIn("whoami")
	if err != nil {
		return fmt.Errorf("call a tool across the sign-in: %w", err)
	}
	s.scene("Ada signed in at the identity provider. The call that waited is answered by the server:")
	s.quote(text)
	return s.expectCounts(1, 0)
}

// secondStart: from the store, refreshed, then refused.
func (s *stage) secondStart(ctx context.Context) error {
	client, err := s.launch(ctx, true)
	if err != nil {
		return err
	}
	defer client.close()
	if _, err := client.callTool("whoami"); err != nil {
		return fmt.Errorf("call a tool after a restart: %w", err)
	}
	if signIns := s.world.IdP.Counts().SignIns; signIns != 1 {
		return fmt.Errorf("the restart led to %d sign-ins, want still 1", signIns)
	}
	s.scene("The client starts drawbridge again. No browser, no question: the sign-in comes from the store.")
	if err := s.refresh(ctx, client); err != nil {
		return err
	}
	return s.deactivate(ctx, client)
}

func (s *stage) refresh(ctx context.Context, client *mcpClient) error {
	before := s.world.IdP.Counts().Refreshes
	if err := pause(ctx, demoLifetime+200*time.Millisecond); err != nil {
		return err
	}
	if _, err := client.callTool("whoami"); err != nil {
		return fmt.Errorf("call a tool after the token expired: %w", err)
	}
	counts := s.world.IdP.Counts()
	if counts.Refreshes != before+1 || counts.SignIns != 1 {
		return fmt.Errorf("the expired token led to %d refreshes and %d sign-ins, want 1 refresh and no new sign-in", counts.Refreshes-before, counts.SignIns-1)
	}
	s.scene("The access token lived %s and expired. The next call was answered all the same: one silent refresh.", demoLifetime)
	return nil
}

func (s *stage) deactivate(ctx context.Context, client *mcpClient) error {
	copied, err := s.credential(ctx)
	if err != nil {
		return fmt.Errorf("read the token store: %w", err)
	}
	s.world.IdP.Deactivate(demo.Ada().Name)
	s.scene("Friday evening: IT deactivates Ada's account at the identity provider. Nothing is changed on her laptop.")
	if err := pause(ctx, demoLifetime+200*time.Millisecond); err != nil {
		return err
	}
	text, err := client.callTool("whoami")
	if err == nil {
		return fmt.Errorf("the server still answers after the deactivation: %q", text)
	}
	if !strings.Contains(err.Error(), "your identity provider refused to renew this sign-in") {
		return fmt.Errorf("the refused call does not say why: %w", err)
	}
	s.scene("Her agent calls the server once more, and is told:")
	s.quote(err.Error())
	if err := s.tryCopy(ctx, copied.AccessToken); err != nil {
		return err
	}
	return s.nothingLeft(ctx)
}

// tryCopy: the other end refuses a copy of the last token, and has written everything down.
func (s *stage) tryCopy(ctx context.Context, token secret.Text) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.world.URL(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("send a copy of the token: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("a copy of the token is answered with %s, want 401", resp.Status)
	}
	s.scene("Somebody kept a copy of her last access token. The guard in front of the server answers:")
	s.quote(resp.Status + "\nWWW-Authenticate: " + resp.Header.Get("WWW-Authenticate"))
	lines, err := s.guard.verified()
	if err != nil {
		return err
	}
	s.scene("The guard wrote down every decision, and the chain of the %d lines is whole. Her last call, and the copy:", lines)
	call, refusal := s.guard.last(`"name":"whoami"`, `"decision":"allow"`), s.guard.last(`"unauthenticated"`, "expired")
	if call == "" || refusal == "" {
		return fmt.Errorf("the audit lacks the last call (%q) or the refused copy (%q)", call, refusal)
	}
	s.quote(call + "\n" + refusal)
	return nil
}

// credential loads what the store holds for the demo's server.
func (s *stage) credential(ctx context.Context) (c tokenstore.Credential, err error) {
	name, err := tokenstore.CredentialName(s.world.URL(), "")
	if err != nil {
		return c, err
	}
	return tokenstore.LoadCredential(ctx, s.store, name)
}

// nothingLeft checks that the store holds no token any more.
func (s *stage) nothingLeft(ctx context.Context) error {
	if _, err := s.credential(ctx); !errors.Is(err, tokenstore.ErrNotFound) {
		return fmt.Errorf("the token store still holds a sign-in (%v)", err)
	}
	s.scene("The token store holds nothing usable any more.")
	return nil
}

func (s *stage) expectCounts(signIns, refreshes int) error {
	if c := s.world.IdP.Counts(); c.SignIns != signIns || c.Refreshes > refreshes+1 {
		return fmt.Errorf("the identity provider counted %d sign-ins and %d refreshes, want %d and at most %d", c.SignIns, c.Refreshes, signIns, refreshes+1)
	}
	return nil
}

func (s *stage) quote(text string) {
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		s.say("   | %s", line)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// launch starts the program as an MCP client does. With byForm, the sign-in form is filled in over HTTP when the
// program prints its address; otherwise the program opens a browser.
func (s *stage) launch(ctx context.Context, byForm bool) (*mcpClient, error) {
	args := append([]string{s.world.URL()}, s.storeFlags...)
	if byForm {
		args = append(args, "--no-browser")
	}
	cmd := exec.CommandContext(ctx, s.self, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	go s.watch(ctx, stderr, byForm)
	client, err := startMCP(cmd, "drawbridge-demo")
	if err != nil {
		return nil, fmt.Errorf("start %s as an MCP server: %w", s.self, err)
	}
	return client, nil
}

var addressPattern = regexp.MustCompile(`https?://\S+/authorize\?\S+`)

// watch reads what the program says and plays the person at the identity provider.
func (s *stage) watch(ctx context.Context, stderr io.Reader, byForm bool) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		address := addressPattern.FindString(lines.Text())
		if address == "" || !byForm {
			continue
		}
		// The outcome shows in what the program does next; a refused sign-in is one of the scenes.
		_, _ = demo.Human{}.SignIn(ctx, address, demo.Ada().Name, demo.Ada().Password)
	}
}

// callUntilSignedIn repeats a call that a slow person lets run into its time limit.
func (c *mcpClient) callUntilSignedIn(tool string) (string, error) {
	for {
		text, err := c.callTool(tool)
		if err == nil || !strings.Contains(err.Error(), "a person has to sign in first") {
			return text, err
		}
	}
}
