// Signs a person in with oauth4webapi, request by request: what the requests may say, and what both sides refuse.

import { decodeJwt } from "jose";
import * as oauth from "oauth4webapi";
import { alice, browse, finish, refusal, task } from "./browser.mjs";

// The issuer under test uses http on loopback.
const insecure = { [oauth.allowInsecureRequests]: true };
const callback = "http://127.0.0.1:4712/callback";
const issuer = new URL(task.issuer);
const server = await oauth
  .discoveryRequest(issuer, insecure)
  .then((response) => oauth.processDiscoveryResponse(issuer, response));
const app = { client_id: task.public.id };
const none = oauth.None();

async function begin(parameters) {
  const verifier = oauth.generateRandomCodeVerifier();
  const flow = { verifier, state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce() };
  flow.parameters = new URLSearchParams({
    client_id: app.client_id,
    response_type: "code",
    redirect_uri: callback,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state: flow.state,
    nonce: flow.nonce,
  });
  for (const [name, value] of parameters) flow.parameters.append(name, value);
  return flow;
}

async function authorize(parameters, browser = alice) {
  const flow = await begin(parameters);
  const url = new URL(server.authorization_endpoint);
  url.search = flow.parameters;
  const way = await browse(url, browser);
  return { ...flow, way, answer: way.url && new URL(way.url) };
}

const redeem = async ({ answer, state, nonce, verifier }, { client = app, more = [], uri = callback } = {}) => {
  const parameters = oauth.validateAuthResponse(server, client, answer, state);
  const response = await oauth.authorizationCodeGrantRequest(server, client, none, parameters, uri, verifier, {
    ...insecure,
    additionalParameters: more,
  });
  return oauth.processAuthorizationCodeResponse(server, client, response, {
    expectedNonce: nonce,
    requireIdToken: true,
  });
};

async function userinfo(tokens, client = app) {
  const { sub } = oauth.getValidatedIdTokenClaims(tokens);
  const response = await oauth.userInfoRequest(server, client, tokens.access_token, insecure);
  const type = response.headers.get("content-type");
  return { type, facts: await oauth.processUserInfoResponse(server, client, sub, response) };
}

const refresh = async (tokens, more) => {
  const response = await oauth.refreshTokenGrantRequest(server, app, none, tokens.refresh_token, {
    ...insecure,
    additionalParameters: more,
  });
  return oauth.processRefreshTokenResponse(server, app, response);
};

finish({
  resources: await resources(),
  claims: await claims(),
  signed: await signed(),
  pushed: await pushed(),
  library: await refusedByTheLibrary(),
  server: await refusedByTheServer(),
  code: await oneUse(),
});

// RFC 8707: one consent for two APIs, and a token for each.
async function resources() {
  const scope = ["scope", "openid offline_access orders.read stock:read"];
  const [orders, stock] = [task.resources.orders, task.resources.stock].map((uri) => ["resource", uri]);
  const seen = (tokens) => {
    const { aud, scope } = decodeJwt(tokens.access_token);
    return { aud, scope };
  };
  const both = await authorize([scope, orders, stock]);
  const first = await redeem(both, { more: [orders] });
  return {
    first: seen(first),
    second: seen(await refresh(first, [stock])),
    all: await refusal(refresh(first, [])),
    other: await refusal(refresh(first, [["resource", "https://other.example.com"]])),
    wider: await authorize([scope, orders]).then((flow) => refusal(redeem(flow, { more: [stock] }))),
  };
}

// OpenID Connect Core section 5.5: claims one by one, within the scopes.
async function claims() {
  const wanted = {
    id_token: { email: null, auth_time: { essential: true } },
    userinfo: { name: { essential: true }, department: null, unknown: null },
  };
  const more = [["claims", JSON.stringify(wanted)]];
  const flow = await authorize([["scope", "openid email profile orders.read"], ...more]);
  const tokens = await redeem(flow);
  const narrow = await redeem(await authorize([["scope", "openid"], ...more]));
  return {
    id_token: oauth.getValidatedIdTokenClaims(tokens),
    userinfo: (await userinfo(tokens)).facts,
    narrow: { id_token: oauth.getValidatedIdTokenClaims(narrow), userinfo: (await userinfo(narrow)).facts },
  };
}

// OpenID Connect Core section 5.3.2. The library sends `Accept: application/jwt` for such a client.
async function signed() {
  const tokens = await redeem(await authorize([["scope", "openid profile"]]));
  const client = { ...app, userinfo_signed_response_alg: "RS256" };
  return { json: await userinfo(tokens), jwt: await userinfo(tokens, client) };
}

// RFC 9126 for a public client.
async function pushed() {
  const flow = await begin([["scope", "openid"]]);
  const response = await oauth.pushedAuthorizationRequest(server, app, none, flow.parameters, insecure);
  const { request_uri, expires_in } = await oauth.processPushedAuthorizationResponse(server, app, response);
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({ client_id: app.client_id, request_uri });
  const way = await browse(url, alice);
  const tokens = await redeem({ ...flow, answer: new URL(way.url) });
  const bad = await begin([["scope", "openid unknown"]]);
  const refused = await oauth.pushedAuthorizationRequest(server, app, none, bad.parameters, insecure);
  return {
    status: response.status,
    expires_in,
    form: request_uri.split(":").slice(0, -1).join(":"),
    scope: tokens.scope,
    refused: await refusal(oauth.processPushedAuthorizationResponse(server, app, refused)),
  };
}

// What an attacker changes on the way back.
async function refusedByTheLibrary() {
  const flow = await authorize([["scope", "openid"]]);
  const changed = (name, value) => {
    const answer = new URL(flow.answer);
    if (value === null) answer.searchParams.delete(name);
    else answer.searchParams.set(name, value);
    try {
      oauth.validateAuthResponse(server, app, answer, flow.state);
      return null;
    } catch (error) {
      return error.code;
    }
  };
  return {
    iss: changed("iss", "https://other.example.com"),
    no_iss: changed("iss", null),
    state: changed("state", "other"),
    nonce: await refusal(redeem({ ...flow, nonce: "other" })),
  };
}

async function refusedByTheServer() {
  const error = async (parameters, browser) => {
    const { answer, way, state } = await authorize(parameters, browser);
    if (!answer) return way.status;
    try {
      oauth.validateAuthResponse(server, app, answer, state);
      return null;
    } catch (error) {
      return error.error;
    }
  };
  const scope = ["scope", "openid"];
  const used = await authorize([scope]);
  return {
    scope: await error([["scope", "openid unknown"]]),
    resource: await error([scope, ["resource", "https://other.example.com"]]),
    request: await error([scope, ["request", "e30.e30."]]),
    request_uri: await error([scope, ["request_uri", "https://client.example.com/request"]]),
    registration: await error([scope, ["registration", "{}"]]),
    // This client may use codes alone.
    response_mode: await error([scope, ["response_mode", "odd"]]),
    claims: await error([scope, ["claims", "{"]]),
    unknown: await error([scope, ["x_unknown", "1"], ["display", "page"], ["acr_values", "odd"], ["ui_locales", "xx"]]),
    verifier: await refusal(redeem({ ...used, verifier: oauth.generateRandomCodeVerifier() })),
    redirect_uri: await refusal(redeem(used, { uri: "http://127.0.0.1:4713/callback" })),
  };
}

// RFC 6749 section 4.1.2: a code is good once, and later uses end what it gave.
async function oneUse() {
  const flow = await authorize([["scope", "openid"]]);
  const tokens = await redeem(flow);
  const first = (await userinfo(tokens)).facts.sub;
  return { first: typeof first, again: await refusal(redeem(flow)) };
}
