// Package guard makes any MCP server an OAuth 2.1 resource server: requests pass when they carry an access token that the
// company's own identity provider issued for this server, and when a policy allows what they ask for.
//
// A [Guard] is made once and wraps handlers:
//
//	request ─▶ well-known path? ─▶ metadata (RFC 9728)
//	        ─▶ one bearer token in the header? ─▶ 401, 400
//	        ─▶ issued by a known issuer, for this resource, valid now, not withdrawn? ─▶ 401, 503
//	        ─▶ Authorize allows it? ─▶ 403, 401 for a stronger sign-in, or an answer that explains
//	        ─▶ Audit has written it down? ─▶ 503
//	        ─▶ the wrapped handler, with an [Identity] in the request's context
//
// It follows the authorization chapter of MCP 2025-11-25 and 2026-07-28 for protected servers, and RFCs 6750, 7519, 7662,
// 8414, 8707, 8725, 9068, 9470 and 9728. Nothing in it depends on which vendor's identity provider it is: what differs is
// in the [Issuer]'s fields. Policy engines and telemetry are behind function fields of [Config] and are not linked here.
package guard
