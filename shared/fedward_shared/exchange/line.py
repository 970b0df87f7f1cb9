"""A line to one's peers, as the program of a party sees it; and lines within one process.

A program that runs again after a crash starts from its last checkpoint and does the same again. Where
it draws noise, what it sends would differ; so `send` says what was really sent, and the program goes on
with that.
"""

import threading
from collections import deque
from typing import Protocol

from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.channel import WINDOW
from fedward_shared.exchange.envelopes import MAX_MESSAGE


class Line(Protocol):
    """What a party has of a session. Calls block; an ExchangeError of any of them is final."""

    def send(self, peer: str, message: bytes) -> bytes:
        """Sends the next message to `peer`, and says what was sent: another one, if it had been already.

        A message has at most MAX_MESSAGE bytes. Waits while the peer has not taken `WINDOW` messages.
        """
        ...

    def receive(self, peer: str, timeout: float) -> bytes:
        """The next message of `peer`, which has `timeout` seconds to send it."""
        ...

    def checkpoint(self, state: bytes) -> None:
        """From now on the program starts here again, with `state`, whatever happens."""
        ...

    def restored(self) -> bytes | None:
        """The state of the last checkpoint; None where the program starts from its beginning."""
        ...


class _Wire:
    """The messages that one party has sent another, which it has not received."""

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()
        self.changed = threading.Condition()


class Local:
    """A line between threads of one process. It seals nothing, and what it keeps ends with it."""

    def __init__(self, site: str, wires: dict[tuple[str, str], _Wire], patience: float) -> None:
        self.site = site
        self._wires = wires
        self._patience = patience
        self._state: bytes | None = None

    def send(self, peer: str, message: bytes) -> bytes:
        """As `Line` says; raises ExchangeError for a peer that takes nothing for `patience` seconds."""
        if len(message) > MAX_MESSAGE:
            raise ExchangeError(f"a message of {len(message)} bytes; the most is {MAX_MESSAGE}")
        wire = self._wire(self.site, peer)
        with wire.changed:
            if not wire.changed.wait_for(lambda: len(wire.messages) < WINDOW, self._patience):
                raise silent(peer, self._patience)
            wire.messages.append(message)
            wire.changed.notify_all()
        return message

    def receive(self, peer: str, timeout: float) -> bytes:
        """As `Line` says."""
        wire = self._wire(peer, self.site)
        with wire.changed:
            if not wire.changed.wait_for(lambda: bool(wire.messages), timeout):
                raise silent(peer, timeout)
            wire.changed.notify_all()
            return wire.messages.popleft()

    def checkpoint(self, state: bytes) -> None:
        """As `Line` says, while this object lives."""
        self._state = state

    def restored(self) -> bytes | None:
        """As `Line` says."""
        return self._state

    def _wire(self, sender: str, receiver: str) -> _Wire:
        if (sender, receiver) not in self._wires:
            other = receiver if sender == self.site else sender
            raise ExchangeError(f"{other} is no peer of {self.site} in this session")
        return self._wires[sender, receiver]


def local(*sites: str, patience: float = 60.0) -> dict[str, Local]:
    """A line for each of `sites`, to all others."""
    wires = {(a, b): _Wire() for a in sites for b in sites if a != b}
    return {site: Local(site, wires, patience) for site in sites}


def silent(peer: str, seconds: float, state: str = "") -> ExchangeError:
    """What is raised about a peer that has had its time."""
    known = f" ({state})" if state else ""
    return ExchangeError(
        f"{peer} has not answered for {seconds:g} s{known}: ask it whether its site runs"
    )
