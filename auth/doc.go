// Package auth lets a program act as its human at an OAuth-protected MCP server.
//
// A [Session] belongs to one server and one profile. It puts the access token on requests, renews it before it
// expires, judges a 401 or 403, and signs the human in when nothing else helps:
//
//	401 ─▶ newer token in the store? ─▶ refresh ─▶ sign-in
//	                                                │
//	       challenge ─▶ protected resource metadata ─▶ authorization server metadata ─▶ client identity
//	       ─▶ listener on loopback ─▶ authorization URL (PKCE, state, resource) ─▶ callback (state, iss) ─▶ token ─▶ store
//
// It follows the authorization chapter of MCP 2025-11-25 and 2026-07-28, OAuth 2.1, and RFCs 7591, 7636, 8252, 8414,
// 8707, 9207 and 9728. It knows nothing of MCP messages, and nothing of it waits for a human.
package auth
