"""A random subspace for each round: which numbers of each tensor train in it, and travel.

Structured updates by a random mask (Konečný et al. 2016, "Federated Learning: Strategies for Improving
Communication Efficiency"). Which numbers these are follows from the charter's digest and the round, so
everybody knows and no index travels; no record has a part in the choice, so it costs no privacy. What a
record would choose, such as the largest numbers of an update, is a release and is not on offer.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedward_shared import names
from fedward_shared.charter import Charter
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tensors import Schema, Tensors

LABEL = "fedward/sketch/1"


def of(charter: Charter, number: int) -> "Sketch | None":
    """Which numbers train in round `number` of the charter; None for all."""
    share = charter.adapter.sketch
    return Sketch(share, charter.digest, number) if share < 1 else None


@dataclass(frozen=True)
class Sketch:
    """`share` of each tensor's numbers, one at least, drawn for a round of a charter."""

    share: float
    charter: str
    round: int

    def schema(self, full: Schema) -> Schema:
        """What travels of tensors with the schema `full`: a row of numbers for each."""
        return {name: (names.sketched(shape, self.share),) for name, shape in full.items()}

    def taken(self, values: Tensors) -> Tensors:
        """The numbers of the subspace, in the order in which they lie in each tensor."""
        return {
            name: tensor.flatten()[torch.from_numpy(self._places(name, tuple(tensor.shape)))]
            for name, tensor in values.items()
        }

    def spread(self, rows: Tensors, full: Schema) -> Tensors:
        """Tensors with the schema `full`, zero outside the subspace: `taken` gives `rows` back."""
        found = {}
        for name, row in rows.items():
            flat = torch.zeros(math.prod(full[name]), dtype=row.dtype)
            flat[torch.from_numpy(self._places(name, full[name]))] = row
            found[name] = flat.view(full[name])
        return found

    def masks(self, full: Mapping[str, tuple[int, ...]]) -> Tensors:
        """1 in the subspace and 0 outside, with the schema `full`."""
        ones = {name: torch.ones(count) for name, (count,) in self.schema(dict(full)).items()}
        return self.spread(ones, dict(full))

    def _places(self, name: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
        seed = f"{LABEL} {self.charter} {self.round} {name}".encode()
        drawn = Randomness(hashlib.sha256(seed).digest()).uniform(math.prod(shape))
        return np.sort(np.argsort(drawn, kind="stable")[: names.sketched(shape, self.share)])
