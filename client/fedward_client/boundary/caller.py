"""The worker's end of the socket."""

import socket
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedward_client.core import Attending, Counting, Grant, Offer, SessionOffer
from fedward_shared.errors import RefusalCode, StateError
from fedward_shared.messages import (
    UNSHARED,
    Counted,
    Hello,
    MaskAnswer,
    MaskRequest,
    Noted,
    ReceiptNote,
    Refusal,
    SessionDone,
    Sharing,
    Update,
    Welcome,
)
from fedward_shared.statistics.tally import Found

PATIENCE_SECONDS = 600.0
"""For how long an answer is waited for: composing a long ledger for the first time takes its time."""


class Caller:
    """The `core.Core` behind the socket `path`. Each call raises StateError if nobody answers there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        """Nothing is open between two calls."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to close."""

    def greet(self, hello: Hello) -> Welcome:
        """As `Core` says."""
        answer: Welcome = self._call(
            Welcome, "greet", charter=hello.charter, challenge=hello.challenge
        )
        return answer

    def offer(self, charter: str, receipt: bytes) -> Offer:
        """As `Core` says."""
        answer: Offer = self._call(Offer, "offer", charter=charter, receipt=receipt)
        return answer

    def mask(self, asked: MaskRequest) -> MaskAnswer:
        """As `Core` says."""
        answer: MaskAnswer = self._call(
            MaskAnswer,
            "mask",
            asked.parcel,
            charter=asked.charter,
            request=asked.request,
            stage=asked.stage,
        )
        return answer

    def reserve(
        self, charter: str, request: bytes, adapter: str, sharing: Sharing = UNSHARED
    ) -> Grant | Update:
        """As `Core` says."""
        answer: Grant | Update = self._call(
            (Grant, Update),
            "reserve",
            charter=charter,
            request=request,
            adapter=adapter,
            **asdict(sharing),
        )
        return answer

    def clear(
        self, booking: int, update: bytes, norms: str = "", sharing: Sharing = UNSHARED
    ) -> Update:
        """As `Core` says."""
        answer: Update = self._call(
            Update, "clear", update, booking=booking, norms=norms, **asdict(sharing)
        )
        return answer

    def attend(self, charter: str, request: bytes, done: bytes = b"") -> Attending | SessionDone:
        """As `Core` says; there is no knowing how long another one attends the session."""
        from fedward_client.boundary import talk, wire

        connection = socket.socket(socket.AF_UNIX)
        try:
            with wire.short(self._path) as name:
                connection.connect(name)
            fields: dict[str, wire.Value] = {"charter": charter, "request": request, "done": done}
            connection.sendall(wire.encode(wire.Frame("attend", fields)))
            answer = wire.answer_of(wire.receive(connection))
        except OSError as error:
            connection.close()
            raise StateError(f"{self._path}: the site's daemon does not answer: {error}") from error
        except BaseException:
            connection.close()
            raise
        if isinstance(answer, SessionOffer):
            return talk.DistantSession(connection, answer)
        connection.close()
        if not isinstance(answer, SessionDone):
            raise StateError(f"{self._path}: {type(answer).__name__} is no answer to attend")
        return answer

    def count(self, charter: str, request: bytes) -> Counting | Counted:
        """As `Core` says."""
        answer: Counting | Counted = self._call(
            (Counting, Counted), "count", charter=charter, request=request
        )
        return answer

    def tell(self, booking: int, found: tuple[Found, ...], counts: bytes) -> Counted:
        """As `Core` says."""
        answer: Counted = self._call(
            Counted, "tell", counts, booking=booking, found=" ".join(found)
        )
        return answer

    def note(self, note: ReceiptNote) -> Noted:
        """As `Core` says."""
        answer: Noted = self._call(Noted, "note", charter=note.charter, receipt=note.receipt)
        return answer

    def refuse(self, charter: str, answers: str, code: RefusalCode) -> Refusal:
        """As `Core` says."""
        answer: Refusal = self._call(
            Refusal, "refuse", charter=charter, answers=answers, code=code.value
        )
        return answer

    def _call(self, kind: Any, name: str, blob: bytes = b"", **fields: str | int | bytes) -> Any:
        from fedward_client.boundary import (
            wire,  # what it needs of a charter takes a second to load
        )

        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE_SECONDS)
                with wire.short(self._path) as name_of_socket:
                    connection.connect(name_of_socket)
                connection.sendall(wire.encode(wire.Frame(name, fields, blob)))
                answer = wire.answer_of(wire.receive(connection))
        except OSError as error:
            raise StateError(f"{self._path}: the site's daemon does not answer: {error}") from error
        if not isinstance(answer, kind):
            raise StateError(f"{self._path}: {type(answer).__name__} is no answer to {name}")
        return answer
