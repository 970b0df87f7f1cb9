"""What every derived key is bound to, so that no mask is used twice and none serves two purposes."""

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedward_shared import canonical

PROTOCOL = "fedward/secagg/1"
KEY_BYTES = 32


@dataclass(frozen=True)
class Label:
    """One attempt at one round by one cohort.

    `cohort` is the digest of all the signed advertisements and of what was agreed beforehand
    (`Session.label`): parties that were shown other keys have other labels, and nothing of theirs fits.
    """

    charter: str
    round: int
    attempt: int
    cohort: str

    def info(self, purpose: str, *parts: str) -> bytes:
        """The HKDF info (RFC 5869) of one purpose; `parts` are names and public keys."""
        return canonical.encode(
            [PROTOCOL, purpose, self.charter, self.round, self.attempt, self.cohort, *parts]
        )

    def derive(self, secret: bytes, purpose: str, *parts: str) -> bytes:
        """A 32-byte key for one purpose (HKDF-SHA256 without salt: `secret` is uniform, or DH)."""
        return HKDF(hashes.SHA256(), KEY_BYTES, None, self.info(purpose, *parts)).derive(secret)

    def digest(self, purpose: str, *parts: str) -> bytes:
        """32 public bytes that differ wherever label, purpose or parts differ."""
        return hashlib.sha256(self.info(purpose, *parts)).digest()
