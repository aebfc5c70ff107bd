package cli

import (
	"bytes"
	"crypto/md5" // a name for a port, as mcp-remote makes it
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"drawbridge/internal/secret"
)

// This file lets a client's configuration go from mcp-remote (0.15) to drawbridge by the name of the program alone: the
// arguments stay as they are. Flags of the same name and meaning are in options.go; those here are not shown by --help.

// foreign is a flag of mcp-remote that has another name here, or none.
type foreign struct {
	name  string
	bare  bool // it takes no value
	means string
	value func(string) (string, error) // of the flag it means; if nil, the same
	note  string                       // why it has no effect
	never string                       // why it is refused: going on would do something else
}

var foreignFlags = []foreign{
	{name: "host", means: "callback-host"},
	{name: "auth-timeout", means: "login-timeout", value: inSeconds},
	{name: "disable-resource-parameter", bare: true, means: "resource", value: always("none")},
	{name: "device-code", bare: true, means: "no-browser", value: always("true")},
	{name: "static-oauth-client-info"},     // see staticClient
	{name: "static-oauth-client-metadata"}, // see staticMetadata

	// What these two ask for is what happens.
	{name: "silent", bare: true},
	{name: "enable-proxy", bare: true},

	{name: "keep-alive", bare: true, note: "a connection that died is noticed and opened again without it"},
	{name: "ping-interval", note: "a connection that died is noticed and opened again without it"},
	{name: "connect-timeout", note: "a server that cannot be reached is given up after 20 s, and the client is answered earlier"},
	{name: "headers-timeout", note: "a call may take as long as the client waits for it"},
	{name: "body-timeout", note: "a call may take as long as the client waits for it"},
	{name: "ipv4", bare: true, note: "IPv4 is tried soon where IPv6 does not answer"},
	{name: "protocol", note: "the revision is found out"},
	{name: "auth-success-url", note: "the page after the sign-in is drawbridge's own"},
	{name: "disable-cookies", bare: true, note: "cookies are kept in memory, and go to the server's origin alone"},

	{name: "ignore-tool", never: "drawbridge does not filter tools, and leaving the flag out would show them"},
	{name: "use-id-token", bare: true, never: "an id token is for the client, not for the server; drawbridge sends access tokens only"},
	{name: "client-credentials", bare: true, never: "drawbridge signs a person in, not a program"},
	{name: "token-endpoint", never: "drawbridge signs a person in, and asks the metadata where"},
}

func registerForeign(f *pflag.FlagSet) {
	for _, flag := range foreignFlags {
		if flag.bare {
			f.Bool(flag.name, false, "")
		} else {
			f.StringArray(flag.name, nil, "")
		}
		must(f.MarkHidden(flag.name))
	}
}

func always(value string) func(string) (string, error) {
	return func(string) (string, error) { return value, nil }
}

func inSeconds(value string) (string, error) {
	if n, err := strconv.Atoi(value); err != nil || n <= 0 {
		return "", fmt.Errorf("%q: want a number of seconds", value)
	}
	return value + "s", nil
}

// translate gives flags of mcp-remote their meaning here, unless a flag of ours says otherwise. It may be called again.
func (o *options) translate(env Env, url string) error {
	for _, flag := range foreignFlags {
		f := o.flags.Lookup(flag.name)
		if !f.Changed {
			continue
		}
		values := valuesOf(f)
		switch value := values[len(values)-1]; { // the last counts
		case flag.never != "":
			return usageError{hinted{fmt.Errorf("--%s: %s", flag.name, flag.never), "stay with mcp-remote for this server, or leave the flag out if you can do without it"}}
		case flag.note != "":
			notice(env)("--" + flag.name + " has no effect: " + flag.note)
		case flag.means != "":
			if flag.value != nil {
				var err error
				if value, err = flag.value(value); err != nil {
					return usageError{fmt.Errorf("--%s %w", flag.name, err)}
				}
			}
			if err := o.setIfNot(flag.means, value); err != nil {
				return usageError{fmt.Errorf("--%s: %w", flag.name, err)}
			}
		}
	}
	return errors.Join(o.staticMetadata(env), o.staticClient(env, url))
}

// setIfNot sets a flag of ours that was not given.
func (o *options) setIfNot(name, value string) error {
	if o.flags.Changed(name) {
		return nil
	}
	return o.flags.Set(name, value)
}

