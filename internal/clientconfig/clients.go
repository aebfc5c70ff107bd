package clientconfig

import (
	"os"
	"path/filepath"
	"slices"
)

// Machine is what the places of configuration files depend on.
type Machine struct {
	OS      string // as runtime.GOOS
	Home    string // the person's home directory
	Config  string // where programs keep their configuration, as os.UserConfigDir
	Project string // folder of the project, for the scopes Project and Local

	// Getenv returns an environment variable, or "".
	Getenv func(name string) string
}

// Client is an MCP client whose configuration files are known.
type Client struct {
	ID   string // what people type
	Name string // what people say

	// Note is what a person has to do in the client before a new entry works.
	Note string

	files   map[Scope]func(Machine) []string // candidates: the first that exists is the file, else the first
	markers func(Machine) []string           // paths of which one exists where the client is installed
	format  format
}

// Clients returns all clients, in the order in which they are shown.
func Clients() []Client {
	return []Client{claudeCode, claudeDesktop, cursor, vscode, windsurf, zed, codex, gemini, opencode}
}

// ClientByID returns the client that people call id.
func ClientByID(id string) (Client, bool) {
	i := slices.IndexFunc(Clients(), func(c Client) bool { return c.ID == id })
	if i < 0 {
		return Client{}, false
	}
	return Clients()[i], true
}

