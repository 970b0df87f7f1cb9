"""What goes between a party and the relay at the coordinator: one gRPC stream of hops, both ways.

    relay → party    challenge              32 random bytes, once, at the start
    party → relay    attendance             the challenge, answered and signed: who I am, which session
    relay → party    here PEER, gone PEER   a peer has connected, or come again; it has left
    both ways        opening PEER           a signed Opening, for that peer; from it, when it arrives
                     frame PEER             a channel's frame, likewise
                     beat                   there is somebody
    relay → party    refused [PEER]         the last hop of a connection: a fixed word says why

The relay reads the name on an opening or a frame, changes it into the sender's, and looks no further.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.channel import MAX_FRAME
from fedward_shared.terms import Name

METHOD = "/fedward.Exchange/Connect"
CHALLENGE_BYTES = 32
MAX_STATEMENT = 4096
"""An attendance or an opening, signed: about 600 bytes."""
MAX_NAME = 63
MAX_HOP = 2 + MAX_NAME + MAX_FRAME
BEAT_SECONDS = 15.0
SILENT_SECONDS = 4 * BEAT_SECONDS
"""After so long without a hop a connection counts as broken, whatever the network says."""

Kind = Literal[
    "challenge", "attendance", "here", "gone", "opening", "frame", "beat", "refused", "done"
]
RELAYED: tuple[Kind, ...] = ("opening", "frame")


class Refusal(StrEnum):
    """Why the relay ends a connection. `SILENT` and no peer: the connection itself was silent."""

    UNKNOWN = "unknown"
    STRANGER = "stranger"
    ATTENDANCE = "attendance"
    CERTIFICATE = "certificate"
    REPLACED = "replaced"
    OVER = "over"
    SILENT = "silent"
    HOP = "hop"

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_WORDS = {
    Refusal.UNKNOWN: "the coordinator has no such session",
    Refusal.STRANGER: "this site is no party of the session",
    Refusal.ATTENDANCE: "the attendance is not signed with the site's key for this challenge",
    Refusal.CERTIFICATE: "the certificate of the connection is another site's",
    Refusal.REPLACED: "this site has connected again from elsewhere",
    Refusal.OVER: "the session's time is over",
    Refusal.SILENT: "nothing was heard for too long",
    Refusal.HOP: "a hop that no party may send",
}
_NO_PEER, _PEER = (False,), (True,)
_SHAPES: dict[Kind, tuple[tuple[bool, ...], int, int]] = {
    "challenge": (_NO_PEER, CHALLENGE_BYTES, CHALLENGE_BYTES),
    "attendance": (_NO_PEER, 1, MAX_STATEMENT),
    "here": (_PEER, 0, 0),
    "gone": (_PEER, 0, 0),
    "opening": (_PEER, 1, MAX_STATEMENT),
    "frame": (_PEER, 1, MAX_FRAME),
    "beat": (_NO_PEER, 0, 0),
    "refused": ((False, True), 1, 16),
    "done": (_NO_PEER, 0, 0),
}
"""Whether a hop of this kind names a peer, and the fewest and the most bytes of its payload."""
_KINDS: tuple[Kind, ...] = tuple(_SHAPES)
_NAME: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(frozen=True)
class Hop:
    """One message between a party and the relay. `peer` is to whom, or from whom, it is."""

    kind: Kind
    peer: str = ""
    payload: bytes = b""

    @classmethod
    def refusal(cls, why: Refusal, peer: str = "") -> "Hop":
        """The last hop of a connection; `peer` is whom the session has waited for in vain."""
        return cls("refused", peer, why.encode())

    @property
    def why(self) -> Refusal:
        """Of a refusal."""
        return Refusal(self.payload.decode())

    def encode(self) -> bytes:
        """Kind (1 byte), length of the name (1 byte), name, payload."""
        head = bytes((_KINDS.index(self.kind), len(self.peer)))
        return b"".join((head, self.peer.encode(), self.payload))

    @classmethod
    def decode(cls, data: bytes) -> "Hop":
        """Raises ExchangeError for anything that `encode` does not make."""
        if not 2 <= len(data) <= MAX_HOP or data[0] >= len(_KINDS) or len(data) < 2 + data[1]:
            raise ExchangeError(f"a hop of {len(data)} bytes is none")
        kind, start = _KINDS[data[0]], 2 + data[1]
        named, least, most = _SHAPES[kind]
        if bool(data[1]) not in named or not least <= len(data) - start <= most:
            raise ExchangeError(f"a hop of kind {kind} is never of this form")
        return cls(kind, _name(data[2:start]), _payload(kind, data[start:]))


def _name(data: bytes) -> str:
    if not data:
        return ""
    try:
        return _NAME.validate_python(data.decode("ascii"))
    except (UnicodeDecodeError, ValidationError) as error:
        raise ExchangeError("the name in a hop is none of a site") from error


def _payload(kind: Kind, data: bytes) -> bytes:
    if kind == "refused" and data not in {why.encode() for why in Refusal}:
        raise ExchangeError("a refusal for no reason that there is")
    return data
