"""Obtains and verifies tokens with Authlib. Reads a task from standard input and prints the results as JSON."""

import json
import os
import sys
import warnings

# The issuer under test uses http on loopback, and this process contacts nothing else.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
# RFC 9864 renames EdDSA to Ed25519, but deployed software uses the name of RFC 8037.
warnings.filterwarnings("ignore", "EdDSA is deprecated")

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc9068.claims import JWTAccessTokenClaims
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet


def main(task):
    metadata = discover(task["issuer"])
    keys = KeySet.import_key_set(get_json(metadata["jwks_uri"]))
    tokens, introspections = {}, {}
    for algorithm, client in task["clients"].items():
        by_method = {method: ask(metadata, method, client, task["scope"]) for method in ("basic", "post")}
        tokens[algorithm] = {
            method: {"reply": without_token(reply), **verify(reply["access_token"], keys, algorithm, task)}
            for method, reply in by_method.items()
        }
        token = by_method["basic"]["access_token"]
        introspections[algorithm] = introspect(metadata, task["api"], token)
    return {
        "tokens": tokens,
        "introspections": introspections,
        "refused": refused(token, keys, algorithm, task),
        "wrong_secret": wrong_secret(metadata, {**client, "secret": client["secret"][:-1]}, task["scope"]),
        "service": service(metadata, task),
    }


def get_json(url):
    reply = requests.get(url, timeout=10)
    reply.raise_for_status()
    return reply.json()


def discover(issuer):
    """Fetches both metadata documents and validates them by Authlib's own rules."""
    oauth = AuthorizationServerMetadata(get_json(get_well_known_url(issuer, external=True)))
    openid = OpenIDProviderMetadata(get_json(issuer + "/.well-known/openid-configuration"))
    for document in (oauth, openid):
        for name in document.REGISTRY_KEYS:
            # It is required, and empty without an authorization endpoint, which Authlib takes for absent.
            if name != "response_types_supported":
                getattr(document, f"validate_{name}")()
        assert document["issuer"] == issuer, document
        assert document["response_types_supported"] == [], document
    return oauth


def session(method, client):
    return OAuth2Session(client["id"], client["secret"], token_endpoint_auth_method=f"client_secret_{method}")


def ask(metadata, method, client, scope):
    with session(method, client) as oauth:
        return dict(oauth.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope=scope))


def wrong_secret(metadata, client, scope):
    try:
        ask(metadata, "basic", client, scope)
    except OAuthError as error:
        return error.error
    return None


def without_token(reply):
    return {name: value for name, value in reply.items() if name not in ("access_token", "expires_at")}


def verify(token, keys, algorithm, task, **other):
    """Verifies a token as RFC 9068 section 4 requires."""
    expected = {"audience": task["audience"], "issuer": task["issuer"], "algorithms": [algorithm], **other}
    decoded = jwt.decode(token, keys, algorithms=expected["algorithms"])
    options = {name: {"essential": True} for name in ("exp", "iat", "nbf", "jti", "sub", "client_id")}
    options["iss"] = {"essential": True, "value": expected["issuer"]}
    options["aud"] = {"essential": True, "value": expected["audience"]}
    claims = JWTAccessTokenClaims(decoded.claims, decoded.header, options)
    claims.validate()
    return {"header": decoded.header, "claims": decoded.claims}


def refused(token, keys, algorithm, task):
    def error(token, **other):
        try:
            verify(token, keys, algorithm, task, **other)
        except JoseError as error:
            return error.error
        return None

    head, body, signature = token.split(".")
    changed = "A" if signature[10] != "A" else "B"
    return {
        "audience": error(token, audience="https://other.example.com"),
        "issuer": error(token, issuer="https://other.example.com"),
        "algorithm": error(token, algorithms=["HS256"]),
        "signature": error(f"{head}.{body}.{signature[:10]}{changed}{signature[11:]}"),
    }


def introspect(metadata, client, token):
    with session("basic", client) as oauth:
        reply = oauth.introspect_token(metadata["introspection_endpoint"], token=token)
    reply.raise_for_status()
    return reply.json()


def service(metadata, task):
    token, gateway = task["service"]["token"], task["service"]["gateway"]

    def check(**headers):
        return requests.get(gateway, headers=headers, timeout=10).status_code

    def check_as_bearer():
        with OAuth2Session(token={"access_token": token, "token_type": "Bearer"}) as bearer:
            return bearer.get(gateway).status_code

    before = {
        "introspection": introspect(metadata, task["api"], token),
        "checked": [check_as_bearer(), check(**{"X-Api-Key": token}), check(**{"Api-Key": token})],
    }
    with session("post", task["service"]["client"]) as owner:
        revocation = owner.revoke_token(metadata["revocation_endpoint"], token=token)
    return {
        **before,
        "revocation": revocation.status_code,
        "introspection_after": introspect(metadata, task["api"], token),
        "checked_after": check_as_bearer(),
    }


print(json.dumps(main(json.load(sys.stdin))))
