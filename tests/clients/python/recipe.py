"""Verifies the tokens of a JSON object on standard input with a recipe of docs/verifiers.md, which is verify.py in the
current folder. Prints for each name the claims, or null for a refused token."""

import json
import os
import sys

sys.path.insert(0, os.getcwd())

from verify import verify


def seen(name, token):
    try:
        return dict(verify(token))
    except Exception as error:
        print(name, "refused:", repr(error), file=sys.stderr)
        return None


print(json.dumps({name: seen(name, token) for name, token in json.load(sys.stdin).items()}))
