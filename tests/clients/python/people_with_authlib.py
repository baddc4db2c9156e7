"""Signs a person in with Authlib, as an application does. Asks the test for what happens in the browser."""

import json
import os
import sys

# The issuer under test uses http on loopback, and this process contacts nothing else.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken, HybridIDToken
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc import jwt
from joserfc.jwk import KeySet

CALLBACK = "http://127.0.0.1:4714/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def read():
    return json.loads(sys.stdin.readline())


def browse(url, **options):
    print(json.dumps({"ask": {"open": url, "as": "alice", **options}}), flush=True)
    return read()


def discover(issuer):
    """Fetches the metadata and validates it by Authlib's own rules."""
    reply = requests.get(issuer + "/.well-known/openid-configuration", timeout=10)
    reply.raise_for_status()
    document = OpenIDProviderMetadata(reply.json())
    document.validate()
    return document


def session(client, scope, **more):
    method = "client_secret_basic" if client.get("secret") else "none"
    return OAuth2Session(
        client["id"],
        client.get("secret"),
        token_endpoint_auth_method=method,
        scope=scope,
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        **more,
    )


def verify(token, keys, metadata, client, kind, **params):
    decoded = jwt.decode(token, keys, algorithms=metadata["id_token_signing_alg_values_supported"])
    options = {"iss": {"value": metadata["issuer"]}, "aud": {"value": client["id"]}}
    claims = kind(decoded.claims, decoded.header, options, params)
    claims.validate()
    return dict(decoded.claims)


def main(task):
    metadata = discover(task["issuer"])
    keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=10).json())
    seen = {name: sign_in(metadata, keys, task, task[name]) for name in ("public", "confidential")}
    return {**seen, "hybrid": hybrid(metadata, keys, task["confidential"])}


def sign_in(metadata, keys, task, client):
    scope = "openid profile email offline_access"
    with session(client, scope) as oauth:
        endpoint = metadata["authorization_endpoint"]
        url, state = oauth.create_authorization_url(endpoint, code_verifier=VERIFIER, nonce="n1")
        way = browse(url)
        token = oauth.fetch_token(
            metadata["token_endpoint"], authorization_response=way["url"], state=state, code_verifier=VERIFIER
        )
        claims = verify(
            token["id_token"], keys, metadata, client, CodeIDToken, nonce="n1", access_token=token["access_token"]
        )
        userinfo = oauth.get(metadata["userinfo_endpoint"])
        old = token["refresh_token"]
        token = oauth.refresh_token(metadata["token_endpoint"])
        new = token.get("refresh_token", old)
        revocation = oauth.revoke_token(
            metadata["revocation_endpoint"], token=new, token_type_hint="refresh_token"
        )
        after = oauth.get(metadata["userinfo_endpoint"])
        try:
            oauth.refresh_token(metadata["token_endpoint"], refresh_token=new)
            refused = None
        except OAuthError as error:
            refused = error.error
    return {
        "forms": way["forms"],
        "claims": claims,
        "userinfo": userinfo.json(),
        "rotates": new != old,
        "revocation": revocation.status_code,
        "userinfo_after": after.status_code,
        "refused": refused,
    }


def hybrid(metadata, keys, client):
    """The response type `code id_token` of OpenID Connect Core section 3.3."""
    with session(client, "openid email") as oauth:
        url, state = oauth.create_authorization_url(
            metadata["authorization_endpoint"],
            nonce="n2",
            response_type="code id_token",
            response_mode="form_post",
            # Authlib itself uses PKCE with the response type `code` alone.
            code_challenge=create_s256_code_challenge(VERIFIER),
            code_challenge_method="S256",
        )
        fields = dict(browse(url)["form"])
        assert fields["state"] == state, fields
        claims = verify(fields["id_token"], keys, metadata, client, HybridIDToken, nonce="n2", code=fields["code"])
        token = oauth.fetch_token(metadata["token_endpoint"], code=fields["code"], code_verifier=VERIFIER)
        verify(token["id_token"], keys, metadata, client, CodeIDToken, nonce="n2", access_token=token["access_token"])
    return {"names": sorted(fields), "claims": claims}


print(json.dumps(main(read())))
