//go:build !windows && !darwin

package cli

// hasDisplay reports whether a browser has a screen to appear on. Over SSH it would be the other end's.
func hasDisplay(env Env) bool {
	if env.getenv("SSH_CONNECTION") != "" && env.getenv("DISPLAY") == "" {
		return false
	}
	return env.getenv("DISPLAY") != "" || env.getenv("WAYLAND_DISPLAY") != "" || env.getenv("WSL_DISTRO_NAME") != ""
}
