"""What a party does in a session, without I/O: a generator of what it sends, waits for and books.

    body = yield Send("bureau", "labels", body)     gives the body that was sent
    body = yield Receive("bureau", "cells")         gives the body that came
    yield Book(event)                               returns once the ledger has it
    yield Checkpoint(state)                         returns once that is kept

Whoever runs it does what it yields, with queues between all parties in a simulation (`together`), over a
line of the exchange at a site (`over`). A program that is run again from its start or from a checkpoint,
with what was sent and what came since, comes to where it was. It books again what it had booked.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.line import Line
from fedward_shared.privacy.plan import Event

Kind = Literal[
    "sizes",
    "points",
    "doubled",
    "places",
    "labels",
    "cells",
    "embeddings",
    "gradients",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
PART_BYTES = 2**20
"""What a message carries of a longer body."""


@dataclass(frozen=True)
class Send:
    """A message to a peer."""

    peer: str
    kind: Kind
    body: bytes


@dataclass(frozen=True)
class Receive:
    """The next message of a peer, which has to be of that kind."""

    peer: str
    kind: Kind


@dataclass(frozen=True)
class Book:
    """What is going to be done to the party's records, before it is done."""

    event: Event


@dataclass(frozen=True)
class Checkpoint:
    """All that what follows depends on, but for the bookings."""

    state: bytes


Action = Send | Receive | Book | Checkpoint
Program = Generator[Action, bytes, Any]


def encode(kind: Kind, body: bytes) -> bytes:
    """A message: its kind in one byte, and the body."""
    return KINDS.index(kind).to_bytes() + body


def decode(message: bytes, kind: Kind, peer: str) -> bytes:
    """The body of a message. Raises ExchangeError for one of another kind."""
    found = message[0] if message else len(KINDS)
    if found >= len(KINDS) or KINDS[found] != kind:
        said = KINDS[found] if found < len(KINDS) else "nothing known"
        raise ExchangeError(
            f"{peer} has sent {said} where {kind} are due: it runs another protocol"
        )
    return message[1:]


def send(peer: str, kind: Kind, body: bytes) -> Generator[Action, bytes, bytes]:
    """Sends a body of any length, in parts."""
    parts = []
    for at in range(0, max(1, len(body)), PART_BYTES):
        part = yield Send(peer, kind, body[at : at + PART_BYTES])
        parts.append(part)
    return b"".join(parts)


def receive(peer: str, kind: Kind, size: int) -> Generator[Action, bytes, bytes]:
    """The body of `size` bytes that `send` has sent. Raises ExchangeError for one of another length."""
    came = bytearray()
    for at in range(0, max(1, size), PART_BYTES):
        due = min(PART_BYTES, size - at)
        part = yield Receive(peer, kind)
        if len(part) != due:
            raise ExchangeError(
                f"{peer} has sent {at + len(part)} bytes of {kind} where {at + due} are due"
            )
        came += part
    return bytes(came)


Booked = Callable[[str, Event], None]
"""Called with the party and what it books; raises FedwardError where it may not."""
Passed = Callable[[str, Send], None]
"""Called with the party and what it sends."""


def together(
    programs: Mapping[str, Program], booked: Booked, passed: Passed = lambda *_: None
) -> dict[str, Any]:
    """Runs the programs of all parties in turn, with a queue from each to each; what each returns.

    Raises ExchangeError where all that go on wait for each other.
    """
    queues: defaultdict[tuple[str, str], deque[bytes]] = defaultdict(deque)
    results: dict[str, Any] = {}
    waiting: dict[str, Action] = {}

    def answered(name: str, action: Action) -> bytes | None:
        """What the program of `name` is to have for its action; None while it has to wait."""
        if isinstance(action, Book):
            booked(name, action.event)
            return b""
        if isinstance(action, Checkpoint):
            return b""
        if isinstance(action, Send):
            passed(name, action)
            queues[name, action.peer].append(encode(action.kind, action.body))
            return action.body
        queue = queues[action.peer, name]
        return decode(queue.popleft(), action.kind, action.peer) if queue else None

    for name, program in programs.items():
        _advance(name, program, None, waiting, results)
    while waiting:
        before = dict(waiting)
        for name in before:
            while name in waiting and (answer := answered(name, waiting[name])) is not None:
                _advance(name, programs[name], answer, waiting, results)
        if all(waiting.get(name) is action for name, action in before.items()):
            raise ExchangeError(f"{', '.join(waiting)} wait for each other")
    return results


def over(program: Program, line: Line, booked: Callable[[int, Event], None], timeout: float) -> Any:
    """Runs a program over a line to its peers, each of which has `timeout` seconds for a message.

    `booked` is called with the number of the booking and what is booked; a program that is run again
    books the same again, under the same number. Raises what the program, the line and `booked` raise.
    """
    bookings = 0
    try:
        action = next(program)
        while True:
            if isinstance(action, Receive):
                message = line.receive(action.peer, timeout)
                answer = decode(message, action.kind, action.peer)
            elif isinstance(action, Send):
                sent = line.send(action.peer, encode(action.kind, action.body))
                answer = decode(sent, action.kind, "this party")
            elif isinstance(action, Checkpoint):
                line.checkpoint(action.state)
                answer = b""
            else:
                bookings += 1
                booked(bookings, action.event)
                answer = b""
            action = program.send(answer)
    except StopIteration as end:
        return end.value


def _advance(
    name: str,
    program: Program,
    answer: bytes | None,
    waiting: dict[str, Action],
    results: dict[str, Any],
) -> None:
    """Lets a program go on to its next action, or its end."""
    waiting.pop(name, None)
    try:
        waiting[name] = next(program) if answer is None else program.send(answer)
    except StopIteration as end:
        results[name] = end.value
