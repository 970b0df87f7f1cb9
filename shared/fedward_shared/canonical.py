"""Canonical JSON (RFC 8785) and the digests made of it.

One place says which bytes stand for an object, so that a digest made by one party is the digest made
by every other.
"""

import hashlib
import json
from typing import Any

import rfc8785

DIGEST_PREFIX = "sha256:"


def encode(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value (numbers as IEEE doubles, keys sorted, no white space)."""
    return rfc8785.dumps(value)


def decode(data: bytes) -> Any:
    """The JSON value of UTF-8 bytes. Raises ValueError (json.JSONDecodeError, UnicodeDecodeError)."""
    return json.loads(data.decode("utf-8"))


def digest(data: bytes) -> str:
    """`sha256:` and the 64 hexadecimal digits of the SHA-256 of `data`."""
    return DIGEST_PREFIX + hashlib.sha256(data).hexdigest()
