"""What was in some files of a run, one line for each thing, as it is kept until the run is done.

+ {document, picture, person or remark}
= {"file", "size", "digest", "documents", "pictures"}   a file that was read
! {"file", "reason"}                                    one that is quarantined
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from fedward_client.preparation.documents import Found, decode, encode
from fedward_client.preparation.folder import Quarantined, Read
from fedward_shared.errors import StateError, Unreadable

FOUND, READ, QUARANTINED = b"+", b"=", b"!"

Event = Found | Read | Quarantined


def line(event: Event) -> bytes:
    """`event`, as `events` reads it."""
    if not isinstance(event, Read | Quarantined):
        return FOUND + encode(event)
    tag = READ if isinstance(event, Read) else QUARANTINED
    return tag + json.dumps(asdict(event)).encode() + b"\n"


def events(path: Path) -> Iterator[Event]:
    """What is in the segment `path`. Raises StateError if it is damaged."""
    try:
        with path.open("rb") as file:
            for said in file:
                yield _event(said[:1], said[1:])
    except (OSError, ValueError, TypeError, Unreadable) as error:
        raise StateError(f"{path}: damaged; prepare anew into another folder") from error


def _event(tag: bytes, said: bytes) -> Event:
    if tag == FOUND:
        return decode(said)
    if tag == READ:
        return Read(**json.loads(said))
    if tag == QUARANTINED:
        return Quarantined(**json.loads(said))
    raise ValueError(tag)
