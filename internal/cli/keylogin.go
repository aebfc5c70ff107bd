package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// keyLogin is login for a server that wants a key of its own.
type keyLogin struct {
	stdin  bool
	header string
}

func (k *keyLogin) register(f *pflag.FlagSet) {
	f.BoolVar(&k.stdin, "key-stdin", false, "read a static key of the server from standard input and keep it, in place of a sign-in")
	f.StringVar(&k.header, "key-header", "", "header that carries the key as it is (default: Authorization, as a bearer token)")
}

// login keeps the key that standard input holds.
func (k *keyLogin) login(ctx context.Context, env Env, o *options, url string) error {
	if err := k.check(); err != nil {
		return err
	}
	key, err := readKey(env)
	if err != nil {
		return err
	}
	if key, err = k.fit(key); err != nil {
		return err
	}
	if err := o.prepareStore(env); err != nil {
		return err
	}
	c, err := connect(env, o, url)
	if err != nil {
		return err
	}
	defer c.end()
	if err := tokenstore.Probe(ctx, c.store); err != nil {
		return fmt.Errorf("keep the key: the token store does not answer: %w", err)
	}
	kept, err := c.session.KeepKey(ctx, k.header, key)
	if err != nil {
		return fmt.Errorf("keep the key: %w", err)
	}
	fmt.Fprintf(env.Stdout, "the key for %s goes into the header %s, and to no other server\n", kept.ServerURL, kept.KeyHeader)
	fmt.Fprintf(env.Stdout, "it is kept in: %s\n", c.store.Location())
	return nil
}

func (k *keyLogin) check() error {
	name := http.CanonicalHeaderKey(k.header)
	switch {
	case !k.stdin:
		return usageError{errors.New("--key-header needs --key-stdin")}
	case k.header != "" && !tokenPattern.MatchString(k.header):
		return usageError{errors.New("--key-header: that is no name of a header")}
	case ownHeaders[name]:
		return usageError{fmt.Errorf("--key-header: %s is set by drawbridge itself", name)}
	}
	return nil
}

// maxKey bounds a key, in bytes: servers accept no larger header.
const maxKey = 16 << 10

// readKey reads the first line of standard input.
func readKey(env Env) (secret.Text, error) {
	if f, ok := env.Stdin.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			notice(env)("paste the key and press Enter; it is shown as you paste it")
		}
	}
	line, err := bufio.NewReader(io.LimitReader(env.Stdin, maxKey+1)).ReadString('\n')
	if err != nil && err != io.EOF {
		return secret.Text{}, fmt.Errorf("read the key: %w", err)
	}
	key := strings.TrimSpace(line)
	switch {
	case key == "":
		return secret.Text{}, hinted{errors.New("read the key: standard input holds none"), "pipe it in, for instance: pass show example-key | drawbridge login URL --key-stdin"}
	case len(line) > maxKey:
		return secret.Text{}, fmt.Errorf("read the key: it is longer than %d bytes", maxKey)
	case strings.ContainsFunc(key, func(r rune) bool { return r < 0x20 || r > 0x7e }):
		return secret.Text{}, errors.New("read the key: it holds characters that no header can carry")
	}
	return secret.New(key), nil
}

// fit makes key fit for its header: a bearer token has no blanks, and is often copied with the word in front.
func (k *keyLogin) fit(key secret.Text) (secret.Text, error) {
	if k.header != "" && http.CanonicalHeaderKey(k.header) != "Authorization" {
		return key, nil
	}
	token := strings.TrimPrefix(key.Reveal(), "Bearer ")
	if strings.Contains(token, " ") {
		return key, hinted{errors.New("read the key: a bearer token holds no blanks"), "for another scheme of Authorization use --header-file or --header-command"}
	}
	return secret.New(token), nil
}
