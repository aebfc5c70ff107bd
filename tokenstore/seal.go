package tokenstore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// keySize is the length of a key file: an AES-256 key.
const keySize = 32

const (
	sealWord   = "drawbridge-sealed"
	sealFormat = 1
)

// sealKey encrypts items. A sealed item is a line of text, then nonce and ciphertext of AES-256-GCM:
//
//	drawbridge-sealed FORMAT KEYID
//
// KEYID tells a wrong key from a damaged file. The line and the item's name are authenticated, so that files cannot be
// swapped for one another.
type sealKey struct {
	aead cipher.AEAD
	id   string
}

func newSealKey(key []byte) (sealKey, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealKey{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealKey{}, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("drawbridge key id"))
	return sealKey{aead, fmt.Sprintf("%x", mac.Sum(nil)[:8])}, nil
}

func (k sealKey) seal(name Name, text string) []byte {
	line := fmt.Sprintf("%s %d %s\n", sealWord, sealFormat, k.id)
	return k.aead.Seal([]byte(line), nil, []byte(text), []byte(line+string(name)))
}

func (k sealKey) open(name Name, sealed []byte) (string, error) {
	line, body, ok := bytes.Cut(sealed, []byte("\n"))
	f := strings.Split(string(line), " ")
	if !ok || len(f) < 2 || f[0] != sealWord {
		return "", damaged("it is not a sealed item")
	}
	if format, err := strconv.Atoi(f[1]); err != nil || format < sealFormat {
		return "", damaged("it has no format")
	} else if format > sealFormat {
		return "", newer(format)
	}
	if len(f) != 3 {
		return "", damaged("its first line is incomplete")
	}
	if f[2] != k.id {
		return "", &hinted{
			errors.New("the item was encrypted with another key"),
			"give the key file it was written with; if that is lost, remove the directory and sign in again",
		}
	}
	text, err := k.aead.Open(nil, nil, body, []byte(string(line)+"\n"+string(name)))
	if err != nil {
		return "", damaged("it is not authentic")
	}
	return string(text), nil
}

// CreateKeyFile makes a key for the file store: 32 random bytes that only this user can read. It returns an error that
// wraps fs.ErrExist if the file is there already; a key is never replaced, as all items would be lost with it.
func CreateKeyFile(path string) error {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never returns an error
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	_, err = file.Write(key)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("create key file: %w", errors.Join(err, os.Remove(path)))
	}
	return syncDir(filepath.Dir(path))
}

func readKeyFile(path string) (sealKey, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return sealKey{}, &hinted{fmt.Errorf("key file: %w", err), "create one: 32 random bytes, readable by you alone"}
	}
	if err != nil {
		return sealKey{}, fmt.Errorf("key file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return sealKey{}, fmt.Errorf("key file: %w", err)
	}
	if err := checkKeyMode(info); err != nil {
		return sealKey{}, err
	}
	key, err := io.ReadAll(io.LimitReader(file, keySize+1))
	if err != nil {
		return sealKey{}, fmt.Errorf("key file: %w", err)
	}
	if len(key) != keySize {
		return sealKey{}, fmt.Errorf("key file: want exactly %d bytes", keySize)
	}
	return newSealKey(key)
}

// checkApart refuses a key that lies with what it protects: a copy of the directory would then be a copy of the tokens.
func checkApart(dir, keyFile string) error {
	realDir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("file store: %w", err)
	}
	realKey, err := filepath.EvalSymlinks(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // reading it says so with a hint
	}
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	absDir, errDir := filepath.Abs(realDir)
	absKey, errKey := filepath.Abs(realKey)
	if err := errors.Join(errDir, errKey); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	if rel, err := filepath.Rel(absDir, absKey); err == nil && filepath.IsLocal(rel) {
		return &hinted{errors.New("key file: it lies in the directory of the items"), "keep the key file elsewhere"}
	}
	return nil
}
