package cli

import (
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"drawbridge/internal/clientconfig"
)

// clientLine is the command line that an MCP client starts: what add writes and list reads.
type clientLine struct {
	url     string
	options *options
	flags   *pflag.FlagSet // over options
	given   []string       // names of the flags that are part of the line
}

// parseClientLine reads the arguments of a bridge. It refuses other commands.
func parseClientLine(args []string) (clientLine, error) {
	l := clientLine{options: &options{}, flags: pflag.NewFlagSet("drawbridge", pflag.ContinueOnError)}
	l.flags.SortFlags = false
	l.flags.Usage = func() {}
	l.options.register(l.flags)
	if err := l.flags.Parse(args); err != nil {
		return l, usageError{err}
	}
	l.flags.Visit(func(f *pflag.Flag) { l.given = append(l.given, f.Name) })
	words := l.flags.Args()
	if len(words) > 1 && words[0] == "run" {
		words = words[1:]
	}
	if len(words) == 2 && isPort(words[1]) {
		words, l.options.foreignPort = words[:1], words[1]
	}
	if len(words) != 1 {
		return l, usageError{hinted{fmt.Errorf("one server URL is expected, not %q", words), "after -- come flags of the bridge, and nothing else"}}
	}
	l.url = words[0]
	return l, checkURL(l.url)
}

// args returns the line anew: the URL, and the flags that were given in the order in which help lists them. Files are named
// by their full path, because a client starts its servers in a folder of its choice.
func (l clientLine) args() ([]string, error) {
	args := []string{l.url}
	if l.options.foreignPort != "" {
		args = append(args, l.options.foreignPort)
	}
	var errs []error
	l.flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(l.given, f.Name) {
			return
		}
		for _, value := range valuesOf(f) {
			value, err := written(f.Name, value)
			errs = append(errs, err)
			args = append(args, flagWords(f, value)...)
		}
	})
	return args, errors.Join(errs...)
}

func valuesOf(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

func flagWords(f *pflag.Flag, value string) []string {
	switch on, err := strconv.ParseBool(value); {
	case f.Value.Type() != "bool":
		return []string{"--" + f.Name, value}
	case err == nil && on:
		return []string{"--" + f.Name}
	}
	return []string{"--" + f.Name + "=" + value}
}

// written is a flag's value as a client's configuration may hold it.
func written(name, value string) (string, error) {
	if why := secretInFlag(name, value); why != nil {
		return "", why
	}
	switch {
	case strings.HasPrefix(name, "static-oauth-") && strings.HasPrefix(value, "@"):
		path, err := filepath.Abs(value[1:])
		return "@" + path, err
	case name == "header", strings.HasPrefix(name, "static-oauth-"):
		// ${VAR} would be replaced by the client, and the value be seen in the arguments.
		return variablePattern.ReplaceAllString(value, "%{$1}"), nil
	case strings.HasSuffix(name, "-file"), strings.HasSuffix(name, "-dir"), name == "client-cert", name == "client-key":
		return filepath.Abs(value)
	}
	return value, nil
}

// variables returns the names of the environment variables that the line needs.
func (l clientLine) variables() (names []string) {
	for _, h := range slices.Concat(l.options.header.lines, valuesOf(l.flags.Lookup("static-oauth-client-info"))) {
		for _, ref := range variablePattern.FindAllStringSubmatch(h, -1) {
			names = append(names, ref[1])
		}
	}
	if l.options.clientSecretEnv != "" {
		names = append(names, l.options.clientSecretEnv)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// pinStore writes the token store down that this command's environment names: clients start their servers with another
// environment, and the sign-in would not be found.
func (l *clientLine) pinStore(env Env) error {
	s, err := l.options.storeOptions(env)
	if err != nil {
		return err
	}
	pins := map[string]string{"token-store": s.Kind}
	if s.Kind == "file" {
		pins["token-store-dir"], pins["token-store-key-file"] = s.Dir, s.KeyFile
		pins["token-store-key-command"] = firstOf(l.options.tokenStoreKeyCommand, env.getenv("DRAWBRIDGE_TOKEN_STORE_KEY_COMMAND"))
		if s.KeyFile != "" {
			delete(pins, "token-store-key-command")
		}
	}
	if s.Kind == "keychain" && !l.flags.Changed("token-store") {
		return nil // the default
	}
	for name, value := range pins {
		if value != "" && !l.flags.Changed(name) {
			err = errors.Join(err, l.flags.Set(name, value))
			l.given = append(l.given, name)
		}
	}
	return err
}

// sessionVariables are of use to a bridge that a client starts with an environment cut short: they lead to the person's
// display, keychain and network.
var sessionVariables = []string{
	"BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "SSH_CONNECTION", "WSL_DISTRO_NAME",
	"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

// setVariables returns those of the names that are set.
func setVariables(env Env, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return env.getenv(name) == "" })
}

// program returns the command that starts this program. One that is on the PATH is named as it is found there, so that an
// upgrade, which may move the program that a link leads to, leaves it good. In a file that others share it has no folder.
func program(env Env, scope clientconfig.Scope) (string, error) {
	self, err := env.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if strings.Contains(filepath.ToSlash(self), "/go-build") {
		return "", hinted{errors.New("this program is a temporary build of go run, which a client cannot start later"), "go build -o drawbridge ./cmd/drawbridge, and start that"}
	}
	found, err := exec.LookPath("drawbridge")
	if err != nil || !sameFile(found, self) {
		return self, nil
	}
	if scope == clientconfig.Project {
		return "drawbridge", nil
	}
	return filepath.Abs(found)
}

func sameFile(a, b string) bool {
	realA, errA := filepath.EvalSymlinks(a)
	realB, errB := filepath.EvalSymlinks(b)
	return errA == nil && errB == nil && realA == realB
}

// entryName is what a client lists a server as, from the name of its host: mcp.example.com is "example".
func entryName(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "drawbridge"
	}
	labels := strings.Split(strings.ToLower(u.Hostname()), ".")
	if isLoopback(u.Hostname()) || u.Hostname() != "" && strings.Trim(u.Hostname(), "0123456789.:") == "" {
		return "drawbridge-" + firstOf(u.Port(), "local")
	}
	generic := func(label string) bool { return slices.Contains([]string{"www", "mcp", "api"}, label) }
	for len(labels) > 2 && generic(labels[0]) {
		labels = labels[1:]
	}
	if len(labels) > 1 {
		labels = labels[:len(labels)-1]
	}
	return strings.Map(entryRune, strings.Join(labels, "-"))
}

// entryRune keeps to what every client accepts in a name.
func entryRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
		return r
	}
	return '-'
}

func checkEntryName(name string) error {
	if name == "" || len(name) > 64 || strings.Map(entryRune, name) != name {
		return usageError{hinted{fmt.Errorf("--name %q: want up to 64 letters, digits, hyphens and underscores", name), "clients accept nothing else"}}
	}
	return nil
}
