"""Masks: the key streams that are added to an update, and how two parties come to the same one."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedward_shared.errors import AggregationError
from fedward_shared.secagg.labels import Label
from fedward_shared.secagg.ring import CHUNK, Numbers, Ring, chunks

Sign = Literal[1, -1]


def private_key(secret: bytes) -> X25519PrivateKey:
    """The X25519 key of 32 secret bytes (RFC 7748)."""
    return X25519PrivateKey.from_private_bytes(secret)


def public_of(key: X25519PrivateKey) -> bytes:
    """The 32 bytes of its public key."""
    return key.public_key().public_bytes_raw()


def mask_key(label: Label, seed: bytes, site: str) -> X25519PrivateKey:
    """The mask key that a site makes of a seed; whoever gets the seed back can make it too."""
    return private_key(label.derive(seed, "mask-key", site))


def commitment(label: Label, seed: bytes, site: str) -> bytes:
    """What a site says of its self mask's seed before it shares it."""
    return label.derive(seed, "commitment", site)


def exchange(key: X25519PrivateKey, public: bytes, whose: str) -> bytes:
    """What the owners of both keys share. Raises AggregationError for a key of small order."""
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise AggregationError(f"the key of {whose} is no X25519 key") from error


def pair_key(
    label: Label, key: X25519PrivateKey, own: tuple[str, bytes], other: tuple[str, bytes]
) -> bytes:
    """The mask key of a pair, the same on both sides; `own` and `other` are name and public key."""
    shared = exchange(key, other[1], other[0])
    (first, first_key), (second, second_key) = sorted((own, other))
    return label.derive(shared, "pair-mask", first, second, first_key.hex(), second_key.hex())


def pair_sign(site: str, other: str) -> Sign:
    """Of a pair the first by name adds the mask, the second takes it away."""
    return 1 if site < other else -1


def self_key(label: Label, seed: bytes, site: str) -> bytes:
    """The key of the mask that a site adds for itself."""
    return label.derive(seed, "self-mask", site)


def apply(ring: Ring, numbers: Numbers, key: bytes, sign: Sign) -> None:
    """Adds the mask of `key` to `numbers`, in place, or takes it away.

    The mask is the AES-256-CTR key stream, counter from zero, read as little-endian numbers of the
    ring's type. A key is used for one stream alone, so the counter may begin anywhere.
    """
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    size = ring.dtype.itemsize
    zeros, stream = bytes(CHUNK * size), bytearray(CHUNK * size)
    mask = np.frombuffer(stream, dtype=ring.dtype)
    combine: Callable[..., Numbers] = np.add if sign == 1 else np.subtract
    for at in chunks(numbers.size):
        part = numbers[at]
        encryptor.update_into(memoryview(zeros)[: part.nbytes], stream)
        combine(part, mask[: part.size], out=part)
