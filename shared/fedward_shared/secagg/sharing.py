"""Shamir's secret sharing of 16-byte seeds, and the envelopes in which shares travel."""

import os

from Crypto.Protocol.SecretSharing import Shamir
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedward_shared.errors import AggregationError
from fedward_shared.secagg.labels import SEED_BYTES, Label
from fedward_shared.secagg.masks import exchange

SHARE_BYTES = SEED_BYTES
NONCE_BYTES = 12
ENVELOPE_BYTES = NONCE_BYTES + 2 * SHARE_BYTES + 16
"""A nonce, one share of either seed, and the tag."""


def split(seed: bytes, threshold: int, count: int) -> list[bytes]:
    """`count` shares, of which any `threshold` give the seed, and fewer tell nothing.

    Share i stands for the point i + 1.
    """
    return [share for _, share in Shamir.split(threshold, count, seed, ssss=False)]


def combine(shares: dict[int, bytes]) -> bytes:
    """The seed that exactly a threshold of shares (by their point) stands for.

    Where one share is wrong, the result is: compare it with what its owner committed itself to.
    """
    return Shamir.combine(list(shares.items()), ssss=False)


def seal(
    label: Label, own: X25519PrivateKey, sender: str, receiver: str, key: bytes, text: bytes
) -> bytes:
    """`text` for the owner of the envelope key `key` alone (X25519, HKDF, AES-256-GCM).

    `own` is the sender's. Label and both names are bound as associated data.
    """
    nonce = os.urandom(NONCE_BYTES)
    aead, bound = _envelope(label, exchange(own, key, receiver), sender, receiver)
    return nonce + aead.encrypt(nonce, text, bound)


def unseal(
    label: Label, own: X25519PrivateKey, sender: str, receiver: str, key: bytes, data: bytes
) -> bytes:
    """What `sender`, the owner of `key`, has sealed for `receiver`, who has `own`.

    Raises AggregationError for an envelope of another size, label, sender or receiver.
    """
    if len(data) != ENVELOPE_BYTES:
        raise AggregationError(
            f"the envelope of {sender} has {len(data)} bytes, not {ENVELOPE_BYTES}"
        )
    aead, bound = _envelope(label, exchange(own, key, sender), sender, receiver)
    try:
        return aead.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], bound)
    except InvalidTag as error:
        raise AggregationError(f"the envelope of {sender} does not open for {receiver}") from error


def _envelope(label: Label, shared: bytes, sender: str, receiver: str) -> tuple[AESGCM, bytes]:
    key = label.derive(shared, "envelope", sender, receiver)
    return AESGCM(key), label.info("envelope", sender, receiver)
