// Signs a person in with openid-client, as an application does. The library validates `iss`, `state`, `nonce`,
// `c_hash`, `at_hash`, `auth_time` and every ID token.

import { createServer } from "node:http";
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";
import * as client from "openid-client";
import { alice, browse, finish, received, refusal, task } from "./browser.mjs";

// The issuer under test uses http on loopback.
const insecure = { execute: [client.allowInsecureRequests] };
const callback = "http://127.0.0.1:4711/callback";
const bye = "http://127.0.0.1:4711/bye";

const discover = ({ id, secret }, metadata = {}, method = client.ClientSecretBasic) =>
  client.discovery(new URL(task.issuer), id, metadata, secret ? method(secret) : client.None(), insecure);

// Begins a sign-in: the parameters that the client sends, and what it checks of the answer.
async function begin(parameters) {
  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  return {
    parameters: {
      redirect_uri: callback,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      state,
      nonce,
      ...parameters,
    },
    checks: { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true },
  };
}

async function signIn(config, parameters, { browser = alice, checks = {} } = {}) {
  const flow = await begin(parameters);
  const way = await browse(client.buildAuthorizationUrl(config, flow.parameters), browser);
  const tokens = await client.authorizationCodeGrant(config, received(way), { ...flow.checks, ...checks });
  return { way, tokens, claims: tokens.claims() };
}

const seen = {
  public: await publicClient(),
  prompts: await prompts(),
  pushed: await pushedRequests(),
  hybrid: {},
  methods: {},
};
for (const [algorithm, credentials] of Object.entries(task.clients)) {
  seen.hybrid[algorithm] = await hybrid(credentials, algorithm);
}
for (const [name, method] of Object.entries({ basic: client.ClientSecretBasic, post: client.ClientSecretPost })) {
  const credentials = task.clients.RS256;
  const config = await discover(credentials, {}, method);
  const { tokens } = await signIn(config, { scope: "openid" });
  const wrong = await discover({ ...credentials, secret: credentials.secret.slice(0, -1) }, {}, method);
  seen.methods[name] = {
    token_type: tokens.token_type,
    wrong: await signIn(wrong, { scope: "openid" }).then(() => null, (error) => error.status ?? error.error),
  };
}
finish(seen);

// From the first page to the sign-out.
async function publicClient() {
  const config = await discover(task.public);
  const scope = "openid profile email groups offline_access orders.read";
  const { way, tokens, claims } = await signIn(config, { scope });
  const userinfo = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
  const api = await discover(task.api);
  const introspection = await client.tokenIntrospection(api, tokens.access_token);

  const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token);
  const again = await client.refreshTokenGrant(config, tokens.refresh_token);
  const later = await client.refreshTokenGrant(config, refreshed.refresh_token);
  // A second application needs no page for what the person allowed before.
  const silent = await signIn(config, { scope: "openid" });

  const end = client.buildEndSessionUrl(config, {
    post_logout_redirect_uri: bye,
    id_token_hint: tokens.id_token,
    state: "leaving",
  });
  const left = await browse(end);
  const revoked = await signIn(config, { scope });
  await client.tokenRevocation(config, revoked.tokens.refresh_token);
  return {
    forms: way.forms,
    claims,
    header: decodeProtectedHeader(tokens.id_token),
    scope: tokens.scope,
    access: decodeJwt(tokens.access_token),
    userinfo,
    introspection,
    rotates: refreshed.refresh_token !== tokens.refresh_token,
    same_child: again.refresh_token === refreshed.refresh_token,
    refreshed_claims: later.claims(),
    silent: { forms: silent.way.forms, sid: silent.claims.sid },
    left: left.url,
    after_sign_out: {
      refresh: await refusal(client.refreshTokenGrant(config, later.refresh_token)),
      introspection: await client.tokenIntrospection(api, later.access_token),
      forms: revoked.way.forms,
    },
    after_revocation: {
      refresh: await refusal(client.refreshTokenGrant(config, revoked.tokens.refresh_token)),
      introspection: await client.tokenIntrospection(api, revoked.tokens.access_token),
    },
  };
}

