"""This site's end of the channel to one peer: the channel, and how far the program is in it.

A program that starts again is behind the channel until it has done again what it did before; so long
it is answered from the journal.
"""

from collections import deque

from fedward_client.exchange.journal import Journal, Kept
from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.channel import WINDOW, Channel, Frame
from fedward_shared.exchange.envelopes import Envelopes, Opening
from fedward_shared.identity import PublicKey

CONFIRM_AFTER = WINDOW // 4
"""Messages that are confirmed together, if no tick comes before."""


class End:
    """`own` is this site's opening and `signed` its bytes, `key` the peer's; `kept` is on disk."""

    def __init__(
        self, own: Opening, signed: bytes, key: PublicKey, kept: Kept, journal: Journal
    ) -> None:
        self.peer = own.peer
        self.signed = signed
        self.sent, self.received = kept.sent, kept.received
        self.here = False
        self._own = own
        self._key = key
        self._kept = kept
        self._journal = journal
        self._theirs: Opening | None = None
        self._envelopes: Envelopes | None = None
        self._channel: Channel | None = None
        self._inbox: deque[bytes] = deque()
        self._arrived: dict[int, bytes] = {}
        self._restored = self.durable = self._told = journal.last(
            self.peer, "received", kept.received
        )
        if kept.opening is not None:
            self.open(kept.opening)

    @property
    def is_open(self) -> bool:
        """Whether the peer's opening is known."""
        return self._channel is not None

    @property
    def repeats(self) -> bool:
        """Whether what the program sends next was sent before."""
        return self._channel is not None and self.sent < self._channel.sent

    @property
    def ready(self) -> bool:
        """Whether the program may send."""
        return self._channel is not None and (self.repeats or self._channel.ready)

    @property
    def idle(self) -> bool:
        """Whether the peer has confirmed all."""
        return self._channel is None or self._channel.idle

    @property
    def settled(self) -> bool:
        """Whether the peer has been told of all that the program has of it."""
        return self._told >= self.received

    @property
    def confirmed(self) -> int:
        """How many messages the peer has confirmed."""
        return self._channel.confirmed if self._channel else 0

    def open(self, data: bytes) -> bool:
        """The peer's signed opening; whether it is new.

        Raises StatementError for one that is not the peer's, ExchangeError for a second one: the peer
        no longer has the key of the first, and so nothing of what was said.
        """
        own = self._own
        theirs = Opening.read(data, own.charter, self._key, self.peer, f"opening of {self.peer}")
        theirs.by(self.peer, f"opening of {self.peer}")
        if theirs == self._theirs:
            return False
        envelopes = Envelopes.between(self._kept.key, own, theirs)
        if self._theirs is not None:
            raise ExchangeError(
                f"{self.peer} has lost its journal of session {own.session[:16]}: it comes with another "
                "key; nothing can go on here, and the coordinator has to open another session"
            )
        self._theirs, self._envelopes = theirs, envelopes
        unconfirmed = self._journal.unconfirmed(self.peer, self._kept.confirmed)
        self._channel = Channel.restored(
            envelopes, self._kept.confirmed, unconfirmed, self._restored
        )
        return True

    def resume(self) -> list[Frame]:
        """What goes out when the peer is there again."""
        return self._channel.resume() if self._channel else []

    def send(self, message: bytes) -> Frame:
        """The frame of the program's next message. Raises ExchangeError unless `ready`."""
        if self._channel is None:
            raise ExchangeError(f"{self.peer} has not opened its end yet")
        frame = self._channel.send(message)
        self.sent = frame.number
        return frame

    def sent_before(self) -> bytes:
        """What the program sent in this place when it ran before."""
        assert self._envelopes is not None
        number = self.sent + 1
        message = self._envelopes.reopen(number, self._journal.sealed(self.peer, "sent", number))
        self.sent = number
        return message

    def receive(self) -> bytes | None:
        """The program's next message of the peer, None if it has not come."""
        number = self.received + 1
        if number <= self._restored:
            assert self._envelopes is not None
            sealed = self._journal.sealed(self.peer, "received", number)
            message: bytes | None = self._envelopes.open(number, sealed)
        else:
            message = self._inbox.popleft() if self._inbox else None
        self.received += message is not None
        return message

    def take(self, frame: Frame) -> list[tuple[int, bytes]]:
        """What has come in order now: numbers and envelopes. Raises ExchangeError as the channel does.

        A frame before the peer's opening is let go: the peer sends it again.
        """
        if self._channel is None:
            return []
        before = self._channel.handed
        self._inbox += self._channel.take(frame)
        if frame.kind == "data" and frame.number > before:
            self._arrived[frame.number] = frame.sealed
        return [(n, self._arrived.pop(n)) for n in range(before + 1, self._channel.handed + 1)]

    def confirm(self, least: int) -> list[Frame]:
        """Tells the peer what is safe here, if that is at least so many messages more.

        What the program has not taken is not confirmed, so that a peer that is faster has to wait.
        """
        safe = min(self.durable, max(self.received, self._restored))
        if self._channel is None or safe - self._told < least:
            return []
        self._told = safe
        return [self._channel.safe(safe)]
