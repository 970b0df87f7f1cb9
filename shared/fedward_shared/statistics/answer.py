"""The one vector of integers that a site answers with: what lies where, what a unit moves, the noise.

It falls into questions. One unit moves each of them by at most its `reach` (Euclidean norm): a count of
units by 1; a histogram, in which each of a unit's records is in one cell, by the number of these
records; a sum of numbers, clipped and brought to -`steps` … `steps`, by that times `steps`. With Q
questions each gets discrete Gaussian noise of deviation σ·√Q·reach, so that all of them together are one
Gaussian mechanism with noise multiplier σ.

The noise is of integers. N_Z(k, v + t) is what becomes of a continuous N(k, v) when each coordinate y
of it is drawn anew by N_Z(y, t), but for factors of 1 ± 1e-17 (`privacy.distributed`) where t is 25/8
and v no less than 25/4; so the variance is t more than what is booked, and in all at least that.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import discrete
from fedward_shared.privacy.discrete import Integers, Words
from fedward_shared.privacy.distributed import MARGIN, ROUNDING, SMOOTHING
from fedward_shared.statistics.terms import Column, NumberColumn, StatisticsTerms

FINEST = 2**12
"""Sums are as fine as noise of this deviation, in their own steps, lets them be."""
LARGEST = 2**52
"""Signed numbers are smaller, on either side of 0: canonical JSON holds no larger ones."""


@dataclass(frozen=True)
class Question:
    """`cells` numbers from `start` on; `column` is what they are of, None for a count."""

    start: int
    cells: int
    reach: int
    column: Column | None = None
    is_sum: bool = False

    @property
    def place(self) -> slice:
        """Where its numbers are in the answer."""
        return slice(self.start, self.start + self.cells)


class Layout:
    """What the answer to `terms` looks like."""

    def __init__(self, terms: StatisticsTerms) -> None:
        self.terms = terms
        self.steps = max(1, FINEST // math.ceil(terms.count_noise))
        """Into so many a sum's half range is divided."""

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """In order: records, units unless they are records, each column's counts, each number's sum."""
        most = self.terms.most_records
        asked: list[tuple[int, int, Column | None, bool]] = [(1, most, None, False)]
        if self.terms.unit != "record":
            asked.append((1, 1, None, False))
        for column in self.terms.columns:
            asked.append((len(column.cells), most, column, False))
            if isinstance(column, NumberColumn):
                asked.append((1, most * self.steps, column, True))
        found, start = [], 0
        for cells, reach, of, is_sum in asked:
            found.append(Question(start, cells, reach, of, is_sum))
            start += cells
        return tuple(found)

    @property
    def size(self) -> int:
        """How many integers it has."""
        return sum(question.cells for question in self.questions)

    def counts(self, column: str) -> Question:
        """Those of a column."""
        return next(q for q in self.questions if q.column and q.column.name == column)

    def sum(self, column: str) -> Question:
        """That of a column of numbers."""
        return next(q for q in self.questions if q.is_sum and q.column and q.column.name == column)

    @property
    def unit_count(self) -> Question:
        """How many units there are."""
        return self.questions[0 if self.terms.unit == "record" else 1]

    def variance(self, question: Question) -> Fraction:
        """Of the noise in each of its numbers."""
        booked = self.terms.noise_multiplier * (1 + MARGIN) * question.reach
        wanted = Fraction(booked) ** 2 * len(self.questions)
        return Fraction(math.ceil(max(wanted, ROUNDING) + SMOOTHING))

    def deviation(self, question: Question) -> float:
        """The root of that."""
        return math.sqrt(self.variance(question))

    def check(self, counts: Integers, records: int) -> None:
        """Raises PrivacyError unless `counts`, without noise, can be those of up to `records` records.

        A sum or a cell that one unit moves by more than is booked would be no answer to the charter.
        """
        if counts.dtype != np.int64 or counts.shape != (self.size,):
            raise PrivacyError(f"counts: {counts.shape} numbers, the charter asks for {self.size}")
        counted = int(counts[0])
        units = int(counts[self.unit_count.start])
        if not 0 <= units <= counted <= min(records, units * self.terms.most_records):
            raise PrivacyError("counts: there are not so many records, or of one unit too many")
        for question in self.questions:
            cells = counts[question.place]
            if question.is_sum:
                if abs(int(cells[0])) > counted * self.steps:
                    raise PrivacyError("counts: a sum of more than there are records")
            elif question.column is not None and (cells.min() < 0 or cells.sum() != counted):
                raise PrivacyError(f"counts: {question.column.name} is not each record once")

    def noised(self, counts: Integers, randomness: Words) -> list[int]:
        """What may leave, of `counts` that were checked."""
        found: list[int] = []
        for question in self.questions:
            rows = np.zeros(question.cells, dtype=np.int64)
            drawn = discrete.table(self.variance(question)).draw(rows, randomness)
            found += (counts[question.place] + drawn).tolist()
        return found
