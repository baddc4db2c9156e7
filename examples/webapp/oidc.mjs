// What this application asks of the issuer: to sign a person in, to refresh the tokens, and to sign the person out.

import * as client from "openid-client";

export const ISSUER = process.env.ISSUER ?? "http://localhost:8080/id";
const CLIENT_ID = process.env.CLIENT_ID ?? "shop.demo-app";
// offline_access asks for a refresh token, orders.read for access to an API.
const SCOPE = "openid profile email groups offline_access orders.read";

let discovered;

/** Reads the issuer's metadata, once. A failure is not kept, so the next request tries again. */
function discover() {
  const options = {
    execute: [
      // openid-client verifies the signature of an ID token only if it is told to.
      client.enableNonRepudiationChecks,
      // The issuer has http only on loopback, as in dev mode, or on a *.svc host.
      ...(ISSUER.startsWith("http:") ? [client.allowInsecureRequests] : []),
    ],
  };
  discovered ??= client.discovery(new URL(ISSUER), CLIENT_ID, undefined, client.None(), options).catch((error) => {
    discovered = undefined;
    throw new IssuerUnavailable(error);
  });
  return discovered;
}

/** The issuer's metadata cannot be read. */
export class IssuerUnavailable extends Error {
  name = "IssuerUnavailable";

  constructor(cause) {
    super(`cannot read the metadata of ${ISSUER}`, { cause });
  }
}

/**
 * Begins a sign-in. Returns the URL to which the browser goes, and a flow: three secrets, which the browser keeps in a
 * cookie until it comes back. They prove that the answer belongs to this request (`state`), the ID token to this sign-in
 * (`nonce`), and that the code is redeemed by the application that asked for it (`verifier`, PKCE).
 */
export async function beginSignIn(redirectUri) {
  const config = await discover();
  const flow = {
    state: client.randomState(),
    nonce: client.randomNonce(),
    verifier: client.randomPKCECodeVerifier(),
  };
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: SCOPE,
    state: flow.state,
    nonce: flow.nonce,
    code_challenge: await client.calculatePKCECodeChallenge(flow.verifier),
    code_challenge_method: "S256",
  });
  return { url, flow };
}

/** Completes a sign-in: checks the answer in the URL of the callback, and redeems its code for tokens. */
export async function completeSignIn(url, flow) {
  const config = await discover();
  const tokens = await client.authorizationCodeGrant(config, url, {
    expectedState: flow.state,
    expectedNonce: flow.nonce,
    pkceCodeVerifier: flow.verifier,
    idTokenExpected: true,
  });
  return {
    claims: tokens.claims(),
    idToken: tokens.id_token,
    accessToken: tokens.access_token,
    refreshToken: tokens.refresh_token,
  };
}

/** Gets a new access token. The refresh token of a public client changes with every use. */
export async function refresh(session) {
  const config = await discover();
  const tokens = await client.refreshTokenGrant(config, session.refreshToken);
  return {
    claims: tokens.claims() ?? session.claims,
    idToken: tokens.id_token ?? session.idToken,
    accessToken: tokens.access_token,
    refreshToken: tokens.refresh_token ?? session.refreshToken,
  };
}

/**
 * Returns the URL that signs the person out at the issuer, and then comes back. The ID token proves that this application
 * asks for its own session, so the issuer asks no question.
 */
export async function signOutUrl(session, returnTo) {
  const config = await discover();
  return client.buildEndSessionUrl(config, { id_token_hint: session.idToken, post_logout_redirect_uri: returnTo });
}

/** Returns the error code of an answer of the issuer (RFC 6749), such as `access_denied`. */
export function errorCode(error) {
  const isAnswer = error instanceof client.AuthorizationResponseError || error instanceof client.ResponseBodyError;
  return isAnswer ? error.error : undefined;
}

/**
 * Returns the claims of an access token, without verifying it. Only this demonstration reads them: the token is for the
 * API, which verifies it.
 */
export function claimsOf(accessToken) {
  return JSON.parse(Buffer.from(accessToken.split(".")[1], "base64url").toString());
}
