"""Envelopes between two parties of a session: only they can open one, and each opens at one place alone.

Both make an X25519 key for the session and sign it with their identity, so nobody can put one of his own
in between. HKDF of the shared secret gives a key for each direction, bound to the charter, the session,
both names and both keys; an envelope is AES-256-GCM under it, and its number is the nonce. So a number
may be used for one message only: whoever sends again sends the same bytes.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedward_shared.assurances import OfSite
from fedward_shared.errors import ExchangeError
from fedward_shared.terms import Hexadecimal, Name

PROTOCOL = "fedward/exchange/1"
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
MAX_MESSAGE = 4 * 2**20


class Opening(OfSite):
    """A party's X25519 key for one session, which it uses with one peer alone."""

    KIND = "fedward/opening/1"

    session: Hexadecimal
    peer: Name
    key: Hexadecimal


class Attendance(OfSite):
    """The site that holds the key is at the other end of the connection that got this one challenge."""

    KIND = "fedward/attendance/1"

    session: Hexadecimal
    challenge: Hexadecimal


@dataclass(frozen=True)
class Envelopes:
    """One end: seals for the peer, opens what comes from it."""

    peer: str
    _seal: AESGCM
    _open: AESGCM
    _bound: bytes

    @classmethod
    def between(cls, key: X25519PrivateKey, own: Opening, theirs: Opening) -> "Envelopes":
        """Of the two openings of a session; `key` belongs to `own`.

        Both have been read as signed by whom they name. Raises ExchangeError where they do not belong
        together, and for a key of small order.
        """
        if (own.charter, own.session, own.peer) != (theirs.charter, theirs.session, theirs.site):
            raise ExchangeError(
                f"the opening of {theirs.site} is for another charter, session or pair"
            )
        if theirs.peer != own.site or own.site == theirs.site:
            raise ExchangeError(
                f"the opening of {theirs.site} is for {theirs.peer}, not {own.site}"
            )
        try:
            shared = key.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(theirs.key)))
        except ValueError as error:
            raise ExchangeError(f"the key of {theirs.site} is no X25519 key") from error
        first, second = sorted((own, theirs), key=lambda opening: opening.site)
        said = (PROTOCOL, own.charter, own.session, first.site, second.site, first.key, second.key)
        bound = b"".join(len(text.encode()).to_bytes(2) + text.encode() for text in said)
        both = HKDF(hashes.SHA256(), 2 * KEY_BYTES, None, bound).derive(shared)
        of_first, of_second = AESGCM(both[:KEY_BYTES]), AESGCM(both[KEY_BYTES:])
        if own is first:
            return cls(theirs.site, of_first, of_second, bound)
        return cls(theirs.site, of_second, of_first, bound)

    def seal(self, number: int, message: bytes) -> bytes:
        """The message, for the peer alone. Raises ExchangeError for one that is too long."""
        if len(message) > MAX_MESSAGE:
            raise ExchangeError(f"a message of {len(message)} bytes; the most is {MAX_MESSAGE}")
        return self._seal.encrypt(number.to_bytes(NONCE_BYTES), message, self._bound)

    def open(self, number: int, sealed: bytes) -> bytes:
        """What the peer has sealed as its message `number`.

        Raises ExchangeError for an envelope that is forged, changed, or sealed for another place.
        """
        return self._opened(self._open, self.peer, number, sealed)

    def reopen(self, number: int, sealed: bytes) -> bytes:
        """What this end has sealed as its message `number`. Raises ExchangeError as `open` does."""
        return self._opened(self._seal, "this site", number, sealed)

    def _opened(self, key: AESGCM, whose: str, number: int, sealed: bytes) -> bytes:
        if not TAG_BYTES <= len(sealed) <= MAX_MESSAGE + TAG_BYTES:
            raise ExchangeError(f"an envelope of {whose} has {len(sealed)} bytes")
        try:
            return key.decrypt(number.to_bytes(NONCE_BYTES), sealed, self._bound)
        except InvalidTag as error:
            raise ExchangeError(
                f"envelope {number} of {whose} does not open: it is not what {whose} sealed, or "
                "was sealed as another message"
            ) from error
