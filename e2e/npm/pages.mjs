// The login and consent pages of the identity provider: two plain forms.
import querystring from 'node:querystring';

// interactions returns a handler for GET and POST /interaction/UID.
export function interactions(provider, state) {
  return async (req, res) => {
    try {
      const details = await provider.interactionDetails(req, res);
      if (req.method === 'GET') return show(res, details);
      const form = querystring.parse(await body(req));
      const result = await submit(provider, state, details, form);
      return await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: details.prompt.name === 'consent' });
    } catch (err) {
      res.writeHead(400, { 'content-type': 'text/plain' });
      return res.end(`${err.name}: ${err.error_description ?? err.message}`);
    }
  };
}

async function submit(provider, state, { prompt, params, session, grantId }, form) {
  if (form.answer === 'deny') return denied('the person said no');
  if (prompt.name === 'login') return login(state, form);
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(' '));
  if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) grant.addResourceScope(resource, scopes.join(' '));
  return { consent: { grantId: await grant.save() } };
}

function login(state, { user, password }) {
  if (state.passwords.get(user) !== password) return denied('wrong user name or password');
  if (state.disabled.has(user)) return denied('this account is disabled');
  return { login: { accountId: user } };
}

const denied = (why) => ({ error: 'access_denied', error_description: why });

function show(res, { uid, prompt, params }) {
  res.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  const fields = prompt.name === 'login'
    ? '<input name="user" autocomplete="off"><input name="password" type="password">'
    : `<p>Let ${escape(params.client_id)} act for you at ${escape(String(params.resource))}?</p>`;
  res.end(`<!doctype html><title>${prompt.name}</title><h1>${prompt.name}</h1><form method="post" action="/interaction/${uid}">
${fields}<button name="answer" value="allow">Continue</button><button name="answer" value="deny">Cancel</button></form>`);
}

const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

async function body(req) {
  let text = '';
  for await (const chunk of req) text += chunk;
  return text;
}
