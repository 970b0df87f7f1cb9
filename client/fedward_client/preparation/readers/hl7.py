"""HL7 version 2, pipes and hats: text of observations (OBX, NTE) and diagnoses (DG1).

A file may hold many messages, as a batch or one after the other, and may come from MLLP. A message's
text is one document, each diagnosis another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedward_client.preparation.documents import Found, Origin
from fedward_client.preparation.readers import bounded
from fedward_shared.errors import Unreadable

NAME, VERSION = "hl7", 2
ENDINGS: tuple[str, ...] = (".hl7",)
BEGINNINGS = (b"MSH", b"FHS", b"BHS")
WORDS = frozenset({"TX", "FT", "ST", "CE", "CWE"})
"""Types of values (OBX-2) that are words; of a coded one, its text is read."""

NUMBERS = {2: "record", 3: "record", 4: "record", 18: "account", 19: "national"}
"""Fields of PID, and which kinds of identifiers they are."""

FRAME = "\x0b\x1c\x1d"
LARGEST_MESSAGE = 2**24
ENVELOPE = ("FHS", "BHS", "BTS", "FTS")


def takes(head: bytes) -> bool:
    """The header of a message, a batch or a file, in MLLP's frame or without."""
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\x0b\r\n ")
    return begin.startswith(BEGINNINGS) and begin[3:4] in b"|^~&!#$%*"


def read(path: Path, origin: Origin) -> Iterator[Found]:
    """Message by message."""
    encoding = bounded.encoding(path)
    if encoding != "utf-8":
        yield origin.remark("whole file", f"read as {encoding}")
    number = 0
    with path.open(encoding=encoding, newline=None) as file:
        try:
            for line, text in _messages(file):
                number += 1
                yield from _message(text, f"message {number} (line {line})", origin)
        except UnicodeDecodeError as error:
            raise Unreadable(f"after message {number}: {error.reason}") from None
    if not number:
        raise Unreadable("no message, which begins with MSH")


def _messages(file: bounded.Lines[str]) -> Iterator[tuple[int, str]]:
    """The segments of each, and the line on which it begins."""
    segments: list[str] = []
    size, begin = 0, 0
    for number, line in enumerate(bounded.lines(file), start=1):
        segment = line.strip(FRAME + "\r\n")
        if not segment.strip() or segment.startswith(ENVELOPE):
            continue
        if segment.startswith("MSH"):
            if segments:
                yield begin, "\r".join(segments)
            segments, size, begin = [], 0, number
        elif not segments:
            raise Unreadable(f"line {number}: a segment before the header of its message")
        segments.append(segment)
        size += len(segment)
        if size > LARGEST_MESSAGE:
            raise Unreadable(f"line {begin}: a message of more than {LARGEST_MESSAGE:,} characters")
    if segments:
        yield begin, "\r".join(segments)


def _message(text: str, place: str, origin: Origin) -> Iterator[Found]:
    import hl7

    try:
        message = hl7.parse(text)
    except hl7.HL7Exception:
        raise Unreadable(f"{place}: no message of HL7 version 2") from None
    segments = [*message]
    unit = next((_part(message, s, 3) for s in segments if _name(s) == "PID"), "")
    for segment in segments:
        if _name(segment) == "PID":
            yield from origin.person(place, unit, _who(message, segment))
    kind = _part(message, segments[0], 9, 1) or _part(message, segments[0], 9)
    said, date, other = [], _part(message, segments[0], 7), 0
    for segment in segments:
        match _name(segment):
            case "OBX" if _part(message, segment, 2) in WORDS:
                coded = _part(message, segment, 2) in ("CE", "CWE")
                said.append(_whole(message, segment, 5, component=2 if coded else None))
                date = _part(message, segment, 14) or date
            case "OBX":
                other += 1
            case "NTE":
                said.append(_whole(message, segment, 3))
            case "DG1":
                words = _part(message, segment, 4) or _part(message, segment, 3, 2)
                code, when = _part(message, segment, 3, 1), _part(message, segment, 5)
                where = f"{place}, DG1-{_part(message, segment, 1) or '?'}"
                if words:
                    yield origin.document(
                        where, words, unit=unit, date=when or date, code=code, kind="DG1"
                    )
                else:
                    yield origin.remark(where, "a diagnosis in no words")
    if body := "\n".join(filter(None, said)):
        yield origin.document(place, body, unit=unit, date=date, kind=kind)
    if other:
        yield origin.remark(place, f"{other} OBX of values that are no words are not read")


def _who(message: Any, segment: Any) -> Iterator[tuple[str, str]]:
    """Names, aliases and the mother's name, numbers, address and telephones of PID."""
    for field in (5, 6, 9):
        names = (_part(message, segment, field, n) for n in (2, 3, 1))
        yield "name", " ".join(filter(None, names))
    for field, kind in NUMBERS.items():
        yield kind, _part(message, segment, field)
    for component in (1, 3, 5):
        yield "place", _part(message, segment, 11, component)
    for field in (13, 14):
        yield "phone", _part(message, segment, field)


def _name(segment: Any) -> str:
    return str(segment[0])


def _part(message: Any, segment: Any, field: int, component: int = 1) -> str:
    """One component of a field's first repetition; empty if it is not there."""
    if len(segment) <= field or not len(segment[field]):
        return ""
    repetition = segment[field][0]
    if isinstance(repetition, str):
        return _said(message, repetition) if component == 1 else ""
    if len(repetition) < component:
        return ""
    return _said(message, str(repetition[component - 1]))


def _whole(message: Any, segment: Any, field: int, component: int | None = None) -> str:
    """A field with all its repetitions, a line for each."""
    if len(segment) <= field:
        return ""
    if component is not None:
        return _part(message, segment, field, component)
    return "\n".join(_said(message, str(part)) for part in segment[field])


def _said(message: Any, text: str) -> str:
    return str(message.unescape(text)).replace("\r", "\n").strip()
