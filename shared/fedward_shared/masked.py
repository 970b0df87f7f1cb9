"""What the terms of a charter with masks come to in a round, the same for each site and the coordinator.

An update is one vector: its tensors in order of name, each row after row, every coordinate an integer.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from fedward_shared.charter import Charter
from fedward_shared.names import HEAD_MARK
from fedward_shared.secagg.quantiser import Quantiser, Uniform
from fedward_shared.secagg.ring import Numbers, Ring, ring_for
from fedward_shared.secagg.session import Session
from fedward_shared.tensors import Schema, Tensors


@dataclass(frozen=True)
class MaskedTerms:
    """Of round `number` of a charter that has `secure_aggregation`; `schema` is that of an update."""

    charter: Charter
    number: int
    schema: Schema

    @property
    def precision(self) -> int:
        """Bits of a coordinate."""
        assert self.charter.secure_aggregation is not None
        return self.charter.secure_aggregation.precision

    @cached_property
    def ring(self) -> Ring:
        """One in which the whole cohort's sum cannot overflow."""
        return ring_for(self.charter.total_weight, self.precision)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Coordinates of each tensor, in the order of the vector."""
        return {name: int(np.prod(self.schema[name], dtype=np.int64)) for name in self._names}

    @property
    def _names(self) -> list[str]:
        return sorted(self.schema)

    def quantiser(self, name: str) -> Quantiser:
        """Of the coordinates of the tensor `name`."""
        head, adapter = self.charter.coordinate_bounds(self.number)
        return Quantiser(head if name.startswith(HEAD_MARK) else adapter, self.precision)

    def session(self, attempt: int) -> Session:
        """The secure aggregation of one attempt at the round."""
        masks = self.charter.secure_aggregation
        assert masks is not None
        return Session(
            charter=self.charter.digest,
            round=self.number,
            attempt=attempt,
            keys={party.name: party.public_key for party in self.charter.participants},
            minimum=self.charter.aggregation.minimum_cohort,
            colluding=masks.colluding,
            ring=self.ring,
            count=sum(self.sizes.values()),
        )

    def encode(self, update: Tensors, site: str, randomness: Uniform) -> Numbers:
        """The update of `site` as a vector, times its weight. Raises AdapterError for NaN."""
        weight = self.charter.weight(site)
        return np.concatenate(
            [
                self.quantiser(name).quantise(
                    update[name].numpy().reshape(-1), self.ring, randomness, weight
                )
                for name in self._names
            ]
        )

    def mean(self, total: np.ndarray, sites: tuple[str, ...]) -> Tensors:
        """The weighted mean update of `sites` that the sum of their vectors, `total`, stands for."""
        weight, mean, start = sum(self.charter.weight(site) for site in sites), {}, 0
        for name, size in self.sizes.items():
            part = self.quantiser(name).dequantise(total[start : start + size], weight)
            mean[name] = torch.from_numpy(part).reshape(self.schema[name])
            start += size
        return mean
