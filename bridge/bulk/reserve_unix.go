//go:build (linux || darwin) && (amd64 || arm64) && !race

package bulk

import "golang.org/x/sys/unix"

const (
	// checked says that misuse is looked for.
	checked = false
	// Small is the size up to which a message is not worth lending memory for.
	Small = 64 << 10
)

// reserve returns size bytes that take no memory until they are written to.
func reserve(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
}

func unreserve(mem []byte) { _ = unix.Munmap(mem) } // it can only fail for memory that was not reserved
