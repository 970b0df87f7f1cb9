"""What every derived key is bound to, so that no mask is used twice and none serves two purposes."""

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PROTOCOL = "fedward/secagg/1"
KEY_BYTES = 32
SEED_BYTES = 16
"""Of what is shared: as strong as X25519 is, and what Shamir's sharing over GF(2^128) takes at once."""


@dataclass(frozen=True)
class Label:
    """One attempt at one round by one cohort.

    `cohort` is the digest of all that was advertised and of what was agreed beforehand: parties that
    were shown other keys have other labels, and nothing of theirs fits. Before a cohort is known it is
    the digest of what was agreed alone (`Session.label`).
    """

    charter: str
    round: int
    attempt: int
    cohort: str

    def info(self, purpose: str, *parts: str) -> bytes:
        """The HKDF info (RFC 5869) of one purpose; `parts` are names and public keys.

        Every text after its length (2 bytes, big-endian), so that no two lists have the same bytes.
        """
        said = (PROTOCOL, purpose, self.charter, str(self.round), str(self.attempt), self.cohort)
        texts = [text.encode() for text in (*said, *parts)]
        return b"".join(len(text).to_bytes(2) + text for text in texts)

    def derive(self, secret: bytes, purpose: str, *parts: str) -> bytes:
        """A 32-byte key for one purpose (HKDF-SHA256 without salt; `secret` is a seed, or shared)."""
        return HKDF(hashes.SHA256(), KEY_BYTES, None, self.info(purpose, *parts)).derive(secret)

    def digest(self, purpose: str, *parts: str) -> bytes:
        """32 public bytes that differ wherever label, purpose or parts differ."""
        return hashlib.sha256(self.info(purpose, *parts)).digest()
