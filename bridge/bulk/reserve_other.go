//go:build (!(linux || darwin) || !(amd64 || arm64)) && !race

package bulk

import "errors"

const (
	// checked says that misuse is looked for.
	checked = false
	// Small is the size up to which a message is not worth lending memory for.
	Small = 64 << 10
)

// reserve leaves it to Room to grow the memory: 32-bit systems have no addresses to spare, and Windows charges what is
// reserved.
func reserve(int) ([]byte, error) { return nil, errors.ErrUnsupported }

func unreserve([]byte) {}
