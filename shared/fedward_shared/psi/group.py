"""Points of ristretto255 (RFC 9496), by libsodium: their 32 bytes each, one after the other.

The group's order is a prime, so nothing leaks through a small subgroup or a twist.
"""

import hashlib

import rbcl

from fedward_shared.errors import AlignmentError
from fedward_shared.psi import POINT_BYTES

SEED_BYTES = 64
_DIGEST_BLOCK = 128
"""Bytes in a block of SHA-512."""


def secret(seed: bytes) -> bytes:
    """A scalar of 64 random bytes, 32 bytes."""
    reduced: bytes = rbcl.crypto_core_ristretto255_scalar_reduce(seed)
    return reduced


def hashed(identifier: bytes, domain: bytes) -> bytes:
    """The point of an identifier: `ristretto255_XMD:SHA-512_R255MAP_RO_` of RFC 9380, appendix B.

    `domain` (at most 255 bytes) keeps sessions apart.
    """
    point: bytes = rbcl.crypto_core_ristretto255_from_hash(_expanded(identifier, domain))
    return point


def _expanded(message: bytes, domain: bytes) -> bytes:
    """`expand_message_xmd` with SHA-512 to 64 bytes (RFC 9380, 5.3.1)."""
    tag = domain + len(domain).to_bytes(1)
    size = SEED_BYTES.to_bytes(2)
    first = hashlib.sha512(bytes(_DIGEST_BLOCK) + message + size + b"\0" + tag).digest()
    return hashlib.sha512(first + b"\1" + tag).digest()


def multiplied(key: bytes, points: bytes) -> bytes:
    """Points, multiplied by `key`.

    Raises AlignmentError for bytes that are no points, and for the neutral one.
    """
    multiply, whole = rbcl.crypto_scalarmult_ristretto255, memoryview(points)
    try:
        return b"".join(
            multiply(key, bytes(whole[at : at + POINT_BYTES]))
            for at in range(0, len(points), POINT_BYTES)
        )
    except (RuntimeError, ValueError) as error:
        raise AlignmentError("what came for a point of ristretto255 is none") from error


def padding(seeds: bytes) -> bytes:
    """A point that is nobody's for each 64 random bytes of `seeds`."""
    return b"".join(
        rbcl.crypto_core_ristretto255_from_hash(seeds[at : at + SEED_BYTES])
        for at in range(0, len(seeds), SEED_BYTES)
    )
