"""A party of a session: hops in, hops out, and what has to be on disk in between.

A state machine without I/O, but for what it reads of the journal. All that happens is put into a batch:
what the journal has to get, and the hops that may go out when it has it. `drain` gives the batch,
`written` is told that it is safe. The one rule of the exchange is in that order: an envelope is on disk
before it goes out, and one that came is on disk before it is confirmed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedward_client.exchange.end import CONFIRM_AFTER, End
from fedward_client.exchange.journal import Checkpoint, Confirmed, Entry, Journal, Opened, Said
from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.channel import Frame
from fedward_shared.exchange.envelopes import Attendance, Opening
from fedward_shared.exchange.hops import Hop, Refusal
from fedward_shared.identity import PublicKey, SigningKey


@dataclass(frozen=True)
class Seat:
    """Which session of which charter, who this site is in it, and its peers with their keys."""

    charter: str
    session: str
    site: str
    key: SigningKey
    peers: Mapping[str, PublicKey]

    def attendance(self, challenge: bytes) -> bytes:
        """The answer to the relay's challenge, signed."""
        return Attendance(
            charter=self.charter, site=self.site, session=self.session, challenge=challenge.hex()
        ).signed(self.key)


@dataclass
class Batch:
    """`entries` have to be on disk before any of `hops` goes out."""

    entries: list[Entry] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)


class Party:
    """A site's part in a session, as far as `journal` knows it. Raises StateError."""

    def __init__(self, seat: Seat, journal: Journal) -> None:
        self.seat = seat
        self._journal = journal
        self._batch = Batch()
        self._ends = {name: self._end(name) for name in sorted(seat.peers)}

    def _end(self, name: str) -> End:
        seat, kept = self.seat, self._journal.peer(name)
        own = Opening(
            charter=seat.charter,
            site=seat.site,
            session=seat.session,
            peer=name,
            key=kept.key.public_key().public_bytes_raw().hex(),
        )
        return End(own, own.signed(seat.key), seat.peers[name], kept, self._journal)

    @property
    def due(self) -> bool:
        """Whether there is a batch that should not wait for the next `tick`."""
        return bool(self._batch.hops) or len(self._batch.entries) >= CONFIRM_AFTER

    def idle(self, gone: frozenset[str] = frozenset()) -> bool:
        """Whether the peers have confirmed all, but for those who are `gone`."""
        return all(end.idle for name, end in self._ends.items() if name not in gone)

    @property
    def settled(self) -> bool:
        """Whether the peers have been told of all that the program has of them."""
        return all(end.settled for end in self._ends.values())

    def drain(self) -> Batch:
        """What happened since the last time. Batches are written and go out in this order."""
        batch, self._batch = self._batch, Batch()
        return batch

    def written(self, batch: Batch) -> None:
        """The entries of a batch are on disk."""
        for entry in batch.entries:
            if isinstance(entry, Said) and entry.direction == "received":
                self._ends[entry.peer].durable = entry.number
        self._confirm(CONFIRM_AFTER)

    def tick(self) -> None:
        """Call it a few times a second: confirms what has waited for company."""
        self._confirm(1)

    def disconnected(self) -> None:
        """Nothing goes out until there is a connection again, and then what is unconfirmed does."""
        self._batch.hops.clear()
        for end in self._ends.values():
            end.here = False

    def take(self, hop: Hop) -> None:
        """What comes from the relay.

        Raises ExchangeError for a refusal after which no other connection helps, for what no peer of
        this session can have sent, and for a peer that has lost what it had of the session.
        """
        match hop.kind:
            case "challenge":
                answer = self.seat.attendance(hop.payload)
                self._batch.hops.append(Hop("attendance", payload=answer))
            case "here" | "gone" | "opening" | "frame" if hop.peer not in self._ends:
                pass  # another party of the session, with whom this one has nothing to talk about
            case "here":
                self._here(self._known(hop.peer))
            case "gone":
                self._known(hop.peer).here = False
            case "opening":
                if self._known(hop.peer).open(hop.payload):
                    self._batch.entries.append(Opened(hop.peer, hop.payload))
            case "frame":
                self._frame(self._known(hop.peer), Frame.decode(hop.payload))
            case "refused":
                self._refused(hop)

    def ready(self, peer: str) -> bool:
        """Whether the program may send to `peer` now."""
        return self._known(peer).ready

    def send(self, peer: str, message: bytes) -> bytes:
        """The program's next message; what was sent in its place, if it was sent before.

        Raises ExchangeError unless `ready`, and for a message that is too long.
        """
        end = self._known(peer)
        if end.repeats:
            return end.sent_before()
        frame = end.send(message)
        self._batch.entries.append(Said(peer, "sent", frame.number, frame.sealed))
        self._out(end, frame)
        return message

    def receive(self, peer: str) -> bytes | None:
        """The program's next message of `peer`, None if it has not come."""
        return self._known(peer).receive()

    def checkpoint(self, state: bytes) -> None:
        """From here the program goes on with `state`, once the batch is written."""
        for name, end in self._ends.items():
            self._batch.entries.append(Confirmed(name, end.confirmed))
        reached = {name: (end.sent, end.received) for name, end in self._ends.items()}
        self._batch.entries.append(Checkpoint(state, reached))

    def done(self) -> None:
        """This site has nothing more to do in the session: the others need not wait for it."""
        self._batch.hops.append(Hop("done"))

    def whereabouts(self, peer: str) -> str:
        """What this party knows of `peer`, in words."""
        end = self._known(peer)
        if end.here:
            return "it is connected"
        return "it is not connected" if end.is_open else "it has never been connected"

    def _known(self, peer: str) -> End:
        if peer not in self._ends:
            raise ExchangeError(f"{peer} is no peer of {self.seat.site} in this session")
        return self._ends[peer]

    def _here(self, end: End) -> None:
        end.here = True
        self._batch.hops.append(Hop("opening", end.peer, end.signed))
        self._out(end, *end.resume())

    def _frame(self, end: End, frame: Frame) -> None:
        confirmed = end.confirmed
        for number, sealed in end.take(frame):
            self._batch.entries.append(Said(end.peer, "received", number, sealed))
        if end.confirmed > confirmed:
            self._batch.entries.append(Confirmed(end.peer, end.confirmed))

    def _confirm(self, least: int) -> None:
        for end in self._ends.values():
            self._out(end, *end.confirm(least))

    def _out(self, end: End, *frames: Frame) -> None:
        """Where the peer is away nothing goes out; it will be told all when it is there."""
        if end.here:
            self._batch.hops += [Hop("frame", end.peer, frame.encode()) for frame in frames]

    def _refused(self, hop: Hop) -> None:
        if hop.why is Refusal.SILENT and not hop.peer:
            return
        who = f"{hop.peer}: " if hop.peer else ""
        raise ExchangeError(
            f"session {self.seat.session[:16]}: the coordinator ended it: {who}{hop.why.words}"
        )
