"""From pictures that were read to records: which are duplicates, and what becomes of the others.

They pass one by one, from segment to segment. A picture is left out where its owner has the same one,
byte for byte, already; what other owners have is counted and decides nothing (ADR 24).
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedward_client.preparation import finishing, owners, png, segments
from fedward_client.preparation.documents import Picture
from fedward_client.preparation.finishing import Rules
from fedward_client.preparation.store import OURS, Store, row
from fedward_shared.errors import StateError
from fedward_shared.files import written_atomically
from fedward_shared.records import normalised

DIGEST_BYTES = 16
KEY = np.dtype([("picture", f"S{DIGEST_BYTES}"), ("owned", f"S{DIGEST_BYTES}")])
"""Digests of a picture, and of a picture together with its owner."""

Told = Callable[[int], None]
"""Is told how many pictures are done."""


class Compared(NamedTuple):
    """All pictures so far. `instead` [P]: of each, the number of the first one of its owner's that is
    the same. `across`: how many of those that stay another owner has as well, and had before."""

    instead: NDArray[np.int64]
    across: int


def compare(store: Store, run: int) -> Compared:
    """Of the runs up to this one, of which the digests are kept."""
    if not store.keys(run).exists():
        with written_atomically(store.keys(run), OURS) as out:
            for segment in store.seen_segments(run):
                for picture in _pictures(segment):
                    out.write(_key(picture))
    key_P = np.concatenate([_keys(store.keys(one)) for one in range(1, run + 1)])
    _, first, which = np.unique(key_P["owned"], return_index=True, return_inverse=True)
    across = len(first) - len(np.unique(key_P["picture"]))
    return Compared(first[which].astype(np.int64), across)


def finish(store: Store, run: int, rules: Rules, instead: NDArray[np.int64], told: Told) -> None:
    """A segment of lines for each of the run's segments of pictures that has none."""
    number = sum(len(_keys(store.keys(one))) for one in range(1, run))
    first = number
    for place, segment in enumerate(store.seen_segments(run)):
        done = store.shown_segment(run, place)
        if done.exists():
            number += sum(1 for _ in _pictures(segment))
            told(number - first)
            continue
        with written_atomically(done, OURS) as out:
            for picture in _pictures(segment):
                out.write(row(_line(rules, number, int(instead[number]), picture)))
                number += 1
                told(number - first)


def _line(rules: Rules, number: int, instead: int, picture: Picture) -> dict[str, Any]:
    about, size = picture.provenance, png.size(picture.png)
    line: dict[str, Any] = {
        "number": number,
        "file": about.file,
        "place": about.place,
        "reader": about.reader,
        "height": size.height,
        "width": size.width,
    }
    if instead != number:
        return line | {"outcome": "duplicate", "instead": instead}
    image = {"image": base64.b64encode(picture.png).decode()}
    return line | {"outcome": "kept", "record": image | finishing.facts(rules, picture)}


def _pictures(segment: Path) -> Iterator[Picture]:
    for event in segments.events(segment):
        if not isinstance(event, Picture):
            raise StateError(f"{segment}: damaged; prepare anew into another folder")
        yield event


def _key(picture: Picture) -> bytes:
    digest = hashlib.sha256(picture.png).digest()
    owner = hashlib.sha256(normalised(owners.of(picture)[0]).encode()).digest()
    return digest[:DIGEST_BYTES] + hashlib.sha256(owner + digest).digest()[:DIGEST_BYTES]


def _keys(path: Path) -> NDArray[Any]:
    try:
        return np.frombuffer(path.read_bytes(), KEY)
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: damaged; prepare anew into another folder") from error
