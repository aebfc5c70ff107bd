package main_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"drawbridge/internal/demo"
)

// watchTokens counts the requests to the MCP server that carry a credential.
func (p *place) watchTokens() *atomic.Int32 {
	var n atomic.Int32
	p.world.Server.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			n.Add(1)
		}
		return false
	})
	return &n
}

// wantNoAccess runs a bridge that has nobody to sign in, and looks whether a call gets through.
func (p *place) wantNoAccess(what string, args ...string) {
	p.t.Helper()
	w := p.start(append(args, "--login-timeout", "1s")...)
	w.send(initialize, initialized, callWhoami)
	if m := w.answer(`"whoami"`); m.Error == nil {
		p.t.Errorf("%s: the call is answered with %s", what, m.Result)
	}
	w.hangUp()
	w.wantExit(0)
}

// TestCopiedFolders: a project folder, caches and all else of a person's home but the key reach nothing in the hands of
// another account.
func TestCopiedFolders(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	wantEcho(t, p.connect(nil), "at home")
	url, old := p.world.URL(), p.home

	other := *p
	other.home = filepath.Join(t.TempDir(), "other home")
	other.vars = environment(other.home, "nobody")
	if err := os.CopyFS(other.home, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(other.home, "key")); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(other.home, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700) // as a copy by another account would be
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := prepareCopy(other.vars); err != nil {
		t.Fatal(err)
	}
	sent := p.watchTokens()
	if out, err := other.try("status", url); err == nil || strings.Contains(out, "expires in") {
		t.Errorf("status of the copy: %v\n%s", err, out)
	}
	other.wantNoAccess("a copy", url)

	if err := os.RemoveAll(filepath.Join(other.home, "config")); err != nil { // only folders that people do copy
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(other.home, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	other.wantNoAccess("a copied cache", url)
	if n := sent.Load(); n != 0 {
		t.Errorf("%d requests carried a credential", n)
	}
}

// prepareCopy makes the key of another account.
func prepareCopy(vars map[string]string) error {
	key := slices.Repeat([]byte{9}, 32) // another than the one at home
	return os.WriteFile(vars["DRAWBRIDGE_TOKEN_STORE_KEY_FILE"], key, 0o600)
}

// TestChangedURL: a URL that somebody edited in a client's configuration is a new place, where the old token does not go, be it
// at the very same server.
func TestChangedURL(t *testing.T) {
	p := newPlace(t, demo.Config{})
	p.do("login", p.world.URL())
	p.vars[varPerson] = "nobody"
	sent := p.watchTokens()
	url := p.world.URL()
	for what, edited := range map[string]string{
		"another query": url + "?tenant=x",
		"another path":  strings.TrimSuffix(url, "/mcp") + "/other",
		"another name":  strings.Replace(url, "127.0.0.1", "localhost", 1),
	} {
		p.wantNoAccess(what, edited)
	}
	p.wantNoAccess("another profile", url, "--profile", "work")
	if n := sent.Load(); n != 0 {
		t.Errorf("%d requests carried a credential", n)
	}
	wantEcho(t, p.connect(nil), "where it belongs")
}
