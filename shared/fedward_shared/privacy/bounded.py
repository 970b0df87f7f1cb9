"""Rows that are clipped and noised: the Gaussian mechanism where it is known whose row is whose."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.privacy.unit import Unit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BoundedNoise:
    """A row is clipped to `clipping_norm` C: of a record that is another, it moves by at most 2C. The
    noise has deviation 2C × `noise_multiplier`."""

    clipping_norm: float
    noise_multiplier: float

    def event(self, times: int, unit: Unit) -> Event:
        """What is booked for so many rows, or sums, that a unit has a part in."""
        return Event("gaussian", 1.0, self.noise_multiplier, times, unit)

    def rows(self, row_BE: "torch.Tensor", randomness: Randomness) -> "torch.Tensor":
        """Each row, clipped and noised."""
        return self._clipped(row_BE) + self._noise(row_BE.shape, randomness)

    def total(self, row_BE: "torch.Tensor", randomness: Randomness) -> "torch.Tensor":
        """The sum of the clipped rows, noised, [E]."""
        return self._clipped(row_BE).sum(dim=0) + self._noise(row_BE.shape[1:], randomness)

    def _clipped(self, row_BE: "torch.Tensor") -> "torch.Tensor":
        length_B1: torch.Tensor = row_BE.norm(dim=1, keepdim=True)
        return row_BE * (self.clipping_norm / length_B1.clamp(min=1e-12)).clamp(max=1.0)

    def _noise(self, shape: "torch.Size", randomness: Randomness) -> "torch.Tensor":
        deviation = 2 * self.clipping_norm * self.noise_multiplier
        noise: torch.Tensor = randomness.normal(shape) * deviation
        return noise
