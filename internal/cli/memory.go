package cli

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"drawbridge/tokenstore"
)

// This file keeps what servers said (handshakes and lists, nothing secret) below the user's cache directory:
//
//	servers/HASH of server and profile/tools.list     one line that says whose it is, then the server's bytes
//
// A file that is damaged, of another version or of somebody else counts as absent, and is written over.

const (
	// memoryVersion begins the first line of a file. Another form of file gets another one.
	memoryVersion = "drawbridge memory 1"
	// maxRemembered bounds one file, in bytes, and maxServers the number of servers and profiles.
	maxRemembered, maxServers = 8 << 20, 100
)

// memory keeps what one server said to one profile. It implements [bridge.Memory].
type memory struct {
	dir   string
	owner func() string
	log   *slog.Logger
}

// cacheDir returns the directory for what may be deleted at any time; "" if there is none.
func cacheDir(env Env) string {
	if dir := env.getenv("DRAWBRIDGE_CACHE_DIR"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "drawbridge")
}

// memoryDir returns where the memory of one server and profile lies; "" if there is nowhere.
func memoryDir(env Env, url, profile string) string {
	dir := cacheDir(env)
	name, err := tokenstore.CredentialName(url, profile)
	if dir == "" || err != nil {
		return ""
	}
	_, hash, _ := strings.Cut(string(name), ":")
	return filepath.Join(dir, "servers", hash)
}

// forgetter deletes what is remembered of a server and profile whose sign-in has ended.
func forgetter(env Env, log *slog.Logger) func(url, profile, subject string) {
	return func(url, profile, _ string) {
		if dir := memoryDir(env, url, profile); dir != "" {
			if err := os.RemoveAll(dir); err != nil {
				log.Warn("what the server said to the former sign-in could not be deleted", "error", err)
			}
		}
	}
}

// Owner implements [bridge.Memory].
func (m memory) Owner() string { return m.owner() }

// Recall implements [bridge.Memory].
func (m memory) Recall(owner, name string) []byte {
	raw, err := readRemembered(m.path(name))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			m.log.Info("what the server said last is not readable", "what", name, "error", err)
		}
		return nil
	}
	said, ok := bytes.CutPrefix(raw, firstLine(owner, afterFirstLine(raw)))
	if !ok {
		m.log.Debug("what the server said last is damaged, or was said to somebody else", "what", name)
		return nil
	}
	return said
}

// Keep implements [bridge.Memory].
func (m memory) Keep(owner, name string, raw []byte) {
	text := append(firstLine(owner, raw), raw...)
	if old, err := readRemembered(m.path(name)); err == nil && bytes.Equal(old, text) {
		return
	}
	if err := m.write(name, text); err != nil {
		m.log.Info("what the server said could not be kept", "what", name, "error", err)
	}
}

// path returns the file of what the bridge calls name, such as "tools/list".
func (m memory) path(name string) string {
	return filepath.Join(m.dir, strings.NewReplacer("/", ".", " ", ".").Replace(name))
}

func (m memory) write(name string, text []byte) error {
	if _, err := os.Stat(m.dir); err != nil {
		m.prune()
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(m.dir, "new-*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), m.path(name))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // nothing of it counts
	}
	return err
}

// prune makes room for another server: those that were not written to for the longest time go.
func (m memory) prune() {
	servers := filepath.Dir(m.dir)
	entries, err := os.ReadDir(servers)
	if err != nil || len(entries) < maxServers {
		return
	}
	age := func(e fs.DirEntry) int64 {
		info, err := e.Info()
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(age(a), age(b)) })
	for _, e := range entries[:len(entries)-maxServers+1] {
		_ = os.RemoveAll(filepath.Join(servers, e.Name())) // it may be deleted at any time, also another time
	}
}

// firstLine says in what form, to whom and what. The digests tell whether the rest is whole and for whom it is; names
// of people do not appear.
func firstLine(owner string, said []byte) []byte {
	return fmt.Appendf(nil, "%s %x %x\n", memoryVersion, sha256.Sum256([]byte(owner)), sha256.Sum256(said))
}

func afterFirstLine(raw []byte) []byte {
	_, rest, _ := bytes.Cut(raw, []byte("\n"))
	return rest
}

// readRemembered reads a file that is not longer than one that was written here.
func readRemembered(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, maxRemembered+1))
	if err == nil && len(raw) > maxRemembered {
		err = errors.New("the file is too long")
	}
	return raw, err
}
