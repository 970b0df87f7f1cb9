"""The two halves of an intersection, without I/O: what each sends and what it makes of what comes.

    active                                         passive
    a·H(x), shuffled and padded            →
                                           ←       b·(a·H(x)), in the order in which they came
                                           ←       b·H(y), shuffled and padded
    a·(b·H(y)), compared
    places of the common ones, in order    →       its rows, in the same order

Both learn the common records, each other's number of points, and nothing of the rest. The order is that
of a hash of the points a·b·H(x), which neither can choose without the other. With several passive
parties the active one does this with each, and learns what it has in common with each of them; the
others learn what is common to all.

This holds between parties that follow the protocol. One that does not can put in identifiers of its
choosing, as many as the charter's `most` allows, and learn whether the other has them.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward_shared.errors import AlignmentError
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi import PLACE_BYTES, POINT_BYTES, group
from fedward_shared.psi.group import SEED_BYTES

BATCH = 4096
"""Points in a message: 128 KB."""
PIECE = 512
"""Points that one core works on at a time."""
SEED_WORDS = SEED_BYTES // 8
PLACE = np.dtype(f"<u{PLACE_BYTES}")
KEY = np.dtype(f"S{POINT_BYTES}")

Rows = NDArray[np.int64]
Work = Callable[[Callable[[Any], bytes], Iterable[Any]], Iterable[bytes]]
"""`map`, or that of a pool of threads: libsodium does not hold the interpreter's lock."""


@dataclass(frozen=True)
class Terms:
    """What both sides know. `domain` names charter, session and pair; the sizes are padded.

    `most`: how many points either side may have. Raises AlignmentError for a size beyond it.
    """

    domain: bytes
    own: int
    theirs: int
    most: int

    def __post_init__(self) -> None:
        for whose, size in (("this party", self.own), ("the peer", self.theirs)):
            if not 0 < size <= self.most:
                raise AlignmentError(
                    f"{whose} has {size} identifiers, the charter allows 1 to {self.most}"
                )


class Half:
    """A party's own points in an order that tells nothing, and the peer's as they come."""

    def __init__(
        self, terms: Terms, identifiers: Sequence[bytes], randomness: Randomness, work: Work
    ) -> None:
        if len(identifiers) > terms.own:
            raise AlignmentError(
                f"there are {len(identifiers)} identifiers, more than the {terms.own} announced"
            )
        self._terms, self._identifiers, self._work = terms, identifiers, work
        self._key = group.secret(randomness.words64(SEED_WORDS).tobytes())
        self._shuffled = np.argsort(randomness.words64(terms.own), kind="stable").astype(np.int64)
        """Place → row; rows from `len(identifiers)` on are padding."""
        self._randomness = randomness
        self._came = bytearray()

    def batches(self) -> Iterator[bytes]:
        """Its own points, for the peer."""
        for start in range(0, self._terms.own, BATCH):
            rows = self._shuffled[start : start + BATCH].tolist()
            real = [row for row in rows if row < len(self._identifiers)]
            points = iter(self._points([self._identifiers[row] for row in real]))
            spare = iter(self._padding(len(rows) - len(real)))
            yield b"".join(
                next(points) if row < len(self._identifiers) else next(spare) for row in rows
            )

    def _points(self, identifiers: list[bytes]) -> list[bytes]:
        pieces = (identifiers[at : at + PIECE] for at in range(0, len(identifiers), PIECE))
        return _split(b"".join(self._work(self._blinded, pieces)))

    def _blinded(self, identifiers: list[bytes]) -> bytes:
        hashed = [group.hashed(identifier, self._terms.domain) for identifier in identifiers]
        return group.multiplied(self._key, b"".join(hashed))

    def _padding(self, count: int) -> list[bytes]:
        return _split(group.padding(self._randomness.words64(SEED_WORDS * count).tobytes()))

    def _multiplied(self, points: bytes) -> bytes:
        size = PIECE * POINT_BYTES
        pieces = (points[at : at + size] for at in range(0, len(points), size))
        return b"".join(self._work(partial(group.multiplied, self._key), pieces))


def check_batch(batch: bytes, came: bytearray, expected: int) -> None:
    """Raises AlignmentError for a batch that is not the next after what `came`."""
    before = len(came) // POINT_BYTES
    if len(batch) != POINT_BYTES * min(BATCH, expected - before) or not batch:
        raise AlignmentError(f"a batch of {len(batch)} bytes after {before} of {expected} points")


