// An authorization server that is not ours: oidc-provider, set up the way a strict company would (PKCE for everyone,
// open dynamic registration, JWT access tokens per resource, rotating refresh tokens).
//
// It prints one JSON line, {"issuer": URL, "admin": URL}, when it is ready, and ends when its standard input closes, so
// that it cannot outlive the test that started it. The admin listener does what an administrator would:
//
//	GET  /issued             every token, code and client secret handed out so far: {value: kind}
//	GET  /counters           {"codes": n, "refreshes": n, "registrations": n}
//	POST /revoke             withdraw every grant: refresh tokens and consents are gone, the browser session stays
//	POST /disable, /enable   ?user=NAME
//	POST /groups             ?user=NAME&groups=A,B, of access tokens from now on
//	POST /lifetime           ?seconds=N, of access tokens from now on
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import http from 'node:http';
import { parseArgs } from 'node:util';

import Provider, { errors } from 'oidc-provider';

import { interactions } from './pages.mjs';
import { Records } from './records.mjs';

const { values: args } = parseArgs({
  options: {
    user: { type: 'string', default: 'ada' },
    password: { type: 'string', default: 'correct horse' },
    scope: { type: 'string', default: 'mcp:tools' },
    lifetime: { type: 'string', default: '300' },
  },
});

const state = {
  lifetime: Number(args.lifetime),
  passwords: new Map([[args.user, args.password]]),
  disabled: new Set(),
  groups: new Map(), // by user
  issued: new Map(), // value to kind
  counters: { codes: 0, refreshes: 0, registrations: 0 },
};

const idp = await listen();
const admin = await listen();
const provider = new Provider(idp.url, configuration());
record(provider);

const pages = interactions(provider, state);
const oidc = provider.callback();
idp.server.on('request', (req, res) => (req.url.startsWith('/interaction/') ? pages(req, res) : oidc(req, res)));
admin.server.on('request', administer);

process.stdin.resume().on('end', () => process.exit(0));
console.log(JSON.stringify({ issuer: idp.url, admin: admin.url }));

function configuration() {
  return {
    adapter: Records,
    jwks: { keys: signingKeys() },
    clients: [{ client_id: 'guard', client_secret: 'guard-secret', redirect_uris: [], response_types: [], grant_types: [] }],
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    scopes: ['openid', 'offline_access', args.scope],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    // By default only offline_access earns a refresh token; a native client that asked for the grant gets one here.
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    ttl: {
      AccessToken: () => state.lifetime, AuthorizationCode: 60, Grant: 86400, IdToken: 300, Interaction: 600, RefreshToken: 86400, Session: 86400,
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    extraTokenClaims: async (_ctx, token) => (state.groups.has(token.accountId) ? { groups: state.groups.get(token.accountId) } : undefined),
    // A disabled account is not found: oidc-provider then answers a refresh with invalid_grant.
    findAccount: async (_ctx, id) => (state.passwords.has(id) && !state.disabled.has(id) ? account(id) : undefined),
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      registrationManagement: { enabled: true },
      revocation: { enabled: true },
      // Who may ask about tokens: the resource server, and each client about its own.
      introspection: { enabled: true, allowedPolicy: (_ctx, client, token) => client.clientId === 'guard' || client.clientId === token.clientId },
      resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer, useGrantedResource: () => true },
    },
  };
}

// resourceServer accepts MCP servers on this machine only. Their tokens are JWTs that they can verify by themselves, or,
// where the path ends in /opaque, ones that they have to ask about.
function resourceServer(_ctx, resource) {
  if (new URL(resource).hostname !== '127.0.0.1') throw new errors.InvalidTarget();
  return {
    scope: args.scope,
    audience: resource,
    accessTokenFormat: new URL(resource).pathname.endsWith('/opaque') ? 'opaque' : 'jwt',
    accessTokenTTL: state.lifetime,
    jwt: { sign: { alg: 'ES256' } },
  };
}

function account(id) {
  return { accountId: id, claims: () => ({ sub: id, name: id, email: `${id}@example.test` }) };
}

// signingKeys returns a key for access tokens and one for id tokens, whose default algorithm RS256 is mandatory in OpenID
// Connect.
function signingKeys() {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  return [{ ...ec, use: 'sig', alg: 'ES256' }, { ...rsa, use: 'sig', alg: 'RS256' }];
}

// record keeps what was handed out, so that a test can look for it where it must not be.
function record(op) {
  op.use(async (ctx, next) => {
    await next();
    const body = ctx.body ?? {};
    for (const name of ['access_token', 'refresh_token', 'id_token', 'client_secret', 'registration_access_token']) {
      if (typeof body[name] === 'string') state.issued.set(body[name], name);
    }
    if (ctx.oidc?.route === 'token' && ctx.oidc.params?.grant_type === 'refresh_token' && body.access_token) state.counters.refreshes += 1;
    if (ctx.oidc?.route === 'registration' && ctx.method === 'POST' && body.client_id) state.counters.registrations += 1;
  });
  op.on('authorization_code.saved', (code) => {
    if (state.issued.has(code.jti)) return; // saved again when it is spent
    state.issued.set(code.jti, 'code');
    state.counters.codes += 1;
  });
}

function administer(req, res) {
  const url = new URL(req.url, admin.url);
  const answer = {
    'GET /issued': () => Object.fromEntries(state.issued),
    'GET /counters': () => state.counters,
    'POST /revoke': () => Records.revokeGrants(),
    'POST /disable': () => state.disabled.add(url.searchParams.get('user')),
    'POST /enable': () => state.disabled.delete(url.searchParams.get('user')),
    'POST /groups': () => { state.groups.set(url.searchParams.get('user'), url.searchParams.get('groups').split(',')); },
    'POST /lifetime': () => { state.lifetime = Number(url.searchParams.get('seconds')); },
  }[`${req.method} ${url.pathname}`];
  res.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' });
  res.end(JSON.stringify(answer?.() ?? {}));
}

async function listen() {
  const server = http.createServer();
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}
