package guard

import "context"

// GroupLookup finds groups that a token does not hold, with what the token says. An error denies the subject everything
// until it is asked again.
type GroupLookup func(ctx context.Context, id *Identity, claims map[string]any) ([]string, error)