// OpenID Connect Core section 3.1.2.1.
async function prompts() {
  const config = await discover(task.public);
  const scope = "openid";
  const fresh = { in: "prompts" };
  const known = { in: "prompts", as: "alice" };
  const ask = (parameters, options) => signIn(config, { scope, ...parameters }, options);
  const silent = (parameters = {}) => refusal(ask({ prompt: "none", ...parameters }, { browser: fresh }));
  const before = await silent();
  const hinted = await ask({ login_hint: "alice" }, { browser: known });
  const again = await ask({ prompt: "login" }, { browser: known });
  const consent = await ask({ prompt: "consent" }, { browser: known });
  const old = await ask({ max_age: "0" }, { browser: known, checks: { maxAge: 0 } });
  const young = await ask({ max_age: "3600" }, { browser: fresh, checks: { maxAge: 3600 } });
  return {
    before,
    filled_in: hinted.way.filledIn,
    hinted: hinted.way.forms,
    login: again.way.forms,
    moved_on: again.claims.auth_time >= hinted.claims.auth_time,
    consent: consent.way.forms,
    max_age_0: old.way.forms,
    max_age_1h: young.way.forms,
    after: await silent(),
    with_hint: await silent({ id_token_hint: young.tokens.id_token }),
    with_others: await silent({ prompt: "none login" }),
    essential_acr: await silent({ claims: JSON.stringify({ id_token: { acr: { essential: true, values: ["mfa"] } } }) }),
  };
}

// RFC 9126, and OpenID Connect Back-Channel Logout 1.0.
async function pushedRequests() {
  const config = await discover(task.pushed);
  const scope = "openid profile offline_access";
  const told = logoutTokens(task.backchannelPort);
  const flow = await begin({ scope });
  const url = await client.buildAuthorizationUrlWithPAR(config, flow.parameters);
  const way = await browse(url, { in: "pushed", as: "alice" });
  const tokens = await client.authorizationCodeGrant(config, received(way), flow.checks);
  const used = await browse(url, { in: "pushed", as: "alice" });
  const unpushed = await refusal(signIn(config, { scope }, { browser: { in: "pushed" } }));
  const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token);

  await browse(client.buildEndSessionUrl(config, { id_token_hint: tokens.id_token }), { in: "pushed" });
  const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
  const { payload, protectedHeader } = await jwtVerify(await told, keys, {
    issuer: task.issuer,
    audience: task.pushed.id,
    typ: "logout+jwt",
    requiredClaims: ["iat", "exp", "jti", "events", "sub", "sid"],
  });
  return {
    unpushed,
    parameters: [...url.searchParams.keys()].sort(),
    forms: way.forms,
    used: used.status,
    keeps: (refreshed.refresh_token ?? tokens.refresh_token) === tokens.refresh_token,
    logout: { ...payload, alg: protectedHeader.alg },
    claims: tokens.claims(),
    after: await refusal(client.refreshTokenGrant(config, tokens.refresh_token)),
  };
}

// Waits for a logout token, as an application's endpoint receives it (section 2.5).
function logoutTokens(port) {
  return new Promise((resolve, reject) => {
    const server = createServer(async (request, response) => {
      let body = "";
      for await (const part of request) body += part;
      response.writeHead(200, { "cache-control": "no-store" }).end();
      server.close();
      const form = new URLSearchParams(body);
      const isForm = request.headers["content-type"] === "application/x-www-form-urlencoded";
      if (request.method === "POST" && request.url === "/backchannel" && isForm) resolve(form.get("logout_token"));
      else reject(new Error(`${request.method} ${request.url} ${body}`));
    });
    server.listen(port, "127.0.0.1");
  });
}

// OpenID Connect Core section 3.3, by every response mode that can carry it.
async function hybrid(credentials, algorithm) {
  const config = await discover(credentials, { id_token_signed_response_alg: algorithm });
  client.useCodeIdTokenResponseType(config);
  const seen = {};
  for (const mode of ["fragment", "form_post"]) {
    const parameters = mode === "fragment" ? {} : { response_mode: mode };
    const { way, tokens, claims } = await signIn(config, { scope: "openid email", ...parameters });
    const fields = way.form ? new Map(way.form) : new URLSearchParams(new URL(way.url).hash.slice(1));
    const front = decodeJwt(fields.get("id_token"));
    seen[mode] = {
      names: [...fields.keys()].sort(),
      alg: decodeProtectedHeader(tokens.id_token).alg,
      same_person: front.sub === claims.sub && front.sid === claims.sid,
      front: Object.keys(front).sort(),
      back: Object.keys(claims).sort(),
      userinfo: await client.fetchUserInfo(config, tokens.access_token, claims.sub),
    };
  }
  const query = await begin({ scope: "openid", response_mode: "query" });
  const refused = await browse(client.buildAuthorizationUrl(config, query.parameters), alice);
  seen.query = refused.url ? Object.fromEntries(new URLSearchParams(new URL(refused.url).hash.slice(1))).error : refused.status;
  return seen;
}