// foreignJSON decodes the value of a flag, which is JSON or, after an @, the name of a file with JSON.
func (o *options) foreignJSON(env Env, name string, into any) (given bool, err error) {
	f := o.flags.Lookup(name)
	if !f.Changed {
		return false, nil
	}
	values := valuesOf(f)
	text := values[len(values)-1]
	if path, ok := strings.CutPrefix(text, "@"); ok {
		content, err := os.ReadFile(path)
		if err != nil {
			return true, fmt.Errorf("--%s: %w", name, err)
		}
		text = string(content)
	}
	text = strings.NewReplacer("\n", " ", "\r", " ").Replace(text) // between the tokens, where JSON has them
	if text, err = expand(text, env.LookupEnv); err != nil {
		return true, fmt.Errorf("--%s: %w", name, err)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return true, usageError{hinted{fmt.Errorf("--%s: the text is no JSON object", name), "write the JSON itself, or @ and the path of a file with it"}}
	}
	return true, nil
}

// staticMetadata takes the scope, which is what people give this flag for. The rest is negotiated.
func (o *options) staticMetadata(env Env) error {
	var metadata struct{ Scope string }
	given, err := o.foreignJSON(env, "static-oauth-client-metadata", &metadata)
	if !given || err != nil || metadata.Scope == "" {
		return err
	}
	return o.setIfNot("scope", strings.Join(strings.Fields(metadata.Scope), ","))
}

// staticClient takes the client that an administrator registered for mcp-remote, with its redirect URI: a client that was
// registered with it would be refused with another.
func (o *options) staticClient(env Env, url string) error {
	var client struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	given, err := o.foreignJSON(env, "static-oauth-client-info", &client)
	switch {
	case err != nil:
		return err
	case given && client.ID == "":
		return usageError{errors.New("--static-oauth-client-info: there is no client_id in it")}
	case given:
		err = o.setIfNot("client-id", client.ID)
		o.staticSecret = secret.New(client.Secret)
		o.warnOfLiteral(env)
	case o.foreignPort == "":
		return nil
	}
	port := o.foreignPort
	if port == "" {
		port = strconv.Itoa(o.derivedPort(url))
	}
	host := "localhost"
	if runtime.GOOS == "windows" {
		host = "127.0.0.1"
	}
	return errors.Join(err, o.setIfNot("callback-host", host), o.setIfNot("callback-port", port), o.setIfNot("callback-path", "/oauth/callback"))
}

// warnOfLiteral says once for each start that the secret stands in the arguments.
func (o *options) warnOfLiteral(env Env) {
	for _, value := range valuesOf(o.flags.Lookup("static-oauth-client-info")) {
		if !strings.HasPrefix(value, "@") && secretInFlag("static-oauth-client-info", value) != nil {
			notice(env)("warning: other programs can read the client_secret of --static-oauth-client-info; write ${VAR} in its place, or @ and the path of a file")
		}
	}
}

// derivedPort is the port that mcp-remote takes for a server unless it is told another.
func (o *options) derivedPort(url string) int {
	parts := []string{url}
	if o.idp.resource != "" && o.idp.resource != "none" {
		parts = append(parts, o.idp.resource)
	}
	for _, pairs := range []map[string]string{pairsOf(o.idp.authorizeParams, "="), pairsOf(o.header.lines, ":")} {
		if len(pairs) > 0 {
			parts = append(parts, compactJSON(pairs))
		}
	}
	if o.clientMetadataURL != "" {
		parts = append(parts, o.clientMetadataURL)
	}
	sum := md5.Sum([]byte(strings.Join(parts, "|")))
	return 3335 + int(binary.BigEndian.Uint16(sum[:]))%45816
}

func pairsOf(lines []string, separator string) map[string]string {
	pairs := map[string]string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, separator)
		pairs[strings.TrimSpace(name)] = strings.TrimLeft(value, " ")
	}
	return pairs
}

// compactJSON writes what JSON.stringify writes.
func compactJSON(v any) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // strings always encode
	return strings.TrimSuffix(out.String(), "\n")
}

// bridgeArgs takes the URL, and a port behind it as mcp-remote does.
func (o *options) bridgeArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 2 && isPort(args[1]) {
		o.foreignPort, args = args[1], args[:1]
	}
	return oneURL(cmd, args)
}

// isPort reports whether a second argument is mcp-remote's: the port of the redirect URI.
func isPort(word string) bool {
	n, err := strconv.ParseUint(word, 10, 16)
	return err == nil && n > 0
}
