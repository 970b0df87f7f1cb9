"""Whose records they are: what is sampled, clipped and protected as one."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedward_shared.privacy.randomness import Randomness

MICRO_BATCH_TOKENS = 2048
"""Padded positions of a micro-batch."""


@dataclass(frozen=True)
class Units:
    """U privacy units and their records, of which each unit has at least one.

    `records_N[starts[u]:starts[u + 1]]` are the records of unit u, `longest_U` the positions of the
    longest of them.
    """

    records_N: np.ndarray
    starts: np.ndarray
    longest_U: np.ndarray

    @classmethod
    def of(cls, lengths_N: np.ndarray, owners_N: np.ndarray) -> "Units":
        """Units of records with these lengths; `owners_N` numbers whose each is, from 0 on."""
        records_N = np.argsort(owners_N, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(owners_N))])
        return cls(records_N, starts, np.maximum.reduceat(lengths_N[records_N], starts[:-1]))

    def __len__(self) -> int:
        return len(self.longest_U)

    def at_most(self, limit: int, lengths_N: np.ndarray, randomness: Randomness) -> "Units":
        """The same units with at most `limit` records each, every one of a unit's with equal chance.

        What a unit keeps depends on its own records and on the draw, never on another unit: who is
        neighbour to whom, and what one unit can move, stay as they are.
        """
        sizes = np.diff(self.starts)
        owners_N = np.repeat(np.arange(len(self)), sizes)
        drawn_N = np.lexsort((randomness.uniform(len(owners_N)), owners_N))
        kept = np.sort(drawn_N[np.arange(len(owners_N)) - self.starts[:-1][owners_N] < limit])
        records = self.records_N[kept]
        starts = np.concatenate([[0], np.cumsum(np.minimum(sizes, limit))])
        return Units(records, starts, np.maximum.reduceat(lengths_N[records], starts[:-1]))

    def records(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The records of `units`, one unit after the other, and for each of them its unit's place."""
        sizes = np.diff(self.starts)[units]
        places = np.repeat(np.arange(len(units)), sizes)
        within = np.arange(len(places)) - (np.cumsum(sizes) - sizes)[places]
        return self.records_N[self.starts[units][places] + within], places

    def pieces(self, units: np.ndarray) -> Iterator[np.ndarray]:
        """`units` in pieces of like length: one unit, however large, or as many as make one micro-batch
        with all their records.
        """
        return packed(units, self.longest_U[units], np.diff(self.starts)[units])


def packed(items: np.ndarray, lengths: np.ndarray, sizes: np.ndarray) -> Iterator[np.ndarray]:
    """`items` in pieces of like length: one, or as many as have about `MICRO_BATCH_TOKENS` positions if
    each of their `sizes` rows is padded to the longest.

    Sorting happens after the sample is drawn: it changes how a sum is computed, never who is in it.
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop, rows = start + 1, int(sizes[order[start]])
        while stop < len(order):
            rows += int(sizes[order[stop]])
            if lengths[order[stop]] * rows > MICRO_BATCH_TOKENS:
                break
            stop += 1
        yield items[order[start:stop]]
        start = stop
