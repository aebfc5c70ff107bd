package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// peer is one of those that are compared.
type peer struct {
	name  string
	start func(url string) (session, error)

	sessions map[string]session // open ones, by URL
}

const (
	nameDirect, namePipe, nameBridge, nameRemote = "direct", "pipe", "drawbridge", "mcp-remote"
)

// peers returns who takes part.
func (s *stage) peers() []*peer {
	all := []*peer{
		{name: nameDirect, start: func(url string) (session, error) { return newDirect(url, s.trust), nil }},
		{name: namePipe, start: s.child(func(string) []string { return []string{s.echo} })},
		{name: nameBridge, start: s.child(func(url string) []string { return append([]string{s.program}, s.arguments("run", url)...) })},
	}
	if s.nodeModules != "" {
		script := filepath.Join(s.nodeModules, "mcp-remote", "dist", "proxy.js")
		all = append(all, &peer{name: nameRemote, start: s.child(func(url string) []string {
			return []string{"node", script, url, "--allow-http", "--header", "Authorization: Bearer x"}
		})})
	}
	for _, p := range all {
		p.sessions = map[string]session{}
	}
	return all
}

func (s *stage) child(argv func(url string) []string) func(string) (session, error) {
	return func(url string) (session, error) { return startChild(argv(url), s.environment()) }
}

// opened returns a new session after its handshake.
func (p *peer) opened(ctx context.Context, url string) (session, error) {
	one, err := p.start(url)
	if err != nil {
		return nil, err
	}
	if _, _, err := one.open(ctx); err != nil {
		one.close()
		return nil, err
	}
	return one, nil
}

// session returns the peer's lasting session with a URL.
func (p *peer) session(ctx context.Context, url string) (session, error) {
	if p.sessions[url] != nil {
		return p.sessions[url], nil
	}
	one, err := p.opened(ctx, url)
	if err == nil {
		p.sessions[url] = one
	}
	return one, err
}

func (p *peer) close() {
	for _, one := range p.sessions {
		one.close()
	}
	clear(p.sessions)
}

// isPipe reports whether the peer has no server behind it.
func (p *peer) isPipe() bool { return p.name == namePipe }

// size writes a number of bytes as people do.
func size(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// slug makes a name for a row's key.
func slug(s string) string { return strings.ReplaceAll(s, " ", "") }
