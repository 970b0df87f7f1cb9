"""What crosses the socket between worker and trusted side: one call, one answer, a connection for each.

A session has one for as long as it is attended, with many calls (`talk.py`).

A frame is a length, canonical JSON of that length, a length, and that many bytes of tensors. The JSON
has the kind and the fields; a field of bytes is base64 under the key `bytes`. Both lengths are bounded
before anything is read.
"""

import base64
import binascii
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedward_client.core import Counting, Grant, Offer, SessionOffer
from fedward_shared import agreement, canonical, charter
from fedward_shared.assurances import purpose_of
from fedward_shared.errors import FedwardError, RefusalCode, StateError
from fedward_shared.messages import (
    Counted,
    MaskAnswer,
    Noted,
    Refusal,
    SessionDone,
    Update,
    Welcome,
    stage_of,
)
from fedward_shared.records import LeftOut
from fedward_shared.sessions import CHARTERS
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.tally import FOUND, Found

MAX_HEADER = 64 * 2**20
"""With room for a long list of people whose records are left out."""

MAX_BLOB = 2**32
Value = str | int | bytes
Answer = (
    Welcome
    | Update
    | MaskAnswer
    | Refusal
    | Noted
    | SessionDone
    | Offer
    | Grant
    | Counting
    | Counted
)
Opened = SessionOffer | SessionDone
"""What the call to attend a session is answered with."""


@dataclass(frozen=True)
class Frame:
    """A call or an answer."""

    kind: str
    fields: Mapping[str, Value] = field(default_factory=dict)
    blob: bytes = b""

    def get(self, name: str, kind: type) -> Any:
        """The field `name`. Raises StateError if it is missing or of another kind."""
        value = self.fields.get(name)
        if type(value) is not kind:
            raise StateError(f"{self.kind}: {name} is missing or no {kind.__name__}")
        return value


class RefusedByCore(FedwardError):
    """The trusted side will not; its own log says why."""

    def __init__(self, code: RefusalCode) -> None:
        super().__init__(f"the site says {code.value}; the daemon's log says why")
        self.refusal = code


