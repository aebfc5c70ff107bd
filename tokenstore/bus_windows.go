package tokenstore

const (
	keychainLocation = "Windows Credential Manager"
	keychainItem     = smallItem
)

// reachable has nothing to check: every user has a Credential Manager.
func reachable(string) error { return nil }