// Scopes returns the scopes that the client knows.
func (c Client) Scopes() (scopes []Scope) {
	for _, s := range Scopes() {
		if c.files[s] != nil {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// Path returns the client's configuration file of a scope, whether it exists or not.
func (c Client) Path(m Machine, s Scope) (string, error) {
	candidates := c.files[s]
	if candidates == nil {
		return "", ErrScope
	}
	paths := candidates(m)
	for _, path := range paths {
		if exists(path) {
			return path, nil
		}
	}
	return paths[0], nil
}

// Installed reports whether the client has left files on the machine.
func (c Client) Installed(m Machine) bool { return slices.ContainsFunc(c.markers(m), exists) }

func exists(path string) bool {
	_, err := os.Lstat(path) // a link counts, wherever it leads
	return err == nil
}

// xdg is the configuration directory of programs that follow the XDG convention on every system.
func (m Machine) xdg() string {
	if dir := m.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return dir
	}
	return filepath.Join(m.Home, ".config")
}

// own returns the directory that a variable names, else one in the home directory.
func (m Machine) own(variable, name string) string {
	if dir := m.Getenv(variable); dir != "" {
		return dir
	}
	return filepath.Join(m.Home, name)
}

func one(path string) []string { return []string{path} }

// inProject is a file of the project's folder.
func inProject(elem ...string) func(Machine) []string {
	return func(m Machine) []string { return one(filepath.Join(append([]string{m.Project}, elem...)...)) }
}

var claudeCode = Client{
	ID: "claude-code", Name: "Claude Code",
	files: map[Scope]func(Machine) []string{User: claudeCodeState, Local: claudeCodeState, Project: inProject(".mcp.json")},
	markers: func(m Machine) []string {
		return append(claudeCodeState(m), m.own("CLAUDE_CONFIG_DIR", ".claude"))
	},
	format: jsonFormat{
		dialect: strict, shape: typedShape,
		at: func(m Machine, s Scope) []string {
			if s == Local {
				return []string{"projects", claudeCodeProject(m), "mcpServers"}
			}
			return []string{"mcpServers"}
		},
	},
}

// claudeCodeState is the file that holds the scopes user and local, beside much that is not configuration.
func claudeCodeState(m Machine) []string {
	return one(filepath.Join(m.own("CLAUDE_CONFIG_DIR", ""), ".claude.json"))
}

// claudeCodeProject is the key of a project: its path with links resolved, and with slashes on every system.
func claudeCodeProject(m Machine) string {
	if real, err := filepath.EvalSymlinks(m.Project); err == nil {
		return filepath.ToSlash(real)
	}
	return filepath.ToSlash(m.Project)
}

var claudeDesktop = Client{
	ID: "claude-desktop", Name: "Claude Desktop", Note: "quit and start Claude Desktop",
	files: map[Scope]func(Machine) []string{User: func(m Machine) []string {
		return one(filepath.Join(claudeDesktopHome(m), "claude_desktop_config.json"))
	}},
	markers: func(m Machine) []string { return one(claudeDesktopHome(m)) },
	format:  jsonFormat{dialect: strict, shape: plainShape, at: under("mcpServers")},
}

// claudeDesktopHome is the folder of the app; packaged for Windows, it has a file system of its own.
func claudeDesktopHome(m Machine) string {
	packaged := filepath.Join(m.Getenv("LOCALAPPDATA"), "Packages", "Claude_pzs8sxrjxfjjc", "LocalCache", "Roaming", "Claude")
	if m.OS == "windows" && exists(packaged) {
		return packaged
	}
	return filepath.Join(m.Config, "Claude")
}

var cursor = Client{
	ID: "cursor", Name: "Cursor",
	files: map[Scope]func(Machine) []string{
		User:    func(m Machine) []string { return one(filepath.Join(m.Home, ".cursor", "mcp.json")) },
		Project: inProject(".cursor", "mcp.json"),
	},
	markers: func(m Machine) []string { return one(filepath.Join(m.Home, ".cursor")) },
	format:  jsonFormat{dialect: relaxed, shape: plainShape, at: under("mcpServers")},
}

var vscode = Client{
	ID: "vscode", Name: "VS Code",
	files: map[Scope]func(Machine) []string{
		User:    func(m Machine) []string { return one(filepath.Join(m.Config, "Code", "User", "mcp.json")) },
		Project: inProject(".vscode", "mcp.json"),
	},
	markers: func(m Machine) []string { return one(filepath.Join(m.Config, "Code")) },
	format:  jsonFormat{dialect: relaxed, shape: typedShape, at: under("servers")},
}

var windsurf = Client{
	ID: "windsurf", Name: "Windsurf",
	files: map[Scope]func(Machine) []string{User: func(m Machine) []string {
		return one(filepath.Join(m.Home, ".codeium", "windsurf", "mcp_config.json"))
	}},
	markers: func(m Machine) []string { return one(filepath.Join(m.Home, ".codeium", "windsurf")) },
	format:  jsonFormat{dialect: relaxed, shape: plainShape, at: under("mcpServers")},
}

var zed = Client{
	ID: "zed", Name: "Zed",
	files: map[Scope]func(Machine) []string{
		User:    func(m Machine) []string { return one(filepath.Join(zedHome(m), "settings.json")) },
		Project: inProject(".zed", "settings.json"),
	},
	markers: func(m Machine) []string { return one(zedHome(m)) },
	format:  jsonFormat{dialect: relaxed, shape: plainShape, at: under("context_servers")},
}

func zedHome(m Machine) string {
	switch m.OS {
	case "windows":
		return filepath.Join(m.Config, "Zed")
	case "darwin":
		return filepath.Join(m.Home, ".config", "zed")
	}
	return filepath.Join(m.xdg(), "zed")
}

var codex = Client{
	ID: "codex", Name: "Codex CLI",
	files: map[Scope]func(Machine) []string{
		User:    func(m Machine) []string { return one(filepath.Join(m.own("CODEX_HOME", ".codex"), "config.toml")) },
		Project: inProject(".codex", "config.toml"),
	},
	markers: func(m Machine) []string { return one(m.own("CODEX_HOME", ".codex")) },
	format:  tomlFormat{table: "mcp_servers"},
}

var gemini = Client{
	ID: "gemini", Name: "Gemini CLI",
	files: map[Scope]func(Machine) []string{
		User:    func(m Machine) []string { return one(filepath.Join(m.Home, ".gemini", "settings.json")) },
		Project: inProject(".gemini", "settings.json"),
	},
	markers: func(m Machine) []string { return one(filepath.Join(m.Home, ".gemini")) },
	format:  jsonFormat{dialect: commented, shape: geminiShape, at: under("mcpServers")},
}

var opencode = Client{
	ID: "opencode", Name: "opencode",
	files: map[Scope]func(Machine) []string{
		User: func(m Machine) []string {
			dir := filepath.Join(m.xdg(), "opencode")
			return []string{filepath.Join(dir, "opencode.json"), filepath.Join(dir, "opencode.jsonc")}
		},
		Project: func(m Machine) []string {
			return []string{filepath.Join(m.Project, "opencode.json"), filepath.Join(m.Project, "opencode.jsonc")}
		},
	},
	markers: func(m Machine) []string { return one(filepath.Join(m.xdg(), "opencode")) },
	// opencode writes "$schema" into a file that has none.
	format: jsonFormat{dialect: relaxed, shape: opencodeShape, at: under("mcp"), fresh: fields{{"$schema", "https://opencode.ai/config.json"}}},
}
