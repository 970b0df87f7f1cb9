"""The line of a session to its peers, as a site's program calls it: `fedward_shared.exchange.line.Line`.

The program's thread calls and waits here; the connection's thread takes what comes, and writes to the
journal whatever is to go out, in groups.
"""

import threading
from collections.abc import Callable

from fedward_client.exchange.journal import Journal
from fedward_client.exchange.party import Batch, Party, Seat
from fedward_shared.errors import ExchangeError, FedwardError
from fedward_shared.exchange.hops import Hop
from fedward_shared.exchange.line import PeerSilent

PATIENCE_SECONDS = 600.0


class SiteLine:
    """A line over `journal`; `patience`: seconds a peer has to take what is sent to it.

    `wake` is called when there is something to write.
    """

    def __init__(self, seat: Seat, journal: Journal, patience: float = PATIENCE_SECONDS) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._party = Party(seat, journal)
        self._journal = journal
        self._patience = patience
        self._changed = threading.Condition()
        self._failure: FedwardError | None = None
        self._problem = "no connection to the coordinator yet"
        self._checkpoints = self._kept = 0

    # The program's side.

    def send(self, peer: str, message: bytes) -> bytes:
        """As `Line` says."""
        with self._changed:
            self._wait(peer, lambda: self._party.ready(peer), self._patience)
            sent = self._party.send(peer, message)
        self.wake()
        return sent

    def receive(self, peer: str, timeout: float) -> bytes:
        """As `Line` says."""
        found: list[bytes] = []

        def came() -> bool:
            message = self._party.receive(peer)
            if message is not None:
                found.append(message)
            return message is not None

        with self._changed:
            self._wait(peer, came, timeout)
        return found[0]

    def checkpoint(self, state: bytes) -> None:
        """As `Line` says: it is on disk when this returns."""
        with self._changed:
            self._check()
            self._party.checkpoint(state)
            self._checkpoints += 1
            number = self._checkpoints
        self.wake()
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._kept >= number)
            self._check()

    def restored(self) -> bytes:
        """As `Line` says."""
        return self._journal.state

    def finish(self, timeout: float, gone: frozenset[str] = frozenset()) -> None:
        """Back when the peers have confirmed all, whatever has become of the line since, and have been
        told that all of theirs is here; but for those who are `gone`, as they are done.

        Raises ExchangeError if they do not in that time.
        """

        def idle() -> bool:
            return self._party.idle(gone)

        with self._changed:
            self._changed.wait_for(
                lambda: self._failure or (idle() and self._party.settled), timeout
            )
            if not idle():
                self._check()
                raise ExchangeError(f"not every peer has confirmed all within {timeout:g} s")
            self._party.done()
        self.wake()

    # The connection's side.

    def take(self, hop: Hop) -> None:
        """A hop from the relay; whatever is wrong with it ends the line."""
        with self._changed:
            self._problem = ""
            try:
                self._party.take(hop)
            except FedwardError as error:
                self._failure = error
            self._changed.notify_all()
            due = self._party.due
        if due:
            self.wake()

    def flush(self) -> list[Hop]:
        """Writes what has happened to the journal; the hops that may go out now."""
        with self._changed:
            batch, checkpoints = self._party.drain(), self._checkpoints
        if batch.entries:
            self._write(batch, checkpoints)
        return batch.hops if self.failure is None else []

    def tick(self) -> None:
        """Call it a few times a second."""
        with self._changed:
            self._party.tick()
            self._changed.notify_all()

    def disconnected(self, problem: str) -> None:
        """There is no connection, for that reason."""
        with self._changed:
            self._party.disconnected()
            self._problem = problem

    @property
    def failure(self) -> FedwardError | None:
        """What has ended the line."""
        return self._failure

    def fail(self, error: FedwardError) -> None:
        """Ends the line: every call raises `error`."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _write(self, batch: Batch, checkpoints: int) -> None:
        try:
            self._journal.write(batch.entries)
        except FedwardError as error:
            self.fail(error)
            return
        with self._changed:
            self._party.written(batch)
            self._kept = checkpoints
            self._changed.notify_all()

    def _wait(self, peer: str, ready: Callable[[], bool], seconds: float) -> None:
        self._check()
        if self._changed.wait_for(lambda: self._failure is not None or ready(), seconds):
            self._check()
            return
        raise PeerSilent(peer, seconds, self._problem or self._party.whereabouts(peer))

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
