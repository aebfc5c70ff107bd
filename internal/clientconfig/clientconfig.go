// Package clientconfig reads and changes the configuration files of MCP clients: which files there are, where a client
// keeps its servers in them, and how an entry gets in and out again without another byte changing.
//
// The editors splice. A parser with positions (hujson for JSON, go-toml for TOML) says where a table ends, and text is
// inserted or cut there; nothing is printed anew. Comments, trailing commas, indentation, line ends and a byte order mark
// therefore stay, and taking out what was put in gives the file that was there. After each edit the new text is decoded
// and compared with the old: a change of anything but the entry is an error, and nothing is written.
//
// The package knows files and formats. It knows nothing of flags, terminals, OAuth, or what an entry's command does.
package clientconfig

import (
	"errors"
	"fmt"
)

// Scope says for whom an entry counts.
type Scope string

// Scopes. Not every client has each; [Client.Scopes] says which.
const (
	User    Scope = "user"    // one person, in every project
	Project Scope = "project" // everybody who works on a project: the file is part of it
	Local   Scope = "local"   // one person, in one project (Claude Code)
)

// Scopes returns all scopes.
func Scopes() []Scope { return []Scope{User, Project, Local} }

// Entry is a server that a client starts as a local command.
type Entry struct {
	Name    string // by which the client lists it
	Command string
	Args    []string

	// Variables are the names of environment variables that the command needs. Session are those that help it where they are
	// set: display, session bus, proxies. They are written for clients that keep variables from their servers.
	Variables, Session []string
}

// ErrUnchanged is why there is no change: the entry is there already, as it would be written.
var ErrUnchanged = errors.New("the entry is there already")

// ErrTaken is why an entry is not added: there is another one of that name.
var ErrTaken = errors.New("there is another entry of that name")

// ErrNoEntry is why an entry is not removed: there is none of that name.
var ErrNoEntry = errors.New("there is no such entry")

// ErrScope is why a client has no file for a scope: it does not know the scope.
var ErrScope = errors.New("this client has no such scope")

// ParseError is a file that cannot be read as what it should be. Nothing was changed.
type ParseError struct {
	Path         string
	Line, Column int // from 1; the column counts bytes
	Err          error
}

// Error names the place in the file.
func (e *ParseError) Error() string {
	return fmt.Sprintf("%s: line %d, column %d: %v", e.Path, e.Line, e.Column, e.Err)
}

// Unwrap returns what is wrong there.
func (e *ParseError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *ParseError) Hint() string {
	return "nothing was written; correct the file there, the client may not be able to read it either"
}

// badText is a ParseError without its path, which the editors do not know.
func badText(text []byte, offset int, err error) *ParseError {
	offset = min(max(offset, 0), len(text))
	line, start := 1, 0
	for i, b := range text[:offset] {
		if b == '\n' {
			line, start = line+1, i+1
		}
	}
	return &ParseError{Line: line, Column: offset - start + 1, Err: err}
}

// inFile adds the path to an editor's error.
func inFile(path string, err error) error {
	var bad *ParseError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad):
		bad.Path = path
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}
