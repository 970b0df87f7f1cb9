"""A session across the socket: calls and answers in turn, on one connection.

    attend → SessionOffer, or SessionDone        then, as often as it takes:
    say → Message       hear → Message, or Silent       checkpoint → Message
    book → Message      restored → Message              finish → SessionDone

The connection is the seat: when it ends, for whatever reason, the site has left the session.
"""

import socket
import time

from fedward_client.boundary import wire
from fedward_client.boundary.wire import Frame
from fedward_client.core import Attending, Outcome, SessionOffer
from fedward_shared.errors import FedwardError, StateError
from fedward_shared.exchange.line import PeerSilent
from fedward_shared.messages import SessionDone
from fedward_shared.privacy.plan import Event

LISTENING_SECONDS = 2.0
"""For how long the trusted side waits for a peer's message before it looks for the worker again."""


class DistantSession:
    """The worker's side: `core.Attending`, answered at the other end of `connection`."""

    def __init__(self, connection: socket.socket, offer: SessionOffer) -> None:
        self.offer = offer
        self._connection = connection

    def send(self, peer: str, message: bytes) -> bytes:
        """As `Line` says."""
        return self._call(Frame("say", {"peer": peer}, message)).blob

    def receive(self, peer: str, timeout: float) -> bytes:
        """As `Line` says. The trusted side is asked time and again: so it notices that a worker ends."""
        until = time.monotonic() + timeout
        while True:
            answer = self._call(Frame("hear", {"peer": peer}), "Message", "Silent")
            if answer.kind == "Message":
                return answer.blob
            if time.monotonic() >= until:
                raise PeerSilent(peer, timeout, answer.get("state", str))

    def checkpoint(self, state: bytes) -> None:
        """As `Line` says."""
        self._call(Frame("checkpoint", {}, state))

    def restored(self) -> bytes:
        """As `Line` says."""
        return self._call(Frame("restored")).blob

    def book(self, number: int, event: Event) -> None:
        """As `Attending` says."""
        self._call(Frame("book", {"number": number, "event": event.as_text()}))

    def finish(self, outcome: Outcome) -> SessionDone:
        """As `Attending` says."""
        fields: dict[str, wire.Value] = {"result": outcome.result}
        answer = self._answer(Frame("finish", fields, outcome.model))
        done = wire.answer_of(answer)
        if not isinstance(done, SessionDone):
            raise StateError(f"{answer.kind} is no answer to finish")
        return done

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def _call(self, frame: Frame, *kinds: str) -> Frame:
        answer = self._answer(frame)
        if answer.kind == "Error":
            wire.answer_of(answer)
        if answer.kind not in (kinds or ("Message",)):
            raise StateError(f"{answer.kind} is no answer to {frame.kind}")
        return answer

    def _answer(self, frame: Frame) -> Frame:
        try:
            self._connection.sendall(wire.encode(frame))
            return wire.receive(self._connection)
        except OSError as error:
            raise StateError(f"the site's daemon has gone: {error}") from error


def converse(connection: socket.socket, session: Attending) -> SessionDone | None:
    """The trusted side, until the session is done, or the worker has gone. What it is done with is the
    last thing to be said, and for the caller to say."""
    while True:
        try:
            frame = wire.receive(connection)
        except StateError:
            return None  # the worker has gone
        try:
            answer = _perform(session, frame)
        except FedwardError as error:
            connection.sendall(wire.encode(wire.error_frame(error)))
            raise
        if isinstance(answer, SessionDone):
            return answer
        connection.sendall(wire.encode(answer))


def _perform(session: Attending, frame: Frame) -> Frame | SessionDone:
    get = frame.get
    match frame.kind:
        case "say":
            return Frame("Message", {}, session.send(get("peer", str), frame.blob))
        case "hear":
            return _heard(session, get("peer", str))
        case "checkpoint":
            session.checkpoint(frame.blob)
            return Frame("Message")
        case "restored":
            return Frame("Message", {}, session.restored())
        case "book":
            session.book(get("number", int), Event.from_text(get("event", str)))
            return Frame("Message")
        case "finish":
            return session.finish(Outcome(frame.blob, get("result", bytes)))
        case _:
            raise StateError(f"{frame.kind[:80]!r}: no such call in a session")


def _heard(session: Attending, peer: str) -> Frame:
    try:
        return Frame("Message", {}, session.receive(peer, LISTENING_SECONDS))
    except PeerSilent as silent:
        return Frame("Silent", {"state": silent.state})
