"""Rows: the pieces of a source's stream that a model reads at once.

**Packed**, a row is `length` consecutive tokens, whatever documents they are of: nothing is padded. The
documents in it are numbered from 1 on, positions begin at 0 in each, and attention must stay within one.
A document that goes on in the next row is another one there. What is left at the end of the stream and
fills no row is never seen.

**Unpacked**, a row has one document, or a piece of one that is longer, and is padded: for families whose
attention cannot be kept within documents. Padding has the document number 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedward_server.pretraining.corpus.store import Piece, Source

PADDING = 0
"""The document number of what is no token of any."""


class Packed(NamedTuple):
    """B rows of T tokens, the document of each (0 is padding) and its position there, int64."""

    tokens_BT: np.ndarray
    documents_BT: np.ndarray
    positions_BT: np.ndarray


class Rows:
    """The rows of a source, of at most `length` tokens each, numbered from 0 on."""

    def __init__(self, source: Source, length: int, packed: bool = True) -> None:
        self._source = source
        self._starts: range | np.ndarray
        self._stops: range | np.ndarray
        cut = _consecutive if packed else _by_document
        self._starts, self._stops = cut(source, length)

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, number: int) -> Piece:
        """The tokens of a row, and where in it another document begins."""
        return self._source.read(int(self._starts[number]), int(self._stops[number]))


def packed(pieces: Sequence[Piece], length: int, padding: int) -> Packed:
    """Rows as they were read, each filled up to `length` tokens with `padding`."""
    tokens_BT = np.full((len(pieces), length), padding, np.int64)
    documents_BT = np.full((len(pieces), length), PADDING, np.int64)
    for row, (tokens_N, begins) in enumerate(pieces):
        tokens_BT[row, : len(tokens_N)] = tokens_N
        documents_BT[row, 0] = 1
        documents_BT[row, begins] = 1
        documents_BT[row, : len(tokens_N)] = np.cumsum(documents_BT[row, : len(tokens_N)])
    return Packed(tokens_BT, documents_BT, positions(documents_BT))


def positions(documents_BT: np.ndarray) -> np.ndarray:
    """How many tokens of the same document there are before each, [B, T]."""
    places_BT = np.broadcast_to(np.arange(documents_BT.shape[1]), documents_BT.shape)
    begins_BT = np.ones(documents_BT.shape, bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    first_BT = np.maximum.accumulate(np.where(begins_BT, places_BT, 0), axis=1)
    found_BT: np.ndarray = places_BT - first_BT
    return found_BT


def _consecutive(source: Source, length: int) -> tuple[range | np.ndarray, range | np.ndarray]:
    whole = source.tokens // length
    return range(0, whole * length, length), range(length, (whole + 1) * length, length)


def _by_document(source: Source, length: int) -> tuple[range | np.ndarray, range | np.ndarray]:
    """Where rows start and stop; 16 bytes for each."""
    sizes_D = source.sizes().astype(np.int64)
    firsts_D = np.cumsum(sizes_D) - sizes_D
    pieces_D = -(-sizes_D // length)
    within_R = np.arange(pieces_D.sum()) - np.repeat(np.cumsum(pieces_D) - pieces_D, pieces_D)
    starts_R = np.repeat(firsts_D, pieces_D) + within_R * length
    return starts_R, np.minimum(starts_R + length, np.repeat(firsts_D + sizes_D, pieces_D))
