package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"drawbridge/internal/secret"
)

// files is the store in encrypted files, one an item, for machines without a keychain. Whoever has both the directory
// and the key has the tokens, which is why the key comes from elsewhere: a path of its own, or a command.
type files struct {
	dir   string
	key   *lazyKey
	locks *locks
	log   *slog.Logger
}

const (
	sealedSuffix = ".sealed"
	tempPattern  = "new-*.tmp"
)

func openFiles(o Options) (*files, error) {
	if o.Dir == "" || !o.hasKey() {
		return nil, &hinted{errors.New("file store: it needs a directory and a key file"), hintNoKey}
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("file store: %w", err)
	}
	l := &locks{parent: o.Dir, dir: filepath.Join(o.Dir, "locks")}
	if err := l.prepare(); err != nil {
		return nil, fmt.Errorf("file store: %w", err)
	}
	key, err := openKey(o, l)
	if err != nil {
		return nil, err
	}
	return &files{dir: o.Dir, key: key, locks: l, log: o.Log}, nil
}

// hasKey reports whether there is a way to the key of the file store.
func (o Options) hasKey() bool {
	if o.KeyFile != "" || o.Key != nil {
		return true
	}
	_, err := os.Lstat(filepath.Join(o.Dir, passphraseFile))
	return takesPassphrase && (o.Passphrase != nil || err == nil)
}

// openKey reads the key file now, and asks for any other key later.
func openKey(o Options, l *locks) (*lazyKey, error) {
	switch {
	case o.Key != nil:
		return &lazyKey{ask: o.Key}, nil
	case o.KeyFile == "":
		return &lazyKey{ask: (&unlocking{o.Dir, o.Passphrase, l, keepKeys()}).key}, nil
	}
	if err := checkApart(o.Dir, o.KeyFile); err != nil {
		return nil, err
	}
	key, err := readKeyFile(o.KeyFile)
	return knownKey(key), err
}

func (f *files) Load(ctx context.Context, name Name) (secret.Text, error) {
	if err := name.check(); err != nil {
		return secret.Text{}, err
	}
	key, err := f.key.get(ctx)
	if err != nil {
		return secret.Text{}, err
	}
	unlock, err := f.locks.access(ctx) // Windows cannot replace a file that someone reads
	if err != nil {
		return secret.Text{}, err
	}
	defer unlock()
	sealed, err := f.read(name)
	if err != nil {
		return secret.Text{}, err
	}
	text, err := key.open(name, sealed)
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(text), nil
}

func (f *files) Save(ctx context.Context, name Name, item secret.Text) error {
	if err := checkItem(name, item); err != nil {
		return err
	}
	key, err := f.key.get(ctx)
	if err != nil {
		return err
	}
	unlock, err := f.locks.access(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := f.checkOwned(name, key); err != nil {
		return err
	}
	f.removeTemps()
	if err := replaceFile(f.path(name), key.seal(name, item.Reveal())); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (f *files) Delete(ctx context.Context, name Name) error {
	if err := name.check(); err != nil {
		return err
	}
	key, err := f.key.get(ctx)
	if err != nil {
		return err
	}
	unlock, err := f.locks.access(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := f.checkOwned(name, key); err != nil {
		return err
	}
	f.removeTemps()
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return syncDir(f.dir)
}

func (f *files) List(context.Context) ([]Name, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("list items: %w", err)
	}
	var names []Name
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), sealedSuffix)
		name := Name(strings.Replace(base, ".", ":", 1))
		if ok && name.check() == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

func (f *files) Lock(ctx context.Context, name string) (func(), error) {
	return f.locks.named(ctx, name)
}

func (f *files) Location() string { return "encrypted files in " + f.dir }

// path has a dot for the name's colon, which Windows does not allow in file names.
func (f *files) path(name Name) string {
	return filepath.Join(f.dir, strings.Replace(string(name), ":", ".", 1)+sealedSuffix)
}

func (f *files) read(name Name) ([]byte, error) {
	sealed, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return sealed, nil
}

// checkOwned refuses to touch what another key or a newer version sealed. A damaged file may be replaced.
func (f *files) checkOwned(name Name, key sealKey) error {
	sealed, err := f.read(name)
	if err == nil {
		_, err = key.open(name, sealed)
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
		return nil
	}
	return err
}

// removeTemps removes what a crash left. The access lock is held, so nobody is writing.
func (f *files) removeTemps() {
	left, _ := filepath.Glob(filepath.Join(f.dir, tempPattern)) // the pattern is well formed
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			f.log.Debug("leftover not removed", "error", err)
		}
	}
}

// replaceFile writes path whole or not at all, and durably: a rotated token must survive a power cut.
func replaceFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, tempPattern) // mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return syncDir(dir)
}
