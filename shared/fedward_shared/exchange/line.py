"""A line to one's peers, as whoever runs the program of a party sees it.

A program that runs again after a crash starts from its last checkpoint and does the same again. Where
it draws noise, what it sends would differ; so `send` says what was really sent, and the program goes on
with that.
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
        """From now on the program starts here again, with `state`, whatever happens."""
        ...

    def restored(self) -> bytes | None:
        """The state of the last checkpoint; None where the program starts from its beginning."""
        ...


def silent(peer: str, seconds: float, state: str = "") -> ExchangeError:
    """What is raised about a peer that has had its time."""
    known = f" ({state})" if state else ""
    return ExchangeError(
        f"{peer} has not answered for {seconds:g} s{known}: ask it whether its site runs"
    )
