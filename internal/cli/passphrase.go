package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// AskAt returns what asks for a secret at a terminal, without showing what is typed. It is nil where in and out are none.
func AskAt(in, out *os.File) func(prompt string) (secret.Text, error) {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return nil
	}
	return func(prompt string) (secret.Text, error) {
		fmt.Fprint(out, prompt)
		typed, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(out) // the one that was typed is not shown
		if errors.Is(err, io.EOF) {
			err = errors.New("nothing was typed")
		}
		return secret.New(string(typed)), err
	}
}

// KeepTerminal returns what gives a terminal its echo back, should the process end while a secret is being typed.
func KeepTerminal(in *os.File) func() {
	state, err := term.GetState(int(in.Fd()))
	if err != nil {
		return func() {} // no terminal
	}
	return func() { _ = term.Restore(int(in.Fd()), state) } // best effort: the process ends
}

// passphrase asks for that of the file store in dir; nil where nobody can be asked.
func (o *options) passphrase(env Env, dir string) func(first bool) (secret.Text, error) {
	if env.AskSecret == nil || o.forClient {
		return nil
	}
	return func(first bool) (secret.Text, error) {
		if !first {
			return env.AskSecret("passphrase of the token store in " + dir + ": ")
		}
		notice(env)("the token store in " + dir + " has no key yet: choose a passphrase for it")
		chosen, err := env.AskSecret("new passphrase: ")
		if err != nil {
			return chosen, err
		}
		again, err := env.AskSecret("the same again: ")
		if err == nil && !again.Equal(chosen) {
			err = hinted{errors.New("the two passphrases differ"), "try again"}
		}
		notice(env)(fmt.Sprintf("bridges find the store unlocked for %v after each time that you type it, until the machine restarts", tokenstore.UnlockedFor))
		return chosen, err
	}
}
