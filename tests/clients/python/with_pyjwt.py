"""Verifies with PyJWT the tokens that requests fetches. Reads a task from stdin and prints the results as JSON."""

import json
import sys

import jwt
import requests

STRICT = {"require": ["iss", "aud", "exp", "iat", "nbf", "jti", "sub", "client_id"], "strict_aud": True}


def main(task):
    metadata = get_json(task["issuer"] + "/.well-known/openid-configuration")
    assert metadata["issuer"] == task["issuer"], metadata
    keys = jwt.PyJWKClient(metadata["jwks_uri"])
    endpoint = metadata["token_endpoint"]
    tokens, introspections = {}, {}
    for algorithm, client in task["clients"].items():
        by_method = {method: ask(endpoint, method, client, task["scope"]) for method in ("basic", "post")}
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
        "wrong_secret": ask(endpoint, "basic", {**client, "secret": client["secret"][:-1]}, task["scope"])["error"],
        "service": service(metadata, task),
    }


def get_json(url):
    reply = requests.get(url, timeout=10)
    reply.raise_for_status()
    return reply.json()


def credentials(method, client):
    if method == "basic":
        return {"auth": (client["id"], client["secret"])}, {}
    return {}, {"client_id": client["id"], "client_secret": client["secret"]}


def ask(endpoint, method, client, scope):
    head, body = credentials(method, client)
    form = {"grant_type": "client_credentials", "scope": scope, **body}
    return requests.post(endpoint, data=form, timeout=10, **head).json()


def without_token(reply):
    return {name: value for name, value in reply.items() if name != "access_token"}


def verify(token, keys, algorithm, task, **other):
    expected = {"algorithms": [algorithm], "audience": task["audience"], "issuer": task["issuer"], **other}
    key = keys.get_signing_key_from_jwt(token)
    whole = jwt.decode_complete(token, key, options=STRICT, **expected)
    return {"header": whole["header"], "claims": whole["payload"]}


def refused(token, keys, algorithm, task):
    def error(token, **other):
        try:
            verify(token, keys, algorithm, task, **other)
        except jwt.InvalidTokenError as error:
            return type(error).__name__
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
    reply = requests.post(
        metadata["introspection_endpoint"], data={"token": token}, timeout=10, auth=(client["id"], client["secret"])
    )
    reply.raise_for_status()
    return reply.json()


def service(metadata, task):
    token, gateway = task["service"]["token"], task["service"]["gateway"]
    owner = task["service"]["client"]

    def check(**headers):
        return requests.get(gateway, headers=headers, timeout=10).status_code

    before = {
        "introspection": introspect(metadata, task["api"], token),
        "checked": [check(Authorization=f"Bearer {token}"), check(**{"X-Api-Key": token}), check(**{"Api-Key": token})],
    }
    revocation = requests.post(
        metadata["revocation_endpoint"], data={"token": token}, timeout=10, auth=(owner["id"], owner["secret"])
    )
    return {
        **before,
        "revocation": revocation.status_code,
        "introspection_after": introspect(metadata, task["api"], token),
        "checked_after": check(Authorization=f"Bearer {token}"),
    }


print(json.dumps(main(json.load(sys.stdin))))
