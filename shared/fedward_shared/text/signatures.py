"""MinHash signatures of many texts at once, by datasketch's permutations, and the keys of their bands.

A signature is what `datasketch.MinHash` gives for the same hashes, to the bit (Broder 1997); computed
one permutation after the other over a few thousand texts, instead of one text after the other. It is
cut into `BANDS` bands of `ROWS` numbers: texts with a band in common are candidates (Leskovec,
Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3).

Of pairs whose Jaccard similarity is s, (1 - s^ROWS)^BANDS have no band in common: 0.6 % at 0.85, one in
ten thousand at 0.9. Of pairs at 0.5, 6 % are candidates, which are then compared.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from fedward_shared.errors import MissingExtra
from fedward_shared.text import BANDS, ROWS
from fedward_shared.text.shingles import spans
from fedward_shared.text.workers import Work

__all__ = ["BANDS", "ROWS", "Sketches", "mixed", "signatures", "sketch", "sketches"]

PIECE = 1024
"""Texts that are hashed at once."""

CHARACTERS_AT_ONCE = 2**20
_SHINGLES_AT_ONCE = 2**15  # of which a permutation stays in a core's cache


@dataclass(frozen=True)
class Sketches:
    """What D texts are compared by.

    `shingles_S` (uint32) are the texts' shingles, each once and in order, those of text d
    `shingles_S[starts[d]:starts[d + 1]]`; `keys_DB` (uint64) are the keys of their bands.
    """

    shingles_S: np.ndarray
    starts: np.ndarray
    keys_DB: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Sketches"]) -> "Sketches":
        """The texts of `parts`, of which there is at least one, one after the other."""
        sizes = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            np.concatenate([part.shingles_S for part in parts]),
            np.append(0, np.cumsum(sizes)),
            np.concatenate([part.keys_DB for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.keys_DB)


def sketch(texts: Sequence[str], seed: int) -> Sketches:
    """Shingles and bands of one text or more. Raises MissingExtra without datasketch."""
    hashes_S, starts = spans(texts)
    owners_S = np.repeat(np.arange(len(texts), dtype=np.uint64), np.diff(starts))
    both_S = np.sort((owners_S << np.uint64(32)) | (mixed(hashes_S) >> np.uint64(32)))
    both_S = both_S[
        np.append(True, both_S[1:] != both_S[:-1])
    ]  # as np.unique, in a tenth of its time
    shingles_S = both_S.astype(np.uint32)
    starts = np.append(0, np.cumsum(np.bincount(both_S >> np.uint64(32), minlength=len(texts))))
    return Sketches(shingles_S, starts, _keys(signatures(shingles_S, starts, seed)))


def sketches(texts: Iterable[str], seed: int, work: Work = map) -> Iterator[Sketches]:
    """`sketch` of all of `texts` in pieces, in their order: the same by whatever `work`."""
    return iter(work(partial(sketch, seed=seed), _pieces(texts)))


def signatures(shingles_S: np.ndarray, starts: np.ndarray, seed: int) -> np.ndarray:
    """The signatures (uint32, [D, BANDS · ROWS]) of sets of uint32 hashes, none of them empty."""
    factors_P, terms_P = _permutations(seed)
    hashes_S = _datasketch()._fmix(shingles_S, 32)
    signatures_PD = np.empty((BANDS * ROWS, len(starts) - 1), np.uint32)
    first = 0
    while first < len(starts) - 1:
        last = int(np.searchsorted(starts, starts[first] + _SHINGLES_AT_ONCE, "right")) - 1
        last = max(last, first + 1)
        part = hashes_S[starts[first] : starts[last]]
        places, permuted = starts[first:last] - starts[first], np.empty_like(part)
        for number, (factor, term) in enumerate(zip(factors_P, terms_P, strict=True)):
            np.multiply(part, factor, out=permuted)
            permuted += term
            np.minimum.reduceat(permuted, places, out=signatures_PD[number, first:last])
        first = last
    return signatures_PD.T


def mixed(values: np.ndarray) -> np.ndarray:
    """A bijection of uint64 in which every bit of the result depends on every bit (MurmurHash3)."""
    mixing: np.ndarray = _datasketch()._fmix(values, 64)
    return mixing


def _pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """At most `PIECE` texts, and about as many characters as memory is meant to hold at once."""
    waiting = iter(texts)
    piece: list[str] = []
    characters = 0
    for text in waiting:
        piece.append(text)
        characters += len(text)
        if len(piece) == PIECE or characters >= CHARACTERS_AT_ONCE:
            yield piece
            piece, characters = [], 0
    if piece:
        yield piece


def _keys(signatures_DP: np.ndarray) -> np.ndarray:
    bands_DBR = signatures_DP.reshape(-1, BANDS, ROWS).astype(np.uint64)
    keys_DB = np.zeros(bands_DBR.shape[:2], np.uint64)
    for row in range(ROWS):
        keys_DB = mixed(keys_DB ^ bands_DBR[:, :, row])
    return keys_DB


@cache
def _permutations(seed: int) -> Any:
    return _datasketch().MinHash(BANDS * ROWS, seed, scheme="affine32").permutations


@cache
def _datasketch() -> Any:
    try:
        from datasketch import minhash
    except ImportError as error:
        raise MissingExtra(
            "datasketch is not installed: pip install 'fedward-shared[text]'"
        ) from error
    return minhash
