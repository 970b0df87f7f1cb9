"""Sums of updates in fixed point: the order in which replies arrive cannot change a bit of it.

Each number is rounded to a multiple of 2⁻ᶠ and added, with its whole weight, as a 32-bit integer;
integer addition is associative where floating point is not. f follows from the charter: no number of an
update is larger than the bound on its norm, and the weights of all participants are known, so the sum
cannot overflow. One accumulator of the adapter's size, whatever the number of sites.

Rounding is one addition: with 1.5 × 2²³ added, a float32 below 2²² has the nearest integer, plus a
constant, as its bits. The constants are taken off the sum, modulo 2³², at the end.
"""

import math

import numpy as np
import structlog

from fedward_server.layout import PIECE, Layout, Row, norm_exceeded, norm_fits, pieces
from fedward_shared.errors import AdapterError
from fedward_shared.tensors import Tensors

SCALED_BITS = 22
LARGEST_SUM = 2**31 - 1
ROUNDER = np.float32(1.5 * 2**23)
CONSTANT = int(ROUNDER.view(np.uint32))
SLACK = 1 + 2.0**-8
"""What a norm in single precision may hide."""

log = structlog.get_logger()


def fraction_bits(bound: float, total_weight: int) -> int:
    """The most f for which `bound` × 2ᶠ is below 2²² and `total_weight` times as much below 2³¹.

    Below 0 for very large bounds.
    """
    largest = min(2**SCALED_BITS, LARGEST_SUM / total_weight) - 0.5
    return math.floor(math.log2(largest / (bound * SLACK)))


class Fold:
    """A running weighted sum of rows [D] whose norms are within `bound`, of `total_weight` at most."""

    def __init__(self, layout: Layout, bound: float, total_weight: int) -> None:
        self.fraction_bits = fraction_bits(bound, total_weight)
        self.total_weight = 0
        self._layout = layout
        self._bound = bound
        self._limit = total_weight
        self._sums = np.zeros(layout.size, np.uint32)

    def add(self, site: str, row: Row, weight: int) -> None:
        """Adds `weight` × the update of `site`.

        Raises AdapterError, with nothing added, for a row that is not finite or beyond the bound, and
        for weights that are too many.
        """
        if self.total_weight + weight > self._limit:
            raise AdapterError(f"the weights of a round add up to more than {self._limit}")
        squares = self._add(row, weight)
        if not norm_fits(squares, self._bound):
            self._add(row, -weight)
            raise norm_exceeded(row, self._bound, f"update of {site}")
        self.total_weight += weight
        if squares < row.size * 4.0**-self.fraction_bits:
            log.warning("update is lost in rounding: maximum_update_norm is too large", site=site)

    def _add(self, row: Row, weight: int) -> float:
        """Returns the sum of the squares: one way through memory for both. A negative weight takes the
        same bits off again, whatever they are."""
        scale, factor = np.float32(2.0**self.fraction_bits), np.uint32(weight % 2**32)
        rounded = np.empty(min(PIECE, row.size), np.float32)
        squares = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for piece in pieces(row.size):
                numbers, sums = row[piece], self._sums[piece]
                squares += float(numbers.dot(numbers))
                part = rounded[: numbers.size]
                np.multiply(numbers, scale, out=part)
                np.add(part, ROUNDER, out=part)
                bits = part.view(np.uint32)
                if factor != 1:
                    np.multiply(bits, factor, out=bits)
                np.add(sums, bits, out=sums)
        return squares

    def mean(self) -> Tensors:
        """The weighted mean, float32, in the accumulator's own memory: nothing can be added after it.

        Raises ZeroDivisionError before anything was added.
        """
        scale = 1.0 / (2.0**self.fraction_bits * self.total_weight)
        constants = np.uint32(CONSTANT * self.total_weight % 2**32)
        means = self._sums.view(np.float32)
        for piece in pieces(means.size):
            means[piece] = (self._sums[piece] - constants).view(np.int32) * scale
        self._limit = self.total_weight
        return self._layout.named(means)
