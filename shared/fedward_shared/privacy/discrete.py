"""Discrete Gaussian numbers, drawn with integers alone.

N_Z(c, v) takes each integer k with a probability in proportion to exp(-(k - c)²/2v). It is drawn by
inversion: 128 random bits against cumulative probabilities, computed in integers to more digits than
that. No floating point takes part, so that its gaps cannot show which values could not have been drawn;
a draw differs from the true distribution by less than 1e-30 in total variation.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

TAIL = 12
"""Deviations after which a table ends: beyond are 4e-33 of a normal distribution."""
BITS = 256
"""Of the fixed point in which tables are computed."""
WORD = 64
CHUNK = 2**13

Integers = NDArray[np.int64]


class Words(Protocol):
    """What `randomness.Randomness` is here."""

    def words64(self, count: int) -> NDArray[np.uint64]:
        """`count` words of 64 random bits."""


@dataclass(frozen=True)
class Table:
    """Cumulative probabilities of `first`, `first` + 1, … in each row, times 2^128, in two words.

    The last of a row, which is 1, is left out. A row is for one centre.
    """

    first: int
    high_RK: NDArray[np.uint64]
    low_RK: NDArray[np.uint64]

    def draw(self, rows_N: Integers, randomness: Words) -> Integers:
        """A number from each of the rows that are named."""
        drawn = np.empty(len(rows_N), dtype=np.int64)
        for start in range(0, len(rows_N), CHUNK):
            rows = rows_N[start : start + CHUNK]
            drawn[start : start + CHUNK] = self._draw(rows, randomness)
        return drawn

    def _draw(self, rows_N: Integers, randomness: Words) -> Integers:
        high_N, low_N = randomness.words64(2 * len(rows_N)).reshape(2, -1)
        if len(self.high_RK) == 1:
            below_N = np.searchsorted(self.high_RK[0], high_N, side="left")
            ties_N = np.searchsorted(self.high_RK[0], high_N, side="right") != below_N
        else:
            high_NK = self.high_RK[rows_N]
            below_N = (high_NK < high_N[:, None]).sum(axis=1)
            ties_N = (high_NK == high_N[:, None]).any(axis=1)
        for place in np.flatnonzero(ties_N):
            tied_K = self.high_RK[rows_N[place]] == high_N[place]
            below_N[place] += (self.low_RK[rows_N[place]][tied_K] <= low_N[place]).sum()
        return below_N.astype(np.int64) + self.first


@lru_cache(maxsize=8)
def table(variance: Fraction, parts: int = 1) -> Table:
    """Of N_Z(c, `variance`); row m is for the centre c = m / `parts`."""
    reach = TAIL * (math.isqrt(math.ceil(variance)) + 1)
    weights = _weights((reach + 1) * parts, 1 / (2 * variance * parts**2))
    rows = [
        _cumulated([weights[abs(k * parts - m)] for k in range(-reach, reach + 2)])
        for m in range(parts)
    ]
    words = np.array([[divmod(c, 2**WORD) for c in row] for row in rows], dtype=np.uint64)
    return Table(-reach, words[..., 0].copy(), words[..., 1].copy())


def _cumulated(weights: list[int]) -> list[int]:
    whole, total, found = sum(weights), 0, []
    for weight in weights[:-1]:
        total += weight
        found.append((total << (2 * WORD)) // whole)
    return found


def _weights(last: int, factor: Fraction) -> list[int]:
    """exp(-j² · `factor`) for j from 0 to `last`, times 2^BITS.

    From one to the next by the ratio exp(-(2j + 1) · factor), which itself changes by one factor.
    """
    change = _exponential(2 * factor)
    ratio, weight, found = _exponential(factor), 1 << BITS, [1 << BITS]
    for _ in range(last):
        weight = (weight * ratio) >> BITS
        ratio = (ratio * change) >> BITS
        found.append(weight)
    return found


def _exponential(x: Fraction) -> int:
    """exp(-x) · 2^BITS, for x up to 1 or so."""
    total, term, k = Fraction(0), Fraction(1), 0
    while abs(term) * 2 ** (BITS + 8) > 1:
        total, k = total + term, k + 1
        term = -term * x / k
    return int(total * 2**BITS)