@contextmanager
def short(path: Path) -> Iterator[str]:
    """A name of `path` for bind and connect, which take 107 bytes, however deep its folder lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def encode(frame: Frame) -> bytes:
    """The bytes of `frame`."""
    fields = {
        name: {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in frame.fields.items()
    }
    header = canonical.encode({"kind": frame.kind, "fields": fields})
    sizes = len(header).to_bytes(4, "big"), len(frame.blob).to_bytes(8, "big")
    return sizes[0] + header + sizes[1] + frame.blob


def receive(connection: socket.socket) -> Frame:
    """The next frame. Raises StateError for anything else, and OSError as sockets do."""
    header = _exactly(connection, _length(connection, 4, MAX_HEADER))
    kind, fields = parse(header)
    blob = _exactly(connection, _length(connection, 8, MAX_BLOB))
    return Frame(kind, fields, blob)


def parse(header: bytes) -> tuple[str, dict[str, Value]]:
    """Kind and fields of the JSON. Raises StateError."""
    try:
        content = canonical.decode(header)
        kind, fields = content["kind"], content["fields"]
        found = {name: _value(value) for name, value in fields.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StateError("not a frame of the site's own socket") from error
    if type(kind) is not str:
        raise StateError("not a frame of the site's own socket")
    return kind, found


def _value(value: object) -> Value:
    if type(value) is str or type(value) is int:
        return value
    if isinstance(value, dict) and value.keys() == {"bytes"}:
        try:
            return base64.b64decode(value["bytes"], validate=True)
        except binascii.Error as error:
            raise ValueError("no base64") from error
    raise ValueError("a field is no text, number or bytes")


def _length(connection: socket.socket, size: int, limit: int) -> int:
    length = int.from_bytes(_exactly(connection, size), "big")
    if length > limit:
        raise StateError(f"a frame of {length} bytes, more than {limit}")
    return length


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 2**20))
        if not part:
            raise StateError("the other side of the site's socket has gone")
        data += part
    return bytes(data)


# Answers

_PLAIN: dict[str, type[Welcome | Refusal | Noted | Grant | SessionDone | Counted]] = {
    kind.__name__: kind for kind in (Welcome, Refusal, Noted, Grant, SessionDone, Counted)
}


def answer_frame(answer: Answer | SessionOffer) -> Frame:
    """The frame of an answer."""
    match answer:
        case Update():
            kind = "Masked" if answer.masked else "Update"
            return Frame(kind, {"site": answer.site, "delivery": answer.delivery}, answer.update)
        case MaskAnswer():
            fields = {"site": answer.site, "stage": answer.stage}
            return Frame("MaskAnswer", fields, answer.parcel)
        case Offer():
            return Frame("Offer", _offer_fields(answer), answer.initial)
        case SessionOffer():
            return Frame("SessionOffer", _session_fields(answer), answer.model)
        case Counting():
            return Frame("Counting", _counting_fields(answer))
        case _:
            return Frame(type(answer).__name__, asdict(answer))


def error_frame(error: FedwardError) -> Frame:
    """What the worker is told of an error: its fixed word."""
    return Frame("Error", {"code": error.refusal.value})


def answer_of(frame: Frame) -> Answer | SessionOffer:
    """The answer in a frame. Raises RefusedByCore, or StateError for a frame that is none."""
    try:
        match frame.kind:
            case "Error":
                raise RefusedByCore(RefusalCode(frame.get("code", str)))
            case "Update" | "Masked" as kind:
                site, delivery = frame.get("site", str), frame.get("delivery", bytes)
                return Update(site, delivery, frame.blob, masked=kind == "Masked")
            case "MaskAnswer":
                stage = stage_of(frame.get("stage", str))
                return MaskAnswer(frame.get("site", str), stage, frame.blob)
            case "Offer":
                return _offer(frame)
            case "SessionOffer":
                return _session_offer(frame)
            case "Counting":
                return _counting(frame)
            case "Refusal":
                code = RefusalCode(frame.get("code", str))
                return Refusal(frame.get("site", str), code, frame.get("objection", bytes))
            case kind:
                return _PLAIN[kind](**frame.fields)  # type: ignore[arg-type]  # our own daemon's
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{frame.kind}: not an answer of the site's own socket") from error


def _offer_fields(offer: Offer) -> dict[str, Value]:
    return {
        "site": offer.site,
        "charter": canonical.encode(offer.charter.body).decode(),
        "base_model": str(offer.base_model),
        "data": str(offer.data),
        "owner": offer.owner or "",
        "left_out": _left_out_text(offer.left_out),
        "columns": canonical.encode(dict(offer.columns)).decode(),
        "threads": offer.threads,
        "cache": str(offer.cache or ""),
    }


def _session_fields(offer: SessionOffer) -> dict[str, Value]:
    return {
        "site": offer.site,
        "kind": offer.charter.KIND,
        "charter": canonical.encode(offer.charter.body).decode(),
        "session": offer.session,
        "secret": offer.secret,
        "data": str(offer.data),
        "file": offer.file,
        "compared": canonical.encode(list(offer.compared)).decode(),
        "left_out": _left_out_text(offer.left_out),
        "base_models": canonical.encode([str(folder) for folder in offer.base_models]).decode(),
        "threads": offer.threads,
        "purpose": offer.purpose,
        "query": offer.query,
    }


def _session_offer(frame: Frame) -> SessionOffer:
    charter_text, kind = frame.get("charter", str).encode(), CHARTERS[frame.get("kind", str)]
    return SessionOffer(
        site=frame.get("site", str),
        charter=agreement.parse(canonical.decode(charter_text), kind, "the offer"),
        session=frame.get("session", str),
        secret=frame.get("secret", bytes),
        data=Path(frame.get("data", str)),
        file=frame.get("file", str),
        compared=tuple(canonical.decode(frame.get("compared", str).encode())),
        left_out=_left_out(frame.get("left_out", str)),
        base_models=tuple(map(Path, canonical.decode(frame.get("base_models", str).encode()))),
        threads=frame.get("threads", int),
        purpose=purpose_of(frame.get("purpose", str)),
        model=frame.blob,
        query=frame.get("query", bytes),
    )


def _counting_fields(asked: Counting) -> dict[str, Value]:
    return {
        "booking": asked.booking,
        "site": asked.site,
        "charter": canonical.encode(asked.charter.body).decode(),
        "data": str(asked.data),
        "file": asked.file,
        "owner": asked.owner or "",
        "left_out": _left_out_text(asked.left_out),
        "columns": canonical.encode(dict(asked.columns)).decode(),
    }


def _counting(frame: Frame) -> Counting:
    charter_text = frame.get("charter", str).encode()
    return Counting(
        booking=frame.get("booking", int),
        site=frame.get("site", str),
        charter=agreement.parse(canonical.decode(charter_text), StatisticsCharter, "the offer"),
        data=Path(frame.get("data", str)),
        file=frame.get("file", str),
        owner=frame.get("owner", str) or None,
        left_out=_left_out(frame.get("left_out", str)),
        columns=canonical.decode(frame.get("columns", str).encode()),
    )


def found_of(text: str) -> tuple[Found, ...]:
    """What a worker says of the columns. Raises StateError for other words than those there are."""
    words: dict[str, Found] = {word: word for word in FOUND}
    try:
        return tuple(words[word] for word in text.split(" "))
    except KeyError as error:
        raise StateError("tell: an unknown word for a column") from error


def _left_out_text(left_out: LeftOut | None) -> str:
    if left_out is None:
        return ""
    return canonical.encode([left_out.column, *sorted(left_out.owners)]).decode()


def _left_out(text: str) -> LeftOut | None:
    if not text:
        return None
    column, *owners = canonical.decode(text.encode())
    return LeftOut(column, frozenset(owners))


def _offer(frame: Frame) -> Offer:
    cache = frame.get("cache", str)
    return Offer(
        site=frame.get("site", str),
        charter=charter.parse(canonical.decode(frame.get("charter", str).encode()), "the offer"),
        initial=frame.blob,
        base_model=Path(frame.get("base_model", str)),
        data=Path(frame.get("data", str)),
        owner=frame.get("owner", str) or None,
        left_out=_left_out(frame.get("left_out", str)),
        columns=canonical.decode(frame.get("columns", str).encode()),
        threads=frame.get("threads", int),
        cache=Path(cache) if cache else None,
    )
