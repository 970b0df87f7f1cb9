"""Real coordinates as integers of a ring, and a sum of them as real numbers again."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedward_shared.errors import AdapterError, CharterError
from fedward_shared.secagg.ring import Numbers, Ring, chunks, largest

FRACTION = 32
"""Bits behind the point while a number is rounded, as many as a draw has."""
_ONE = 2.0**FRACTION


class Uniform(Protocol):
    """What `fedward_shared.privacy.randomness.Randomness` is here."""

    def words32(self, count: int) -> NDArray[np.uint32]:
        """`count` integers of 32 random bits each."""


@dataclass(frozen=True)
class Quantiser:
    """Symmetric fixed point: an integer in [-L, L], L = 2^(precision-1) - 1, in steps of bound / L.

    Coordinates beyond ±bound saturate; after the noise of DP that is post-processing. Raises
    CharterError for a bound that is not above 0.
    """

    bound: float
    precision: int

    def __post_init__(self) -> None:
        if not (self.bound > 0 and np.isfinite(self.bound)):
            raise CharterError(f"the bound of a coordinate is above 0, not {self.bound}")
        largest(self.precision)

    @property
    def step(self) -> float:
        """The distance between two neighbouring values."""
        return self.bound / largest(self.precision)

    def quantise(
        self, values: NDArray[np.floating], ring: Ring, randomness: Uniform, weight: int = 1
    ) -> Numbers:
        """The numbers of the ring for the coordinates `values` (one axis), times `weight`.

        Rounding is stochastic: up with the probability of the part that is cut off, so that the
        mean is the value itself, to 2^-33 of a step. Raises AdapterError for NaN or infinity.
        """
        top = largest(self.precision) * _ONE
        numbers = ring.zeros(values.size)
        for at in chunks(values.size):
            if not np.isfinite(values[at]).all():
                raise AdapterError("an update that is to be masked holds NaN or infinity")
            scaled = np.multiply(values[at], top / self.bound, dtype=np.float64)
            np.clip(scaled, -top, top, out=scaled)
            fixed = np.rint(scaled, out=scaled).astype(np.int64)
            fixed += randomness.words32(fixed.size)
            fixed >>= FRACTION
            fixed *= weight
            numbers[at] = ring.from_signed(fixed)
        return numbers


def dequantise(total: NDArray[np.int32], step: float) -> NDArray[np.float32]:
    """What a sum of integers stands for, where 1 stands for `step`.

    With a quantiser's step over the sum of the weights that is the weighted mean.
    """
    values = np.empty(total.size, dtype=np.float32)
    for at in chunks(total.size):
        values[at] = total[at] * step
    return values
