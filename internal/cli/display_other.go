//go:build windows || darwin

package cli

// hasDisplay reports whether a browser has a screen to appear on. Over SSH it would be the other end's.
func hasDisplay(env Env) bool { return env.getenv("SSH_CONNECTION") == "" }
