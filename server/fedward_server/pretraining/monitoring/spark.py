"""A small curve of one line of text."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

LEVELS = "▁▂▃▄▅▆▇█"
MOST = 240


class Course:
    """A series of any length in at most 240 numbers, each the mean of as many values as the others."""

    def __init__(self) -> None:
        self._means: list[float] = []
        self._each = 1
        self._open: list[float] = []

    def add(self, value: float) -> None:
        """The next value; one that is not finite has no place in it."""
        if not math.isfinite(value):
            return
        self._open.append(value)
        if len(self._open) == self._each:
            self._means.append(fmean(self._open))
            self._open = []
        if len(self._means) == MOST:
            self._means = [fmean(self._means[i : i + 2]) for i in range(0, MOST, 2)]
            self._each *= 2

    def drawn(self, width: int) -> str:
        """All of it, in at most `width` characters."""
        means = self._means or self._open
        count = min(width, len(means))
        ends = [len(means) * place // count for place in range(count + 1)] if count else [0]
        return bars([fmean(means[a:b]) for a, b in pairwise(ends)])


def bars(values: Sequence[float]) -> str:
    """A block for each, from the least to the largest."""
    if not values:
        return ""
    low, span = min(values), max(values) - min(values)
    top = len(LEVELS) - 1
    return "".join(LEVELS[round(top * (value - low) / span) if span else 0] for value in values)
