package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"drawbridge/auth"
	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// connection is what a command needs to talk to one server as one person.
type connection struct {
	url     string
	store   tokenstore.Store
	session *auth.Session
	headers *headerSource
	http    *http.Client // the way to the server
	others  *http.Client // the way to everybody else
	own     *http.Client // the way of auth to the server's origin; others where no client certificate makes a difference
	log     *slog.Logger
	close   func()
}

// connect builds a connection from flags and environment. It talks to nobody yet.
func connect(env Env, o *options, url string) (*connection, error) {
	return connectWith(env, o, url, func(log *slog.Logger) (tokenstore.Store, error) { return o.openStore(env, log) })
}

func connectWith(env Env, o *options, url string, open func(*slog.Logger) (tokenstore.Store, error)) (*connection, error) {
	if err := o.translate(env, url); err != nil {
		return nil, err
	}
	log, closeLog, err := openLog(env, o)
	if err != nil {
		return nil, err
	}
	c := &connection{url: url, log: log, close: closeLog}
	if err := c.prepare(env, o, open); err != nil {
		closeLog()
		return nil, err
	}
	return c, nil
}

func (c *connection) prepare(env Env, o *options, open func(*slog.Logger) (tokenstore.Store, error)) (err error) {
	if c.headers, err = o.header.source(env); err != nil {
		return err
	}
	shared, err := o.network.transport(env)
	if err != nil {
		return err
	}
	own, err := o.network.toServer(shared, c.url)
	if err != nil {
		return err
	}
	c.http, c.others = &http.Client{Transport: own, Jar: newOriginJar(c.url)}, &http.Client{Transport: shared}
	if c.own = c.others; own != shared {
		c.own = c.http
	}
	return c.authorize(env, o, open)
}

func (c *connection) authorize(env Env, o *options, open func(*slog.Logger) (tokenstore.Store, error)) error {
	if c.headers.fixedAuthorization() { // there is nobody to sign in, so no keychain to bother
		open = func(*slog.Logger) (tokenstore.Store, error) { return tokenstore.NewMemory(), nil }
	}
	client, err := o.client(env)
	if err != nil {
		return err
	}
	params, err := o.idp.params()
	if err != nil {
		return err
	}
	if c.store, err = open(c.log); err != nil {
		return err
	}
	c.session, err = auth.New(auth.Config{
		ServerURL: c.url, Profile: o.profile, Store: c.store, HTTP: c.others, ServerHTTP: c.own,
		Client: client, Issuer: o.issuer, Scopes: o.scopes, Callback: o.callback,
		Resource: o.idp.resource, AuthorizeParams: params, TrustIssuer: o.idp.trustIssuer, AssumePKCE: o.idp.assumePKCE,
		AllowHTTP: o.allowHTTP, LoginTimeout: o.loginTimeout,
		Open: o.opener(env), SSH: sshTarget(env), Notice: notice(env), Log: c.log,
		Forgotten: forgetter(env, c.log),
	})
	return err
}

// end gives everything back: the port of a pending sign-in, connections, the log file.
func (c *connection) end() {
	c.session.Close()
	c.http.CloseIdleConnections()
	c.others.CloseIdleConnections()
	c.close()
}

// notice writes lines for the person.
func notice(env Env) func(string) {
	return func(line string) { fmt.Fprintln(env.Stderr, "drawbridge: "+line) }
}

// client reads the OAuth client identity. A secret is never taken from the command line, which others can read.
func (o *options) client(env Env) (auth.ClientIdentity, error) {
	id := auth.ClientIdentity{ID: o.clientID, MetadataURL: o.clientMetadataURL}
	switch {
	case o.clientSecretFile != "" && o.clientSecretEnv != "":
		return id, usageError{errors.New("--client-secret-file and --client-secret-env exclude each other")}
	case o.clientSecretFile != "":
		text, err := os.ReadFile(o.clientSecretFile)
		if err != nil {
			return id, fmt.Errorf("read client secret: %w", err)
		}
		id.Secret = secret.New(strings.TrimSpace(string(text)))
	case o.clientSecretEnv != "":
		text, ok := env.LookupEnv(o.clientSecretEnv)
		if !ok {
			return id, hinted{fmt.Errorf("client secret: the environment variable %q is not set", o.clientSecretEnv), "set it where your MCP client starts drawbridge"}
		}
		id.Secret = secret.New(text)
	case !o.staticSecret.IsZero():
		id.Secret = o.staticSecret
	}
	return id, nil
}

// openStore opens the token store that flags or environment name, or the keychain.
func (o *options) openStore(env Env, log *slog.Logger) (tokenstore.Store, error) {
	opts, err := o.storeOptions(env)
	if err != nil {
		return nil, err
	}
	opts.Log = log
	return tokenstore.Open(opts)
}

func (o *options) storeOptions(env Env) (tokenstore.Options, error) {
	s := tokenstore.Options{
		Kind:       firstOf(o.tokenStore, env.getenv("DRAWBRIDGE_TOKEN_STORE"), "keychain"),
		Dir:        firstOf(o.tokenStoreDir, env.getenv("DRAWBRIDGE_TOKEN_STORE_DIR")),
		SessionBus: env.getenv("DBUS_SESSION_BUS_ADDRESS"),
	}
	if s.Kind != "file" {
		return s, nil
	}
	var err error
	if s.KeyFile, s.Key, err = o.storeKey(env); err != nil {
		return s, err
	}
	if s.Dir == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			return s, hinted{fmt.Errorf("file store: %w", err), "name a directory with --token-store-dir"}
		}
		s.Dir = filepath.Join(config, "drawbridge", "tokens")
	}
	s.Passphrase = o.passphrase(env, s.Dir)
	return s, nil
}

// storeKey says where the key of the file store comes from: a flag, else a variable.
func (o *options) storeKey(env Env) (file string, ask func() (secret.Text, error), err error) {
	file, command := o.tokenStoreKeyFile, o.tokenStoreKeyCommand
	if file == "" && command == "" {
		file, command = env.getenv("DRAWBRIDGE_TOKEN_STORE_KEY_FILE"), env.getenv("DRAWBRIDGE_TOKEN_STORE_KEY_COMMAND")
	}
	switch {
	case file != "" && command != "":
		return "", nil, usageError{hinted{errors.New("the key of the file store comes either from a file or from a command"),
			"leave out --token-store-key-file or --token-store-key-command, or the variables of these names"}}
	case command != "":
		ask, err = keyCommand(env, command)
	}
	return file, ask, err
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
