package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pkg/browser"
)

// canOpenBrowser reports whether there is a way to show the person a page.
func canOpenBrowser(env Env) bool { return env.getenv("BROWSER") != "" || hasDisplay(env) }

// opener returns what shows a URL in the person's browser, or nil when they asked for none or there is none.
func (o *options) opener(env Env) func(string) error {
	if o.noBrowser || !canOpenBrowser(env) {
		return nil
	}
	return func(raw string) error { return openBrowser(env, raw) }
}

// openBrowser opens raw, which comes from a server, in the person's browser. Only web addresses reach it: an opener
// runs files and other schemes too (CVE-2025-6514 was that). No shell is involved, and nothing the browser prints
// reaches standard output, which carries MCP.
func openBrowser(env Env, raw string) error {
	address, err := webAddress(raw)
	if err != nil {
		return err
	}
	if commands := env.getenv("BROWSER"); commands != "" {
		return startFirst(filepath.SplitList(commands), address)
	}
	if env.getenv("WSL_DISTRO_NAME") != "" {
		return startFirst(wslOpeners, address)
	}
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	return browser.OpenURL(address)
}

// wslOpeners open the browser of the Windows around a WSL machine, which rarely has one of its own. No shell is among
// them.
var wslOpeners = []string{"wslview", "rundll32.exe url.dll,FileProtocolHandler", "/mnt/c/Windows/System32/rundll32.exe url.dll,FileProtocolHandler"}

// sshTarget returns how the person's machine reaches this one by ssh, if that is how they came.
func sshTarget(env Env) string {
	fields := strings.Fields(env.getenv("SSH_CONNECTION")) // client address and port, server address and port
	if len(fields) != 4 || net.ParseIP(fields[2]) == nil {
		return ""
	}
	user := env.getenv("USER")
	if user == "" || strings.ContainsFunc(user, func(r rune) bool { return r <= ' ' || r > '~' || r == '@' || r == '-' && user[0] == '-' }) {
		return fields[2]
	}
	return user + "@" + fields[2]
}

// webAddress returns raw, rebuilt, if it is https, or http on this machine.
func webAddress(raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return "", errors.New("the sign-in address is no URL")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return u.String(), nil
	}
	return "", fmt.Errorf("the sign-in address has the scheme %q, want https", u.Scheme)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// startFirst starts the first of the commands of $BROWSER that can be started. %s stands for the address; without one,
// the address is the last argument.
func startFirst(commands []string, address string) error {
	err := errors.New("BROWSER names no command")
	for _, command := range commands {
		args := commandLine(command)
		if len(args) == 0 {
			continue
		}
		cmd := exec.Command(args[0], withAddress(args[1:], address)...)
		if err = cmd.Start(); err == nil {
			go func() { _ = cmd.Wait() }() // only so that no zombie stays; how a browser ends means nothing
			return nil
		}
	}
	return fmt.Errorf("start $BROWSER: %w", err)
}

// commandLine splits a command at its spaces, unless all of it is the path of a program.
func commandLine(command string) []string {
	if _, err := exec.LookPath(command); err == nil {
		return []string{command}
	}
	return strings.Fields(command)
}

func withAddress(args []string, address string) []string {
	var out []string
	found := false
	for _, a := range args {
		found = found || strings.Contains(a, "%s")
		out = append(out, strings.ReplaceAll(a, "%s", address))
	}
	if !found {
		out = append(out, address)
	}
	return out
}
