"""A line to one's peers, as whoever runs the program of a party sees it.

A program that runs again after a crash does the same again, from its last checkpoint on. Should what it
sends differ, `send` says what was really sent, and the program goes on with that.
"""

from typing import Protocol

from fedward_shared.errors import ExchangeError


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
        """Keeps `state`, from which a program that runs again goes on, and lets go what was said."""
        ...

    def restored(self) -> bytes:
        """The state of the last checkpoint; empty if there was none."""
        ...


class PeerSilent(ExchangeError):
    """A peer has had its time; `state` is what is known of it."""

    def __init__(self, peer: str, seconds: float, state: str = "") -> None:
        known = f" ({state})" if state else ""
        super().__init__(
            f"{peer} has not answered for {seconds:g} s{known}: ask it whether its site runs"
        )
        self.state = state
