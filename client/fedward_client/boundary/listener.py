"""The trusted side's end of the socket: who is at the other end, and which call it makes."""

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from fedward_client.boundary import talk, wire
from fedward_client.boundary.wire import Answer, Frame
from fedward_client.core import Attending, Core
from fedward_shared.errors import FedwardError, RefusalCode, StateError
from fedward_shared.messages import Hello, MaskRequest, ReceiptNote, SessionDone, Sharing, stage_of

PATIENCE_SECONDS = 30.0
"""For how long a worker may take to say what it wants."""

log = structlog.get_logger()


def perform(core: Core, frame: Frame) -> Answer:
    """What `core` answers to the call in `frame`. Raises FedwardError."""
    match frame.kind:
        case "greet":
            return core.greet(Hello(frame.get("charter", str), frame.get("challenge", str)))
        case "offer":
            return core.offer(frame.get("charter", str), frame.get("receipt", bytes))
        case "mask":
            charter, request = frame.get("charter", str), frame.get("request", bytes)
            stage = stage_of(frame.get("stage", str))
            return core.mask(MaskRequest(charter, request, stage, frame.blob))
        case "reserve":
            request, adapter = frame.get("request", bytes), frame.get("adapter", str)
            return core.reserve(frame.get("charter", str), request, adapter, _sharing(frame))
        case "clear":
            booking, norms = frame.get("booking", int), frame.get("norms", str)
            return core.clear(booking, frame.blob, norms, _sharing(frame))
        case "count":
            return core.count(frame.get("charter", str), frame.get("request", bytes))
        case "tell":
            found = wire.found_of(frame.get("found", str))
            return core.tell(frame.get("booking", int), found, frame.blob)
        case "note":
            return core.note(ReceiptNote(frame.get("charter", str), frame.get("receipt", bytes)))
        case "refuse":
            code = frame.get("code", str)
            if code not in set(RefusalCode):
                raise StateError(f"refuse: {code!r} is no refusal code")
            charter, answers = frame.get("charter", str), frame.get("answers", str)
            return core.refuse(charter, answers, RefusalCode(code))
        case _:
            raise StateError(f"{frame.kind[:80]!r}: no such call")


def _sharing(frame: Frame) -> Sharing:
    return Sharing(frame.get("sharers", bytes), frame.get("envelopes", bytes))


class Listener:
    """Answers the calls of processes of the users `allowed` (numeric ids), one after the other; but for
    sessions, each of which has a thread while it is attended.

    `answered` is told of each answer before the worker gets it. The socket at `path` is made anew, open
    to the owner and, where a `group` is given, to that. Raises StateError if it cannot be made.
    """

    def __init__(
        self,
        path: Path,
        core: Core,
        answered: Callable[[Answer], None],
        allowed: frozenset[int],
        group: int | None = None,
    ) -> None:
        self._path = path
        self._core = core
        self._answered = answered
        self._allowed = allowed
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                with wire.short(path) as name:
                    self._socket.bind(name)
            finally:
                os.umask(before)
            if group is not None:
                os.chown(path, -1, group)
                path.chmod(0o660)
            self._socket.listen()
        except OSError as error:
            raise StateError(
                f"{path}: the socket cannot be made: {error.strerror or error}"
            ) from error
        self._thread = threading.Thread(target=self._serve, name="boundary", daemon=True)
        self._talks: dict[socket.socket, threading.Thread] = {}

    def start(self) -> None:
        """Begins to answer, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Answers nobody any more; a call that is under way is finished first."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for connection, talk_of in list(self._talks.items()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            talk_of.join()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            kept = False
            with _logged():
                kept = self._converse(connection)
            if not kept:
                connection.close()

    def _converse(self, connection: socket.socket) -> bool:
        """Whether the connection goes on as that of a session."""
        user = peer(connection)
        if user not in self._allowed:
            log.error("uninvited caller", socket=str(self._path), user=user)
            return False
        connection.settimeout(PATIENCE_SECONDS)
        try:
            frame = wire.receive(connection)
            if frame.kind == "attend":
                self._begin(connection, frame)
                return True
            answer = perform(self._core, frame)
        except FedwardError as error:
            self._refuse(connection, error)
            return False
        self._say(connection, answer)
        return False

    def _begin(self, connection: socket.socket, frame: Frame) -> None:
        connection.settimeout(None)
        thread = threading.Thread(
            target=self._session, args=(connection, frame), name="session", daemon=True
        )
        self._talks[connection] = thread
        thread.start()

    def _session(self, connection: socket.socket, frame: Frame) -> None:
        with _logged(), connection:
            try:
                charter, request = frame.get("charter", str), frame.get("request", bytes)
                found = self._core.attend(charter, request, frame.get("done", bytes))
            except FedwardError as error:
                self._refuse(connection, error)
            else:
                self._attended(connection, found)
        self._talks.pop(connection)

    def _attended(self, connection: socket.socket, found: Attending | SessionDone) -> None:
        if isinstance(found, SessionDone):
            self._say(connection, found)
            return
        try:
            connection.sendall(wire.encode(wire.answer_frame(found.offer)))
            done = talk.converse(connection, found)
        except FedwardError as error:
            log.error("refused", code=error.refusal.value, reason=str(error))
            return
        finally:
            found.close()
        if done is not None:
            self._say(connection, done)

    def _refuse(self, connection: socket.socket, error: FedwardError) -> None:
        log.error("refused", code=error.refusal.value, reason=str(error))
        connection.sendall(wire.encode(wire.error_frame(error)))

    def _say(self, connection: socket.socket, answer: Answer) -> None:
        self._answered(answer)
        connection.sendall(wire.encode(wire.answer_frame(answer)))


@contextmanager
def _logged() -> Iterator[None]:
    """Whatever one caller does, the next one is answered."""
    try:
        yield
    except OSError as error:
        log.warning("worker gone", reason=str(error))
    except Exception:
        log.exception("call failed")


def peer(connection: socket.socket) -> int:
    """The user id of the process at the other end, as the kernel says (SO_PEERCRED)."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _pid, user, _group = struct.unpack("3i", credentials)
    return int(user)
