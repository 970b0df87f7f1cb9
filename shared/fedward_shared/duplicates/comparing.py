"""What a site does in a session, without I/O: it is compared with all others, a batch at a time."""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import zip_longest

import numpy as np

from fedward_shared.duplicates.bands import Bands
from fedward_shared.duplicates.terms import DuplicatesTerms
from fedward_shared.errors import DataError, ExchangeError
from fedward_shared.exchange.program import Action, Book, receive, send
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi import POINT_BYTES
from fedward_shared.psi.alignment import BATCH, Terms, Work
from fedward_shared.psi.mutual import Mutual
from fedward_shared.text import BANDS

SIZE_BYTES = 4

Streams = Callable[[str], Randomness]
"""A stream for each peer."""


def comparing(
    site: str,
    peers: Sequence[str],
    own: Bands,
    terms: DuplicatesTerms,
    session: str,
    events: Sequence[Event],
    streams: Streams,
    work: Work = map,
) -> Generator[Action, bytes, dict[str, np.ndarray]]:
    """For each peer how many bands of each document of `site` are a band of one of its documents, [D].

    `events` are booked when all sizes are known, before a point leaves. Raises DataError for more
    documents than the charter lets a party show, AlignmentError for points that do not fit, and
    ExchangeError for a peer that says something else.
    """
    if len(own) > terms.most:
        raise DataError(
            f"{len(own)} documents take part, duplicates.most of the charter is {terms.most}"
        )
    mine = BANDS * terms.shown(max(1, len(own)))  # a party without documents shows as many as one
    sizes = yield from _sizes(peers, mine // BANDS, terms)
    for event in events:
        yield Book(event)
    halves = {
        peer: Mutual(
            Terms(_domain(session, site, peer), mine, sizes[peer], terms.most_keys),
            own.elements,
            streams(peer),
            work,
        )
        for peer in peers
    }
    yield from _exchanged(halves, sizes, mine)
    return {peer: own.shared(half.rows()) for peer, half in halves.items()}


def _sizes(
    peers: Sequence[str], shown: int, terms: DuplicatesTerms
) -> Generator[Action, bytes, dict[str, int]]:
    """How many keys each peer shows, of whom each is told how many documents are shown here."""
    sizes = {}
    for peer in peers:
        yield from send(peer, "sizes", shown.to_bytes(SIZE_BYTES))
    for peer in peers:
        theirs = int.from_bytes((yield from receive(peer, "sizes", SIZE_BYTES)))
        if not 0 < theirs <= terms.shown(terms.most) or theirs % terms.step:
            raise ExchangeError(
                f"{peer} shows {theirs} documents; the charter allows {terms.most}, in steps of "
                f"{terms.step}"
            )
        sizes[peer] = BANDS * theirs
    return sizes


def _exchanged(
    halves: Mapping[str, Mutual], sizes: Mapping[str, int], own: int
) -> Generator[Action, bytes, None]:
    """A batch to each peer, one of each, and both back: so nobody waits for pairs that others are."""
    waiting = {peer: half.batches() for peer, half in halves.items()}
    due = {peer: _batches(sizes[peer]) for peer in halves}
    rounds = zip_longest(_batches(own), *due.values(), fillvalue=0)
    for mine, *theirs in rounds:
        if mine:
            for peer in halves:
                yield from send(peer, "points", next(waiting[peer]))
        for (peer, half), size in zip(halves.items(), theirs, strict=True):
            if size:
                batch = yield from receive(peer, "points", size)
                yield from send(peer, "doubled", half.theirs(batch))
        if mine:
            for peer, half in halves.items():
                half.returned((yield from receive(peer, "doubled", mine)))


def _domain(session: str, one: str, other: str) -> bytes:
    """A pair's points are of its session, and of it alone."""
    pair = " ".join([session, *sorted((one, other))])
    return f"fedward/duplicates/1 {hashlib.sha256(pair.encode()).hexdigest()}".encode()


def _batches(points: int) -> list[int]:
    """The sizes of the messages that carry so many points."""
    return [POINT_BYTES * min(BATCH, points - at) for at in range(0, points, BATCH)]
