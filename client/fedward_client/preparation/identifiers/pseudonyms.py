"""Pseudonyms of persons, and how far their dates are moved: both follow from a secret of the site.

HMAC-SHA256 (RFC 2104) of the person under a key for each purpose (HKDF-SHA256, RFC 5869): the same
person has the same pseudonym at this site, and another at every other. Without the key nobody can tell
whose a pseudonym is by trying all names.
"""

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedward_shared import records
from fedward_shared.errors import IdentityError

KEY_BYTES = 32
LABEL = "pseudonyms"
"""Under which `Secrets` derive the key; it outlives a rotation."""
MOST_DAYS = 364
LETTERS = 16
"""80 bits: among a million persons two have the same pseudonym with a probability of 4e-13."""


@dataclass(frozen=True)
class Person:
    """What stands in place of a person, and by how many days their dates are moved."""

    pseudonym: str
    days: int


class Pseudonyms:
    """Those of one site. Raises IdentityError for a key that has not 32 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise IdentityError(f"a key of pseudonyms has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key

    def person(self, owner: str) -> Person:
        """Of the person `owner`, whom records name as they are compared elsewhere: `normalised`.

        Dates move by 1 to 364 days back or forth, never by none. Raises IdentityError for nobody.
        """
        who = records.normalised(owner)
        if not who:
            raise IdentityError("a pseudonym of nobody: the owner is empty")
        letters = base64.b32encode(self._digest("person", who)).decode()[:LETTERS]
        # 64 bits over 728 values: the bias is below 1e-16
        number = int.from_bytes(self._digest("dates", who)[:8], "big") % (2 * MOST_DAYS)
        return Person(letters, number - MOST_DAYS if number < MOST_DAYS else number - MOST_DAYS + 1)

    def _digest(self, purpose: str, who: str) -> bytes:
        info = f"fedward pseudonyms {purpose}".encode()
        mac = HMAC(HKDF(hashes.SHA256(), KEY_BYTES, None, info).derive(self._key), hashes.SHA256())
        mac.update(who.encode())
        return mac.finalize()
