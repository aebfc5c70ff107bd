package tokenstore

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"drawbridge/internal/secret"
)

// The key of a file store may come from a passphrase. A bridge that a client starts has nobody to ask, so the key that a
// person has unlocked at a terminal lies in the kernel keyring for a while, where bridges find it. Only Linux has one.
//
// The file "passphrase" beside the items has one line:
//
//	drawbridge-passphrase FORMAT SALT KEYID
//
// FORMAT 1 is Argon2id with the second recommendation of RFC 9106 section 4: 3 passes, 64 MiB, 4 lanes. KEYID tells a wrong
// passphrase before an item is opened.

// UnlockedFor is how long a key stays in the kernel keyring after its passphrase was last typed.
const UnlockedFor = 12 * time.Hour

const (
	passphraseFile   = "passphrase"
	passphraseWord   = "drawbridge-passphrase"
	saltSize         = 16
	minPassphrase    = 12 // bytes; whoever has the files can try as fast as Argon2id lets them
	passphraseTries  = 3
	argonPasses      = 3
	argonKiB         = 64 << 10
	argonLanes       = 4
	hintUnlock       = "run drawbridge status at a terminal and type the passphrase, which unlocks the store for 12 hours; or use --token-store-key-file PATH or --token-store-key-command"
	hintWrongPhrase  = "if it is lost, remove the directory and sign in again"
	hintShortPhrase  = "several words make a good one"
	hintAnotherStore = "add --token-store-key-file PATH or --token-store-key-command with the key that they were written with"
)

// unlocking gets the key of the file store in dir.
type unlocking struct {
	dir   string
	ask   func(first bool) (secret.Text, error) // nil where nobody can be asked
	locks *locks
	kept  keptKeys
}

// keptKeys is where unlocked keys are kept between processes.
type keptKeys interface {
	get(id string) ([]byte, bool)
	put(id string, key []byte) error
}

// key returns the key that somebody unlocked, or asks for the passphrase.
func (u *unlocking) key() (secret.Text, error) {
	salt, id, err := u.salt()
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return secret.Text{}, err
	}
	if key, ok := u.kept.get(id); !first && ok {
		return secret.New(string(key)), nil
	}
	if u.ask == nil {
		return secret.Text{}, &hinted{errors.New("it has a passphrase, and nobody unlocked it lately"), hintUnlock}
	}
	var key []byte
	if first {
		key, id, err = u.choose()
	} else {
		key, err = u.retype(salt, id)
	}
	if err == nil {
		err = u.kept.put(id, key)
	}
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(string(key)), nil
}

// salt reads the passphrase's file. The error wraps fs.ErrNotExist where no passphrase was chosen.
func (u *unlocking) salt() (salt []byte, id string, err error) {
	text, err := os.ReadFile(filepath.Join(u.dir, passphraseFile))
	if err != nil {
		return nil, "", err
	}
	f := strings.Fields(string(text))
	if len(f) >= 2 && f[0] == passphraseWord && f[1] != "1" {
		return nil, "", &hinted{fmt.Errorf("passphrase file: %w", ErrNewer), hintUpgrade}
	}
	if len(f) == 4 && f[0] == passphraseWord {
		salt, err = base64.RawStdEncoding.DecodeString(f[2])
	}
	if err != nil || len(salt) != saltSize {
		return nil, "", &hinted{errors.New("the passphrase file is damaged"), hintWrongPhrase}
	}
	return salt, f[3], nil
}

// choose asks for a new passphrase. Nothing may lie there that another key sealed.
func (u *unlocking) choose() (key []byte, id string, err error) {
	if left, _ := filepath.Glob(filepath.Join(u.dir, "*"+sealedSuffix)); len(left) > 0 { // the pattern is well formed
		return nil, "", &hinted{errors.New("there are items that no passphrase was chosen for"), hintAnotherStore}
	}
	phrase, err := u.ask(true)
	if err != nil {
		return nil, "", err
	}
	if len(phrase.Reveal()) < minPassphrase {
		return nil, "", &hinted{fmt.Errorf("the passphrase is too short: at least %d characters", minPassphrase), hintShortPhrase}
	}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never returns an error
	if key, id, err = derive(phrase, salt); err != nil {
		return nil, "", err
	}
	return key, id, u.settle(salt, id)
}

// settle writes the passphrase's file, unless another process was faster.
func (u *unlocking) settle(salt []byte, id string) error {
	unlock, err := u.locks.access(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	if _, _, err := u.salt(); !errors.Is(err, fs.ErrNotExist) {
		return &hinted{errors.New("another process has just chosen a passphrase"), "try again with that one"}
	}
	line := fmt.Sprintf("%s 1 %s %s\n", passphraseWord, base64.RawStdEncoding.EncodeToString(salt), id)
	return replaceFile(filepath.Join(u.dir, passphraseFile), []byte(line))
}

// retype asks for the passphrase that was chosen.
func (u *unlocking) retype(salt []byte, id string) ([]byte, error) {
	for range passphraseTries {
		phrase, err := u.ask(false)
		if err != nil {
			return nil, err
		}
		key, got, err := derive(phrase, salt)
		if err != nil || got == id {
			return key, err
		}
	}
	return nil, &hinted{errors.New("that is not the passphrase"), hintWrongPhrase}
}

func derive(phrase secret.Text, salt []byte) (key []byte, id string, err error) {
	key = argon2.IDKey([]byte(phrase.Reveal()), salt, argonPasses, argonKiB, argonLanes, keySize)
	k, err := newSealKey(key)
	return key, k.id, err
}
