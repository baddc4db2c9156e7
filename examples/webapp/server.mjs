// A web application whose users sign in with OpenID Connect. The protocol is in oidc.mjs, the pages are in pages.mjs.

import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import * as oidc from "./oidc.mjs";
import * as pages from "./pages.mjs";

const PORT = Number(process.env.PORT ?? 3000);
const HOST = `127.0.0.1:${PORT}`;
// Not localhost: a browser sends cookies to every port of a host, and dev mode is on localhost.
const APP = `http://${HOST}`;

// The browser has only the ID of its session. Tokens stay here, in memory: another process would need a database.
const sessions = new Map();
const MAX_SESSIONS = 1000;
const SESSION = "demo_session";
// The sign-ins that a browser has begun, at most this many: one for each tab.
const FLOWS = "demo_flows";
const MAX_FLOWS = 5;
const FLOW_SECONDS = 600;

const routes = {
  "GET /": ({ session }) => {
    if (!session) return page(200, pages.home());
    return page(200, pages.account(session.claims, oidc.claimsOf(session.accessToken)));
  },

  "GET /style.css": () => ({ status: 200, type: "text/css", body: pages.STYLE }),

  "GET /sign-in": async ({ cookies }) => {
    const { url, flow } = await oidc.beginSignIn(`${APP}/callback`);
    const flows = [...flowsOf(cookies), flow].slice(-MAX_FLOWS);
    return redirect(url, [flowsCookie(flows)]);
  },

  "GET /callback": async ({ url, cookies, session }) => {
    const flows = flowsOf(cookies);
    const flow = flows.find(({ state }) => state === url.searchParams.get("state"));
    if (!flow) return unknownFlow(session);
    const others = flowsCookie(flows.filter((other) => other !== flow));
    try {
      const signedIn = await oidc.completeSignIn(url, flow);
      // A new ID with every sign-in, so that no one can plant one in the browser before.
      end(cookies);
      return redirect(APP, [others, sessionCookie(begin(signedIn))]);
    } catch (error) {
      if (error instanceof oidc.IssuerUnavailable) throw error;
      if (oidc.errorCode(error) === "access_denied") {
        return page(403, pages.notice("You did not sign in", "You or the issuer refused the request.", "Sign in", "/sign-in"), [others]);
      }
      log("sign-in failed", error);
      return page(400, pages.notice("The sign-in failed", "The issuer's answer was not accepted.", "Sign in again", "/sign-in"), [others]);
    }
  },

  "POST /refresh": async ({ session, cookies }) => {
    if (!session) return redirect(APP);
    try {
      Object.assign(session, await oidc.refresh(session));
      return redirect(APP);
    } catch (error) {
      if (oidc.errorCode(error) !== "invalid_grant") throw error;
      // The person signed out elsewhere, is disabled, or was away for too long.
      end(cookies);
      return page(403, pages.notice("Your sign-in has ended", "The issuer no longer refreshes your tokens.", "Sign in", "/sign-in"));
    }
  },

  "POST /sign-out": async ({ session, cookies }) => {
    if (!session) return redirect(APP);
    const url = await oidc.signOutUrl(session, `${APP}/signed-out`);
    end(cookies);
    return redirect(url, [sessionCookie("", 0)]);
  },

  "GET /signed-out": () => page(200, pages.signedOut()),
};

function unknownFlow(session) {
  const [label, href] = session ? ["Continue", "/"] : ["Sign in", "/sign-in"];
  const text = "It was completed already, took too long, or was begun in another browser. If this happens again, allow cookies.";
  return page(400, pages.notice("This sign-in is not known", text, label, href));
}

function begin(signedIn) {
  if (sessions.size >= MAX_SESSIONS) sessions.delete(sessions.keys().next().value);
  const id = randomBytes(32).toString("base64url");
  sessions.set(id, signedIn);
  return id;
}

function end(cookies) {
  sessions.delete(cookies.get(SESSION));
}

// Lax: the browser sends the cookie when the issuer leads back here, but not with the forms of other sites. With https,
// add Secure and let the names begin with __Host-.
function cookie(name, value, seconds) {
  const lasts = seconds === undefined ? "" : `; Max-Age=${seconds}`;
  return `${name}=${value}; Path=/; HttpOnly; SameSite=Lax${lasts}`;
}

function sessionCookie(id, seconds) {
  return cookie(SESSION, id, seconds);
}

function flowsCookie(flows) {
  const value = Buffer.from(JSON.stringify(flows)).toString("base64url");
  return cookie(FLOWS, value, flows.length ? FLOW_SECONDS : 0);
}

function flowsOf(cookies) {
  try {
    return JSON.parse(Buffer.from(cookies.get(FLOWS), "base64url").toString());
  } catch {
    return [];
  }
}

function cookiesOf(request) {
  const pairs = (request.headers.cookie ?? "").split("; ").map((pair) => pair.split("="));
  return new Map(pairs.filter((pair) => pair.length === 2));
}

function page(status, body, cookies = []) {
  return { status, type: "text/html; charset=utf-8", body, cookies };
}

function redirect(url, cookies = []) {
  return { status: 303, location: String(url), cookies };
}

/** Writes what failed, without what the browser or the issuer sent: it may contain secrets. */
function log(event, error) {
  console.error(event, error.name, error.code ?? "", oidc.errorCode(error) ?? "");
}

async function answer(request) {
  // Another name of this machine has other cookies.
  if (request.headers.host !== HOST) return redirect(APP);
  // A form of another site: `Lax` lets through those of other ports of this machine.
  if (request.method === "POST" && request.headers.origin !== APP) {
    return page(403, pages.notice("Not from here", "The form came from another site. Nothing was done.", "Continue", "/"));
  }
  const url = new URL(APP + request.url);
  const route = routes[`${request.method} ${url.pathname}`];
  if (!route) return page(404, pages.notice("This page does not exist", "There is nothing at this address.", "Continue", "/"));
  const cookies = cookiesOf(request);
  return route({ url, cookies, session: sessions.get(cookies.get(SESSION)) });
}

function failed(error) {
  log("request failed", error);
  if (error instanceof oidc.IssuerUnavailable) {
    const text = `There is no answer from ${oidc.ISSUER}. Start the issuer, then try again.`;
    return page(502, pages.notice("The issuer does not answer", text, "Try again", "/sign-in"));
  }
  return page(500, pages.notice("Something went wrong", "The application made an error.", "Continue", "/"));
}

const HEADERS = {
  "cache-control": "no-store",
  // After a form, the browser follows redirects only to the sites that form-action names.
  "content-security-policy": `default-src 'none'; style-src 'self'; form-action 'self' ${new URL(oidc.ISSUER).origin}; base-uri 'none'; frame-ancestors 'none'`,
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
};

const server = createServer(async (request, response) => {
  const { status, type, body, location, cookies = [] } = await answer(request).catch(failed);
  const sent = { "content-type": type, location, "set-cookie": cookies };
  for (const [name, value] of Object.entries({ ...HEADERS, ...sent })) if (value?.length) response.setHeader(name, value);
  response.writeHead(status).end(body);
});

server.on("error", (error) => {
  console.error(`cannot listen on ${HOST}: ${error.code}. To take another port, set PORT.`);
  process.exitCode = 1;
});
server.listen(PORT, "127.0.0.1", () => console.log(`Open ${APP} in a browser. People sign in at ${oidc.ISSUER}.`));
