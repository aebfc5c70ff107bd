package cli

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/pflag"

	"drawbridge/auth"
	"drawbridge/bridge"
	"drawbridge/internal/secret"
)

// options are the flags that every command that talks to a server knows.
type options struct {
	profile string

	clientID, clientMetadataURL       string
	clientSecretFile, clientSecretEnv string
	issuer                            string
	idp                               idpOptions
	scopes                            []string
	callback                          auth.CallbackConfig
	loginTimeout                      time.Duration
	noBrowser                         bool

	header        headerOptions
	network       networkOptions
	allowHTTP     bool
	transport     string
	startupBudget time.Duration
	maxMessage    int // in MiB

	tokenStore, tokenStoreDir, tokenStoreKeyFile, tokenStoreKeyCommand string

	forClient bool // standard input is an MCP client's: nobody can be asked anything there

	debug   bool
	logFile string

	flags        *pflag.FlagSet // that register was given
	foreignPort  string         // of the redirect URI, behind the URL as mcp-remote takes it
	staticSecret secret.Text    // of a client that is described as for mcp-remote
}

func (o *options) register(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.profile, "profile", "", "name of the account to use, when you have several at one server")
	f.StringVar(&o.clientID, "client-id", "", "OAuth client id that your identity provider's administrator gave you")
	f.StringVar(&o.clientSecretFile, "client-secret-file", "", "file that holds the client's secret")
	f.StringVar(&o.clientSecretEnv, "client-secret-env", "", "name of the environment variable that holds the client's secret")
	f.StringVar(&o.clientMetadataURL, "client-metadata-url", "", "https URL of a client id metadata document, used as client id")
	f.StringVar(&o.issuer, "issuer", "", "accept only this authorization server (its issuer URL)")
	f.StringSliceVar(&o.scopes, "scope", nil, "ask for this scope instead of what the server names (repeatable)")
	o.idp.register(f)
	f.StringVar(&o.callback.Host, "callback-host", "", "host of the redirect URI: 127.0.0.1, localhost or ::1 (default "+auth.DefaultCallbackHost+")")
	f.IntVar(&o.callback.Port, "callback-port", 0, fmt.Sprintf("port of the redirect URI (default %d for a given client id, else a free one)", auth.DefaultCallbackPort))
	f.StringVar(&o.callback.Path, "callback-path", "", "path of the redirect URI (default "+auth.DefaultCallbackPath+")")
	f.DurationVar(&o.loginTimeout, "login-timeout", auth.DefaultLoginTimeout, "how long a sign-in stays open")
	f.BoolVar(&o.noBrowser, "no-browser", false, "print the sign-in address instead of opening a browser")
	o.header.register(f)
	o.network.register(f)
	f.BoolVar(&o.allowHTTP, "allow-http", false, "accept an MCP server URL with plain http beyond this machine")
	registerTransport(f, &o.transport)
	f.IntVar(&o.maxMessage, "max-message", bridge.DefaultMaxMessage>>20, "the size of the largest message in either direction, in MiB")
	f.DurationVar(&o.startupBudget, "startup-budget", bridge.DefaultStartupBudget, "how long the client's handshake and lists wait for the server before they are answered in its place")
	f.StringVar(&o.tokenStore, "token-store", "", "where tokens live: keychain, kernel, file or memory (default: DRAWBRIDGE_TOKEN_STORE, else keychain)")
	f.StringVar(&o.tokenStoreDir, "token-store-dir", "", "directory of the file store (default: DRAWBRIDGE_TOKEN_STORE_DIR, else in your configuration directory)")
	f.StringVar(&o.tokenStoreKeyFile, "token-store-key-file", "", "key of the file store (default: DRAWBRIDGE_TOKEN_STORE_KEY_FILE)")
	f.StringVar(&o.tokenStoreKeyCommand, "token-store-key-command", "", "command that prints the key of the file store (default: DRAWBRIDGE_TOKEN_STORE_KEY_COMMAND)")
	f.BoolVar(&o.debug, "debug", false, "write a log to standard error; it never holds a secret")
	f.StringVar(&o.logFile, "log-file", "", "write the log to this file, as JSON lines")
	registerForeign(f)
}

// checkURL refuses what is no server URL. A word that is no URL is most likely a mistyped command.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil:
		return nil
	case err == nil && u.User != nil:
		return usageError{hinted{errors.New("the server URL holds a user name or password"), "leave it out; to send a header use --header 'Authorization: ${VAR}'"}}
	case err == nil && u.Scheme == "" && u.Host == "":
		return usageError{hinted{fmt.Errorf("%q is neither a command nor a URL", raw), "a server URL begins with https://; drawbridge --help lists the commands"}}
	}
	return usageError{hinted{fmt.Errorf("%q is not a server URL", raw), "a server URL looks like https://mcp.example.com/mcp"}}
}
