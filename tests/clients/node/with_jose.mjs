// Verifies with jose the tokens that fetch obtains. Reads a task from standard input and prints the results as one line
// of JSON.

import { createRemoteJWKSet, errors, jwtVerify } from "jose";
import { json } from "node:stream/consumers";

const task = await json(process.stdin);
const metadata = await getJson(`${task.issuer}/.well-known/openid-configuration`);
if (metadata.issuer !== task.issuer) throw new Error(`another issuer: ${metadata.issuer}`);
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));

const tokens = {};
const introspections = {};
for (const [algorithm, client] of Object.entries(task.clients)) {
  tokens[algorithm] = {};
  for (const method of ["basic", "post"]) {
    const { access_token: token, ...reply } = await ask(method, client);
    tokens[algorithm][method] = { reply, ...(await verify(token, algorithm)) };
    introspections[algorithm] = await introspect(token);
  }
}
const [algorithm, client] = Object.entries(task.clients).at(-1);
const { access_token: last } = await ask("basic", client);
const wrong = await ask("basic", { ...client, secret: client.secret.slice(0, -1) });
const seen = { tokens, introspections, refused: await refused(), wrong_secret: wrong.error, service: await service() };
console.log(JSON.stringify(seen));

async function getJson(url) {
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`${url}: ${reply.status}`);
  return reply.json();
}

function basic({ id, secret }) {
  const credentials = [id, secret].map(encodeURIComponent).join(":");
  return { authorization: `Basic ${Buffer.from(credentials).toString("base64")}` };
}

function post(url, form, headers = {}) {
  return fetch(url, { method: "POST", headers, body: new URLSearchParams(form) });
}

async function ask(method, client) {
  const form = { grant_type: "client_credentials", scope: task.scope };
  const inBody = { ...form, client_id: client.id, client_secret: client.secret };
  const reply = method === "basic"
    ? post(metadata.token_endpoint, form, basic(client))
    : post(metadata.token_endpoint, inBody);
  return (await reply).json();
}

async function verify(token, algorithm, other = {}) {
  const { protectedHeader, payload } = await jwtVerify(token, keys, {
    issuer: task.issuer,
    audience: task.audience,
    typ: "at+jwt",
    algorithms: [algorithm],
    requiredClaims: ["iss", "aud", "exp", "iat", "nbf", "jti", "sub", "client_id"],
    ...other,
  });
  return { header: protectedHeader, claims: payload };
}

async function refused() {
  const error = (token, other) => verify(token, algorithm, other).then(() => null, codeOf);
  const [head, body, signature] = last.split(".");
  const changed = signature[10] === "A" ? "B" : "A";
  return {
    audience: await error(last, { audience: "https://other.example.com" }),
    issuer: await error(last, { issuer: "https://other.example.com" }),
    algorithm: await error(last, { algorithms: ["HS256"] }),
    type: await error(last, { typ: "JWT" }),
    signature: await error(`${head}.${body}.${signature.slice(0, 10)}${changed}${signature.slice(11)}`),
  };
}

function codeOf(error) {
  if (error instanceof errors.JOSEError) return error.code;
  throw error;
}

async function introspect(token) {
  const reply = await post(metadata.introspection_endpoint, { token }, basic(task.api));
  if (!reply.ok) throw new Error(`introspection: ${reply.status}`);
  return reply.json();
}

async function service() {
  const { token, gateway, client } = task.service;
  const check = async (headers) => (await fetch(gateway, { headers })).status;
  const bearer = { authorization: `Bearer ${token}` };
  const introspection = await introspect(token);
  const checked = [await check(bearer), await check({ "x-api-key": token }), await check({ "api-key": token })];
  const { status } = await post(metadata.revocation_endpoint, { token }, basic(client));
  return {
    introspection,
    checked,
    revocation: status,
    introspection_after: await introspect(token),
    checked_after: await check(bearer),
  };
}