class Passive(Half):
    """The party that answers."""

    def doubled(self, batch: bytes) -> bytes:
        """The active party's points, multiplied, in their order: the answer to it.

        Raises AlignmentError, as all of these do for what does not fit.
        """
        check_batch(batch, self._came, self._terms.theirs)
        made = self._multiplied(batch)
        self._came += batch
        return made

    def rows(self, places: bytes) -> Rows:
        """Its rows that are common, in the common order, of the places that the active one sent."""
        if len(places) % PLACE.itemsize or not places:
            raise AlignmentError("there is nobody in common, or the list of places is cut off")
        found = np.frombuffer(places, PLACE).astype(np.int64)
        if found.max() >= self._terms.own or len(np.unique(found)) < len(found):
            raise AlignmentError(
                "the common places are beyond this party's points, or one is twice"
            )
        rows = self._shuffled[found]
        if rows.max() >= len(self._identifiers):
            raise AlignmentError("the peer claims to have in common what is padding")
        return rows


class Active(Half):
    """The party that compares."""

    def __init__(
        self, terms: Terms, identifiers: Sequence[bytes], randomness: Randomness, work: Work
    ) -> None:
        super().__init__(terms, identifiers, randomness, work)
        self._theirs = bytearray()

    def doubled(self, batch: bytes) -> None:
        """Its own points as the peer gives them back."""
        check_batch(batch, self._came, self._terms.own)
        self._came += batch

    def theirs(self, batch: bytes) -> None:
        """The peer's own points."""
        check_batch(batch, self._theirs, self._terms.theirs)
        self._theirs += self._multiplied(batch)

    def common(self) -> "Common":
        """What both have. Raises AlignmentError before all has come, and for points that came twice."""
        own = keys_of(self._came, self._terms.own, "own")
        theirs = keys_of(self._theirs, self._terms.theirs, "the peer's")
        keys, places, other = np.intersect1d(own, theirs, assume_unique=True, return_indices=True)
        rows = self._shuffled[places]
        real = rows < len(self._identifiers)
        return Common(rows[real], keys[real], other[real].astype(PLACE))


@dataclass(frozen=True)
class Common:
    """Of one pair: the active party's rows, their points and their places in the peer's list, [N]."""

    rows: Rows
    keys: NDArray[np.bytes_]
    places: NDArray[np.uint32]


def aligned(pairs: Sequence[Common], least: int) -> tuple[Rows, list[bytes]]:
    """The active party's rows that all have, in the common order, and what each peer is sent.

    Raises AlignmentError for fewer than `least`, which says no more than how many they are.
    """
    rows = pairs[0].rows
    for pair in pairs[1:]:
        rows = np.intersect1d(rows, pair.rows, assume_unique=True)
    if len(rows) < least:
        raise AlignmentError(
            f"{len(rows)} records are common to all parties, the charter wants {least}"
        )
    found = [_places_of(rows, pair.rows) for pair in pairs]
    together = zip(*(pair.keys[at] for pair, at in zip(pairs, found, strict=True)), strict=True)
    lots = [
        hashlib.sha256(b"".join(key.ljust(POINT_BYTES, b"\0") for key in keys)).digest()
        for keys in together
    ]
    order = sorted(range(len(rows)), key=lots.__getitem__)
    places = [pair.places[at][order].tobytes() for pair, at in zip(pairs, found, strict=True)]
    return rows[order], places


def _places_of(rows: Rows, among: Rows) -> NDArray[np.intp]:
    order = np.argsort(among)
    return order[np.searchsorted(among, rows, sorter=order)]


def keys_of(points: bytearray, size: int, whose: str) -> NDArray[np.bytes_]:
    """The points one by one, to be compared. Raises AlignmentError unless there are `size`, all of them
    different."""
    keys = np.frombuffer(bytes(points), KEY)
    if len(keys) < size:
        raise AlignmentError(f"{len(keys)} of {size} of {whose} points have come")
    if len(np.unique(keys)) < size:
        raise AlignmentError(f"a point of {whose} came twice")
    return keys


def _split(points: bytes) -> list[bytes]:
    return [points[at : at + POINT_BYTES] for at in range(0, len(points), POINT_BYTES)]
