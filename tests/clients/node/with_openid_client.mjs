// Obtains tokens with openid-client and verifies them with oauth4webapi, as an API does (RFC 9068 section 4). Reads a
// task from standard input and prints the results as one line of JSON.

import { decodeProtectedHeader } from "jose";
import { json } from "node:stream/consumers";
import * as oauth from "oauth4webapi";
import * as client from "openid-client";

const task = await json(process.stdin);
// The issuer under test uses http on loopback.
const insecure = { execute: [client.allowInsecureRequests] };
const methods = { basic: client.ClientSecretBasic, post: client.ClientSecretPost };

const tokens = {};
const introspections = {};
const api = await discover(task.api, "basic", "oauth2");
for (const [algorithm, credentials] of Object.entries(task.clients)) {
  tokens[algorithm] = {};
  for (const method of ["basic", "post"]) {
    const { access_token: token, ...reply } = await ask(credentials, method);
    tokens[algorithm][method] = { reply, ...(await verify(token, algorithm)) };
    introspections[algorithm] = await client.tokenIntrospection(api, token);
  }
}
const [algorithm, credentials] = Object.entries(task.clients).at(-1);
const { access_token: last } = await ask(credentials, "basic");
const wrong = { ...credentials, secret: credentials.secret.slice(0, -1) };
const seen = {
  tokens,
  introspections,
  refused: await refused(),
  wrong_secret: await ask(wrong, "basic").then(() => null, challenged),
  service: await service(),
};
console.log(JSON.stringify(seen));

// Uses OpenID Connect Discovery or RFC 8414.
function discover({ id, secret }, method, algorithm = "oidc") {
  return client.discovery(new URL(task.issuer), id, undefined, methods[method](secret), { ...insecure, algorithm });
}

async function ask(credentials, method) {
  const config = await discover(credentials, method);
  return client.clientCredentialsGrant(config, { scope: task.scope });
}

async function verify(token, algorithm, other = {}) {
  const server = { ...api.serverMetadata(), ...other.server };
  const request = new Request("https://api.example.com/orders", { headers: { authorization: `Bearer ${token}` } });
  const claims = await oauth.validateJwtAccessToken(server, request, other.audience ?? task.audience, {
    signingAlgorithms: other.algorithms ?? [algorithm],
    [oauth.allowInsecureRequests]: true,
  });
  return { header: decodeProtectedHeader(token), claims };
}

async function refused() {
  const error = (token, other) => verify(token, algorithm, other).then(() => null, codeOf);
  const [head, body, signature] = last.split(".");
  const changed = signature[10] === "A" ? "B" : "A";
  return {
    audience: await error(last, { audience: "https://other.example.com" }),
    issuer: await error(last, { server: { issuer: "https://other.example.com" } }),
    algorithm: await error(last, { algorithms: ["PS512"] }),
    signature: await error(`${head}.${body}.${signature.slice(0, 10)}${changed}${signature.slice(11)}`),
  };
}

// The library reports the challenge of a 401 (RFC 9110 section 15.5.2) as an error that holds the response.
async function challenged(error) {
  if (!(error instanceof client.WWWAuthenticateChallengeError)) throw error;
  if (error.status !== 401 || error.cause[0].scheme !== "basic") throw error;
  return (await error.response.json()).error;
}

function codeOf(error) {
  if (error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError) {
    return error.code ?? error.name;
  }
  throw error;
}

async function service() {
  const { token, gateway } = task.service;
  const owner = await discover(task.service.client, "post");
  const check = async (headers) => (await fetch(gateway, { headers })).status;
  const asBearer = async () =>
    (await oauth.protectedResourceRequest(token, "GET", new URL(gateway), undefined, undefined, {
      [oauth.allowInsecureRequests]: true,
    }).catch((error) => error.response ?? Promise.reject(error))).status;
  const introspection = await client.tokenIntrospection(api, token);
  const checked = [await asBearer(), await check({ "x-api-key": token }), await check({ "api-key": token })];
  await client.tokenRevocation(owner, token);
  return {
    introspection,
    checked,
    // The library throws on any other status.
    revocation: 200,
    introspection_after: await client.tokenIntrospection(api, token),
    checked_after: await asBearer(),
  };
}
