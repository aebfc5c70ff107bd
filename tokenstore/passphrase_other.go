//go:build !linux

package tokenstore

// takesPassphrase says that keys cannot be kept for bridges, which makes a passphrase useless.
const takesPassphrase = false

func keepKeys() keptKeys { return nil }
