package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"drawbridge/bridge"
)

func registerTransport(f *pflag.FlagSet, transport *string) {
	f.StringVar(transport, "transport", string(bridge.AnyTransport), "how the server is spoken to: auto, http (Streamable HTTP) or sse (HTTP+SSE of MCP 2024-11-05)")
}

// setTransport tells the bridge how to speak to the server: as the flag says, and as was found out the last time.
func (o *options) setTransport(cfg *bridge.Config, dir string) error {
	switch o.transport {
	case "auto", "http-first", "sse-first": // the latter are mcp-remote's; what was found out is tried first anyway
		cfg.Transport = bridge.AnyTransport
	case "http", "http-only":
		cfg.Transport = bridge.StreamableHTTP
	case "sse", "sse-only":
		cfg.Transport = bridge.HTTPWithSSE
	default:
		return usageError{hinted{fmt.Errorf("--transport %q is unknown", o.transport), "the transports are auto, http and sse"}}
	}
	if dir == "" || cfg.Transport != bridge.AnyTransport {
		return nil
	}
	known := knownTransport(filepath.Join(dir, "transport"))
	cfg.KnownSSE = known.isSSE()
	cfg.LearnedSSE = func(sse bool) { _ = known.learn(sse) } // without it the next start finds out anew
	return nil
}

// knownTransport is the file that says that a server speaks HTTP+SSE. There is none for a server that does not.
type knownTransport string

const knownSSE = "sse\n"

func (k knownTransport) isSSE() bool {
	text, err := os.ReadFile(string(k))
	return err == nil && string(text) == knownSSE
}

func (k knownTransport) learn(sse bool) error {
	if !sse {
		if err := os.Remove(string(k)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(string(k)), 0o700); err != nil {
		return err
	}
	return os.WriteFile(string(k), []byte(knownSSE), 0o600) // whoever reads half of it finds out anew
}
