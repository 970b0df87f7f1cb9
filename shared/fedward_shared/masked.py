"""What the terms of a charter with masks come to in a round, the same for each site and the coordinator.

An update is one vector: its tensors in order of name, each row after row, every coordinate an integer.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedward_shared.charter import Charter
from fedward_shared.names import HEAD_MARK
from fedward_shared.privacy.discrete import Words
from fedward_shared.privacy.distributed import DistributedNoise, calibrated
from fedward_shared.secagg.quantiser import Quantiser, Uniform, dequantise
from fedward_shared.secagg.ring import Numbers, Ring, largest, ring_for
from fedward_shared.secagg.session import Session
from fedward_shared.tensors import Arrays, Schema, Tensors


class Draws(Uniform, Words, Protocol):
    """What `fedward_shared.privacy.randomness.Randomness` is here."""


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
        return ring_for(self.charter.masked_weight, self.precision)

    @cached_property
    def noise(self) -> DistributedNoise | None:
        """A site's share of the noise, where the sites make it together.

        Raises PrivacyError where the charter's precision has no room for it.
        """
        charter, masks = self.charter, self.charter.secure_aggregation
        assert masks is not None
        if masks.noise == "local":
            return None
        signal = charter.privacy.sampling_rate * max(p.records for p in charter.participants)
        if masks.bound is not None:
            weight = max(charter.weight(p.name) for p in charter.participants)
            stated = (masks.bound * weight / self._unit(name) for name in self._names)
            signal = min(signal, max(stated))
        honest = charter.aggregation.minimum_cohort - masks.colluding
        return calibrated(
            charter.privacy.noise_multiplier,
            honest,
            sum(self.sizes.values()),
            largest(self.precision),
            signal,
        )

    def _unit(self, name: str) -> float:
        """By how much, at most, a gradient as long as the clipping norm moves a coordinate of the tensor
        `name` in the weighted sum of all updates.
        """
        training, privacy = self.charter.training, self.charter.privacy
        rate = training.learning_rate
        if name.startswith(HEAD_MARK):
            rate = training.head_learning_rate or rate
        weight = max(self.charter.weight(p.name) / p.records for p in self.charter.participants)
        return rate * privacy.clipping_norm * weight / privacy.sampling_rate

    def step(self, name: str) -> float:
        """What 1 in the ring is in the weighted sum of updates of the tensor `name`."""
        if self.noise is None:
            return self.quantiser(name).step
        return self._unit(name) / self.noise.scale

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

    def encode(self, update: Tensors | Arrays, site: str, randomness: Draws) -> Numbers:
        """The update of `site` as a vector, times its weight, with its share of noise that sites make
        together. Raises AdapterError for NaN.
        """
        weight = self.charter.weight(site)
        return np.concatenate(
            [
                self._numbers(name, np.asarray(update[name]).reshape(-1), weight, randomness)
                for name in self._names
            ]
        )

    def _numbers(
        self, name: str, values: NDArray[np.floating], weight: int, randomness: Draws
    ) -> Numbers:
        if self.noise is None:
            return self.quantiser(name).quantise(values, self.ring, randomness, weight)
        scaled = values.astype(np.float64) * (weight / self.step(name))
        return self.ring.from_signed(self.noise.encode(scaled, largest(self.precision), randomness))

    def mean(self, total: np.ndarray, sites: tuple[str, ...]) -> Tensors:
        """The weighted mean update of `sites` that the sum of their vectors, `total`, stands for."""
        import torch  # the coordinator's alone: a site's daemon makes no tensors of vectors

        weight, mean, start = sum(self.charter.weight(site) for site in sites), {}, 0
        for name, size in self.sizes.items():
            part = dequantise(total[start : start + size], self.step(name) / weight)
            mean[name] = torch.from_numpy(part).reshape(self.schema[name])
            start += size
        return mean
