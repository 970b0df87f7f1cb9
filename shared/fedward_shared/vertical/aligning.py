"""Both sides of the alignment as programs: what `psi.alignment` computes, message by message."""

import hashlib
from collections.abc import Generator, Sequence

import numpy as np

from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.program import Action, Book, receive, send
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi import POINT_BYTES
from fedward_shared.psi.alignment import (
    BATCH,
    PLACE,
    Active,
    Common,
    Passive,
    Rows,
    Terms,
    Work,
    aligned,
)
from fedward_shared.vertical.terms import AlignmentTerms

SIZE_BYTES = 4


def active(
    peers: Sequence[str],
    identifiers: Sequence[bytes],
    terms: AlignmentTerms,
    session: str,
    randomness: Randomness,
    work: Work = map,
) -> Generator[Action, bytes, Rows]:
    """The active party's rows that are common to all, in their common order.

    Raises AlignmentError as `psi.alignment` does, and ExchangeError for a peer that says something else.
    """
    pairs = []
    for peer in peers:
        half_terms = yield from _agreed(peer, peer, len(identifiers), terms, session)
        half = Active(half_terms, identifiers, randomness, work)
        pairs.append((yield from _compared(peer, half, half_terms)))
    rows, places = aligned(pairs, terms.least)
    for peer, own in zip(peers, places, strict=True):
        yield from send(peer, "sizes", _size(len(rows)))
        yield from send(peer, "places", own)
    return rows


def _compared(peer: str, half: Active, terms: Terms) -> Generator[Action, bytes, Common]:
    for batch in half.batches():
        yield from send(peer, "points", batch)
        half.doubled((yield from receive(peer, "doubled", len(batch))))
    for size in _batches(terms.theirs):
        half.theirs((yield from receive(peer, "points", size)))
    return half.common()


def passive(
    peer: str,
    own: str,
    identifiers: Sequence[bytes],
    terms: AlignmentTerms,
    session: str,
    randomness: Randomness,
    work: Work = map,
    events: Sequence[Event] = (),
) -> Generator[Action, bytes, Rows]:
    """The rows of the passive party `own` that are common to all, in their common order.

    `events` are booked when the peer is there, before it learns of anybody whether they are here.

    Raises as `active` does, and AlignmentError for fewer common records than the charter's `least`.
    """
    half_terms = yield from _agreed(peer, own, len(identifiers), terms, session)
    for event in events:
        yield Book(event)
    half = Passive(half_terms, identifiers, randomness, work)
    for size in _batches(half_terms.theirs):
        batch = yield from receive(peer, "points", size)
        yield from send(peer, "doubled", half.doubled(batch))
    for batch in half.batches():
        yield from send(peer, "points", batch)
    count = int.from_bytes((yield from receive(peer, "sizes", SIZE_BYTES)))
    if not terms.least <= count <= half_terms.own:
        raise ExchangeError(
            f"{peer} says that {count} records are common, the charter wants {terms.least} or more and "
            f"this party has {len(identifiers)}"
        )
    places = yield from receive(peer, "places", count * PLACE.itemsize)
    return half.rows(places) if count else np.zeros(0, np.int64)


def _agreed(
    peer: str, of_pair: str, count: int, terms: AlignmentTerms, session: str
) -> Generator[Action, bytes, Terms]:
    """Both tell their padded sizes. A pair's points are of its session and passive party alone."""
    own = terms.shown(count)
    yield from send(peer, "sizes", _size(own))
    theirs = int.from_bytes((yield from receive(peer, "sizes", SIZE_BYTES)))
    domain = hashlib.sha256(f"{session} {of_pair}".encode()).hexdigest()
    return Terms(f"fedward/psi/1 {domain}".encode(), own, theirs, terms.shown(terms.most))


def _size(count: int) -> bytes:
    return min(count, 2**32 - 1).to_bytes(SIZE_BYTES)


def _batches(points: int) -> list[int]:
    """The sizes of the messages that carry so many points."""
    sizes = [min(BATCH, points - at) for at in range(0, points, BATCH)]
    return [size * POINT_BYTES for size in sizes]
