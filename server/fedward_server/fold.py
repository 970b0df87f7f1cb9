"""Sums of updates in fixed point: the order in which replies arrive cannot change a bit of it.

Each number is rounded to a multiple of 2⁻³² and added as a 64-bit integer; integer addition is
associative where floating point is not. One accumulator, whatever the number of sites.
"""

from collections.abc import Mapping

import torch

from fedward_shared.errors import AdapterError
from fedward_shared.tensors import Schema, Tensors

FRACTION_BITS = 32
MAXIMUM_VALUE = 2.0**15
MAXIMUM_WEIGHT = 2**15


class Fold:
    """A running weighted sum of updates with one schema."""

    def __init__(self, schema: Schema) -> None:
        self._sums = {name: torch.zeros(shape, dtype=torch.int64) for name, shape in schema.items()}
        self.total_weight = 0

    def add(self, update: Mapping[str, torch.Tensor], weight: int) -> None:
        """Adds `weight` × `update`. Raises AdapterError, with nothing added, where it could overflow.

        Tensors have to fit the schema already (`tensors.check`).
        """
        if self.total_weight + weight > MAXIMUM_WEIGHT:
            raise AdapterError(f"the weights of a round add up to more than {MAXIMUM_WEIGHT}")
        for name, tensor in update.items():
            if float(tensor.abs().max()) > MAXIMUM_VALUE:
                raise AdapterError(f"{name} holds a number beyond ±{MAXIMUM_VALUE:g}")
        for name, tensor in update.items():
            fixed = torch.round(tensor.double() * 2.0**FRACTION_BITS).to(torch.int64)
            self._sums[name] += weight * fixed
        self.total_weight += weight

    def mean(self) -> Tensors:
        """The weighted mean, float32. Raises ZeroDivisionError before anything was added."""
        scale = 1.0 / (2.0**FRACTION_BITS * self.total_weight)
        return {name: (total.double() * scale).float() for name, total in self._sums.items()}
