// Package demo is the other side of drawbridge's conversation: an identity provider and a protected MCP server.
//
// Both are real peers on loopback ports, not rubber stamps: they refuse what a company's identity provider and server
// refuse, and they have a switch for every refusal and for the misbehaviour seen in the field. The `demo` command
// shows them to a person, and the tests of this module talk to them.
//
//	Human ──forms──▶ IdP ──access token (JWT)──▶ client ──Bearer──▶ Server
//	                  ▲──────────────── JWKS ───────────────────────┘
//
// All state is in memory. Secrets that the identity provider hands out contain the word CANARY and are listed by
// [IdP.Issued], so that a test can look for them in every place where they must not be.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config says what [Start] builds. The zero value is a world on random ports with the default users.
type Config struct {
	// IdP configures the identity provider. Its Resources need not name the server's URL; Start adds it.
	IdP IdPConfig
	// Server configures the MCP server. If its Issuer is empty and it is neither Open nor has an APIKey, tokens of
	// the IdP are required.
	Server ServerConfig
	// TokenLifetime is how long access tokens live. If zero, the IdP's own setting holds.
	TokenLifetime time.Duration
	// Now is the clock of both. If nil, time.Now.
	Now func() time.Time
	// Log receives diagnostics of both, never a secret. If nil, they are discarded.
	Log *slog.Logger
}

// World is an identity provider and an MCP server that trusts it.
type World struct {
	IdP    *IdP
	Server *Server
}

// Start runs both peers until [World.Close] is called or ctx ends.
func Start(ctx context.Context, cfg Config) (*World, error) {
	idpCfg, serverCfg := cfg.split()
	idp, err := StartIdP(ctx, idpCfg)
	if err != nil {
		return nil, fmt.Errorf("start identity provider: %w", err)
	}
	if serverCfg.Issuer == "" && !serverCfg.Open && serverCfg.APIKey.IsZero() {
		serverCfg.Issuer, serverCfg.Revoked = idp.Issuer(), idp.Revoked
	}
	server, err := StartServer(ctx, serverCfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start server: %w", err), idp.Close())
	}
	idp.AddResource(server.URL())
	idp.AddResource(server.Origin()) // for MetadataAtRoot
	return &World{IdP: idp, Server: server}, nil
}

// split hands the shared settings down where the specific ones are absent.
func (c Config) split() (IdPConfig, ServerConfig) {
	idp, server := c.IdP, c.Server
	if c.TokenLifetime != 0 {
		idp.TokenLifetime = c.TokenLifetime
	}
	if idp.Now == nil {
		idp.Now = c.Now
	}
	if server.Now == nil {
		server.Now = c.Now
	}
	if idp.Log == nil {
		idp.Log = c.Log
	}
	if server.Log == nil {
		server.Log = c.Log
	}
	return idp, server
}

// URL is the MCP endpoint, the URL that a user gives to drawbridge.
func (w *World) URL() string { return w.Server.URL() }

// Issuer is the issuer identifier of the identity provider.
func (w *World) Issuer() string { return w.IdP.Issuer() }

// Close stops both peers and cuts their connections. It may be called more than once.
func (w *World) Close() error { return errors.Join(w.Server.Close(), w.IdP.Close()) }
