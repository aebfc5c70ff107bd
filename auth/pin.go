package auth

import (
	"context"
	"errors"
	"fmt"

	"drawbridge/internal/secret"
	"drawbridge/tokenstore"
)

// pinName names the item that says to which issuer a pre-registered client belongs.
func (s *Session) pinName() tokenstore.Name {
	return tokenstore.NewName(kindPin, s.cfg.Client.ID)
}

// checkPin refuses an issuer other than the pinned or first used one: a server can claim any authorization server in
// its metadata, and must not thereby learn a client's secret (MCP 2026-07-28, authorization server binding).
func (s *Session) checkPin(ctx context.Context, issuer string) error {
	if s.cfg.Issuer != "" || s.cfg.Client.ID == "" {
		return nil // --issuer was compared when the issuer was chosen
	}
	pinned, err := s.cfg.Store.Load(ctx, s.pinName())
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("read the issuer of client %s: %w", quoted(s.cfg.Client.ID), err)
	case pinned.Reveal() == issuer:
		return nil
	}
	return hint(fmt.Errorf("client %s belongs to the authorization server %s, but the server now names %s",
		quoted(s.cfg.Client.ID), quoted(pinned.Reveal()), quoted(issuer)),
		"if the move is intended, confirm it with --issuer %s", flagValue(issuer))
}

// pin records the issuer right before the client's first use there, after a human has signed in.
func (s *Session) pin(ctx context.Context, issuer string) error {
	if s.cfg.Client.ID == "" {
		return nil
	}
	if err := s.checkPin(ctx, issuer); err != nil {
		return err
	}
	if err := s.cfg.Store.Save(ctx, s.pinName(), secret.New(issuer)); err != nil {
		return fmt.Errorf("record the issuer of client %s: %w", quoted(s.cfg.Client.ID), err)
	}
	return nil
}
