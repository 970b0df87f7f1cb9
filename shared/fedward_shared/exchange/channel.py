"""Messages to one peer and from it, in order, each once, over connections that break.

A state machine without I/O. Messages are numbered from 1 and sealed once; what the peer has not
confirmed is kept, and sent again, byte for byte, when there is a connection again. What comes is handed
on in order, and confirmed when whoever took it says that it is safe: a party that crashes before that is
sent it again.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.envelopes import MAX_MESSAGE, TAG_BYTES, Envelopes

WINDOW = 64
"""Messages that may be under way unconfirmed."""
_KINDS: tuple[Literal["data", "confirm"], ...] = ("data", "confirm")
_NUMBER_BYTES = 8
MAX_FRAME = 1 + _NUMBER_BYTES + MAX_MESSAGE + TAG_BYTES


@dataclass(frozen=True)
class Frame:
    """What is relayed: an envelope with its number, or the number up to which all is safe."""

    kind: Literal["data", "confirm"]
    number: int
    sealed: bytes = b""

    def encode(self) -> bytes:
        """Kind (1 byte), number (8 bytes, big-endian), envelope."""
        kind = _KINDS.index(self.kind).to_bytes()
        return kind + self.number.to_bytes(_NUMBER_BYTES) + self.sealed

    @classmethod
    def decode(cls, data: bytes) -> "Frame":
        """Raises ExchangeError for anything that `encode` does not make."""
        head = 1 + _NUMBER_BYTES
        if not head <= len(data) <= MAX_FRAME or data[0] >= len(_KINDS):
            raise ExchangeError(f"a frame of {len(data)} bytes is none")
        kind, sealed = _KINDS[data[0]], data[head:]
        if (kind == "data") != bool(sealed):
            raise ExchangeError("a frame has an envelope if it is one, and else none")
        return cls(kind, int.from_bytes(data[1:head]), sealed)


class Channel:
    """One end of it."""

    def __init__(self, envelopes: Envelopes) -> None:
        self._envelopes = envelopes
        self._unconfirmed: deque[Frame] = deque()
        self._sent = 0
        self._handed = 0
        """Up to which message of the peer all was handed on."""
        self._safe = 0
        self._early: dict[int, bytes] = {}

    @classmethod
    def restored(
        cls, envelopes: Envelopes, confirmed: int, unconfirmed: Iterable[Frame], safe: int
    ) -> "Channel":
        """One that goes on: the peer has confirmed so many, these follow, and so many are safe here."""
        channel = cls(envelopes)
        channel._unconfirmed.extend(unconfirmed)
        channel._sent = confirmed + len(channel._unconfirmed)
        channel._handed = channel._safe = safe
        return channel

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return self._sent

    @property
    def handed(self) -> int:
        """How many messages of the peer were handed on."""
        return self._handed

    @property
    def confirmed(self) -> int:
        """How many messages the peer has confirmed."""
        return self._sent - len(self._unconfirmed)

    @property
    def ready(self) -> bool:
        """Whether one more message may be sent; if not, the peer is slow, or away."""
        return len(self._unconfirmed) < WINDOW

    @property
    def idle(self) -> bool:
        """Whether the peer has confirmed all."""
        return not self._unconfirmed

    def send(self, message: bytes) -> Frame:
        """The frame of the next message. Raises ExchangeError unless `ready`, and for one too long."""
        if not self.ready:
            raise ExchangeError(f"{self._envelopes.peer} has not confirmed {WINDOW} messages")
        frame = Frame("data", self._sent + 1, self._envelopes.seal(self._sent + 1, message))
        self._sent += 1
        self._unconfirmed.append(frame)
        return frame

    def resume(self) -> list[Frame]:
        """What goes out on a new connection: what is safe here, and what the peer has not confirmed."""
        return [Frame("confirm", self._safe), *self._unconfirmed]

    def take(self, frame: Frame) -> list[bytes]:
        """The messages that can be handed on now, in order; none for one that came before.

        Raises ExchangeError, and has then changed nothing, for a frame that the peer cannot have sent.
        """
        if frame.kind == "confirm":
            self._confirm(frame.number)
            return []
        if not 0 < frame.number <= self._safe + WINDOW:
            raise ExchangeError(
                f"message {frame.number} of {self._envelopes.peer}; {self._safe} are confirmed and "
                f"{WINDOW} may be under way"
            )
        message = self._envelopes.open(frame.number, frame.sealed)
        if frame.number > self._handed:
            self._early[frame.number] = message
        handed = []
        while self._handed + 1 in self._early:
            self._handed += 1
            handed.append(self._early.pop(self._handed))
        return handed

    def _confirm(self, number: int) -> None:
        if number > self._sent:
            raise ExchangeError(
                f"{self._envelopes.peer} confirms message {number}, and {self._sent} were sent: one end "
                "goes on from an older copy of its journal"
            )
        while self._unconfirmed and self._unconfirmed[0].number <= number:
            self._unconfirmed.popleft()

    def safe(self, count: int) -> Frame:
        """All of the first `count` messages have been made safe here: tells the peer.

        Raises ExchangeError for more than were handed on, and for fewer than were safe before.
        """
        if not self._safe <= count <= self._handed:
            raise ExchangeError(f"{count} of {self._handed} messages are safe, after {self._safe}")
        self._safe = count
        return Frame("confirm", count)
