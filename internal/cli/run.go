package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/bridge"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

func newRun(env Env, o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "run URL",
		Short: "Bridge standard input and output to the MCP server at URL (the same as drawbridge URL)",
		Args:  o.bridgeArgs,
		RunE:  func(cmd *cobra.Command, args []string) error { return runBridge(cmd.Context(), env, o, args[0]) },
	}
}

// maxMaxMessage is the largest limit of messages, in MiB: on a machine with 32 bits there is no larger piece of memory.
const maxMaxMessage = 1024

// runBridge serves an MCP client until it closes standard input.
func runBridge(ctx context.Context, env Env, o *options, url string) error {
	o.forClient = true
	if o.startupBudget <= 0 {
		return usageError{hinted{errors.New("--startup-budget: the time must be positive"), "write it as --startup-budget 2500ms"}}
	}
	if o.maxMessage < 1 || o.maxMessage > maxMaxMessage {
		return usageError{hinted{fmt.Errorf("--max-message: %d MiB is not between 1 and %d", o.maxMessage, maxMaxMessage), "write it as --max-message 128"}}
	}
	if strings.HasPrefix(url, "https:") {
		go readTrustStore()
	}
	cfg := bridge.Config{URL: url, Version: version(), StartupBudget: o.startupBudget, MaxMessage: o.maxMessage << 20}
	dir := memoryDir(env, url, o.profile)
	if err := o.setTransport(&cfg, dir); err != nil {
		return err
	}
	c, err := connectForBridge(env, o, url)
	if errors.As(err, new(usageError)) {
		return err
	}
	if err != nil {
		report(env.Stderr, err)
		cfg.Auth, cfg.Log = refusing{err}, slog.New(slog.DiscardHandler)
		return bridge.Run(ctx, cfg, env.Stdin, env.Stdout)
	}
	defer c.end()
	cfg.Auth, cfg.HTTP, cfg.Log = c.authorizer(), c.http, c.log
	cfg.OnInputEnd = c.session.EndSignIn // another process can have the port at once, however long answers take
	if dir != "" {
		cfg.Memory = memory{dir, c.owner, c.log}
	}
	go c.leaveWithParent(ctx)
	if c.headers.command == nil { // else it is not known yet whether there is anybody to sign in
		go c.session.Warm(ctx)
	}
	// On a signal there is half a second at most: a renewal under way ends beside the end of the MCP session.
	defer context.AfterFunc(ctx, c.session.Close)()
	client := openStreams(env, c.log)
	defer client.close()
	err = bridge.Run(ctx, cfg, client.in, client.out)
	c.settle(ctx)
	return err
}

// leaveWithParent gives up a sign-in when the client is gone whose input we read, though somebody else holds it open: the
// client's other children may have inherited it.
func (c *connection) leaveWithParent(ctx context.Context) {
	select {
	case <-parentExit():
		c.log.Info("the process that started this one has ended; waiting for no human any more")
		c.session.EndSignIn()
	case <-ctx.Done():
	}
}

// settleLimit is how long a bridge whose input has ended waits for tokens on their way. A signal shortens it.
const settleLimit = 1500 * time.Millisecond

// settle waits for tokens that were paid for with a code or a refresh token and are not stored yet.
func (c *connection) settle(ctx context.Context) {
	c.session.EndSignIn() // whatever ended the bridge
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	c.session.Settle(ctx)
}

// connectForBridge is connect, with memory in place of a keychain that cannot be reached: a bridge that works until it
// ends is better than none, as long as the person is told. A store that was asked for by name is not replaced.
func connectForBridge(env Env, o *options, url string) (*connection, error) {
	if firstOf(o.tokenStore, env.getenv("DRAWBRIDGE_TOKEN_STORE")) != "" {
		return connect(env, o, url)
	}
	c, err := connectWith(env, o, url, func(log *slog.Logger) (tokenstore.Store, error) {
		s, err := o.openStore(env, log)
		if errors.Is(err, tokenstore.ErrUnavailable) {
			tellMemory(env, err)
			return tokenstore.NewMemory(), nil
		}
		return &fallback{Store: s, tell: func(err error) { tellMemory(env, err) }}, err
	})
	return c, err
}

func tellMemory(env Env, err error) {
	tell := notice(env)
	tell("the keychain cannot be used, so this sign-in lasts only as long as this process: " + err.Error())
	if h := hintOf(err); h != "" {
		tell("hint: " + h)
	}
}

// authorizer returns what gives the bridge's requests their credentials.
func (c *connection) authorizer() bridge.Authorizer { return signedIn{c.session, c.headers} }

// owner names whom the server speaks to, in a word that is no secret; "" if that is not known yet.
func (c *connection) owner() string {
	headers, known := c.headers.held()
	name := "key"
	if known && !hasAuthorization(headers) {
		name, known = c.session.Owner()
	}
	if !known {
		return ""
	}
	return cmp.Or(name, "nobody") + c.headers.origin
}

// fallback is the keychain until it turns out that it cannot be reached, then memory. It decides once, at the first
// read: after a good one, a failure is a failure, because the keychain holds what must not be lost.
type fallback struct {
	tokenstore.Store
	tell func(error)

	mu      sync.Mutex // guards Store and decided, and is held over the first read
	decided bool
}

func (f *fallback) current() tokenstore.Store {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Store
}

// Load implements [tokenstore.Store].
func (f *fallback) Load(ctx context.Context, name tokenstore.Name) (secret.Text, error) {
	f.mu.Lock()
	if !f.decided {
		defer f.mu.Unlock() // others wait for the decision
		return f.firstLoad(ctx, name)
	}
	s := f.Store
	f.mu.Unlock()
	return s.Load(ctx, name)
}

func (f *fallback) firstLoad(ctx context.Context, name tokenstore.Name) (secret.Text, error) {
	text, err := f.Store.Load(ctx, name)
	if ctx.Err() != nil {
		return text, err
	}
	f.decided = true
	if !errors.Is(err, tokenstore.ErrUnavailable) {
		return text, err
	}
	f.tell(err)
	f.Store = tokenstore.NewMemory()
	return f.Store.Load(ctx, name)
}

// Save implements [tokenstore.Store].
func (f *fallback) Save(ctx context.Context, name tokenstore.Name, item secret.Text) error {
	return f.current().Save(ctx, name, item)
}

// Delete implements [tokenstore.Store].
func (f *fallback) Delete(ctx context.Context, name tokenstore.Name) error {
	return f.current().Delete(ctx, name)
}

// List implements [tokenstore.Store].
func (f *fallback) List(ctx context.Context) ([]tokenstore.Name, error) { return f.current().List(ctx) }

// Lock implements [tokenstore.Store].
func (f *fallback) Lock(ctx context.Context, name string) (func(), error) {
	return f.current().Lock(ctx, name)
}

// Location implements [tokenstore.Store].
func (f *fallback) Location() string { return f.current().Location() }
