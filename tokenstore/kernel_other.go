//go:build !linux

package tokenstore

import (
	"errors"
)

func openKernel(Options) (Store, error) {
	return nil, unavailable("open kernel keyring", hintChoices, errors.New("only Linux has one"))
}
