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
    """The RFC 8785 bytes of a JSON value: keys sorted, no white space.

    Numbers are integers below 2^53; a decimal is written as text by whoever owns the field, so that
    no two parties can differ about its digits. Raises ValueError for anything else.
    """
    _refuse_decimals(value)
    return rfc8785.dumps(value)


def _refuse_decimals(value: Any) -> None:
    if isinstance(value, float):
        raise ValueError(f"{value!r} is a decimal, which canonical JSON holds as text")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            _refuse_decimals(part)


def decode(data: bytes) -> Any:
    """The JSON value of UTF-8 bytes. Raises ValueError (json.JSONDecodeError, UnicodeDecodeError)."""
    return json.loads(data.decode("utf-8"))


def digest(data: bytes) -> str:
    """`sha256:` and the 64 hexadecimal digits of the SHA-256 of `data`."""
    return DIGEST_PREFIX + hashlib.sha256(data).hexdigest()
