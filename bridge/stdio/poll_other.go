//go:build !unix

package stdio

import (
	"errors"
	"os"
)

// Poll is for systems whose pipes the runtime's poller can watch; on others it fails.
func Poll(*os.File) (polled *os.File, restore func(), err error) {
	return nil, nil, errors.ErrUnsupported
}
