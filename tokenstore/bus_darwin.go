package tokenstore

const (
	keychainLocation = "macOS keychain"
	keychainItem     = smallItem
)

// reachable has nothing to check: every user has a keychain.
func reachable(string) error { return nil }
