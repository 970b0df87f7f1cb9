"""One frozen object for what a private training does and what is claimed of it.

Sampler, clipping, noise, steps and the accounting event come from the same fields, so they cannot
disagree: whoever holds the plan draws its batches from it, takes σ and C from it, and books its event.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedward_shared import canonical
from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.randomness import Randomness


@dataclass(frozen=True)
class Event:
    """What a mechanism did to the data, in the terms its accounting needs.

    `poisson-gaussian`: `steps` times, each privacy unit enters with probability `sampling_rate`, the
    sum of the clipped contributions gets Gaussian noise of `noise_multiplier` × the clipping norm
    (Abadi et al. 2016). `none`: the data was used without privacy, `unknown`: nobody knows what was
    done; no number bounds either.
    """

    mechanism: Literal["poisson-gaussian", "none", "unknown"]
    sampling_rate: float
    noise_multiplier: float
    steps: int

    def as_text(self) -> str:
        """The canonical JSON that is stored, chained and logged."""
        content = {
            "mechanism": self.mechanism,
            "sampling_rate": repr(self.sampling_rate),
            "noise_multiplier": repr(self.noise_multiplier),
            "steps": self.steps,
        }
        return canonical.encode(content).decode()

    @classmethod
    def from_text(cls, text: str) -> "Event":
        """What `as_text` has written."""
        content = canonical.decode(text.encode())
        return cls(
            content["mechanism"],
            float(content["sampling_rate"]),
            float(content["noise_multiplier"]),
            int(content["steps"]),
        )


UNKNOWN = Event("unknown", 1.0, 0.0, 1)


@dataclass(frozen=True)
class TrainingPlan:
    """DP-SGD on one site for one round, or plain SGD where both sides agreed to no privacy.

    `expected_batch` is the public number that sums are divided by: sampling rate × the number of
    units which the charter declares for the site. The true number of units stays at the site.

    Head and adapters are clipped apart, so that neither crowds out the other: of the square of
    `clipping_norm` the adapters get `adapter_share` and the head the rest. A part that moves alone
    gets all of it. A unit's whole contribution is never longer than `clipping_norm`.
    """

    mechanism: Literal["dp-sgd", "none"]
    sampling_rate: float
    noise_multiplier: float
    clipping_norm: float
    steps: int
    expected_batch: float
    adapter_share: float

    def __post_init__(self) -> None:
        """Raises PrivacyError for numbers that describe no mechanism."""
        if not 0 < self.sampling_rate <= 1:
            raise PrivacyError(f"sampling_rate is {self.sampling_rate}, expected 0 < q ≤ 1")
        if self.steps < 1:
            raise PrivacyError(f"steps is {self.steps}, expected at least 1")
        if not self.expected_batch > 0:
            raise PrivacyError(f"expected_batch is {self.expected_batch}, expected more than 0")
        if not 0 < self.adapter_share < 1:
            raise PrivacyError(f"adapter_share is {self.adapter_share}, expected 0 < share < 1")
        if self.mechanism == "dp-sgd":
            for name in ("noise_multiplier", "clipping_norm"):
                value = getattr(self, name)
                if not (value > 0 and math.isfinite(value)):
                    raise PrivacyError(f"{name} is {value}, expected a finite number above 0")

    @property
    def private(self) -> bool:
        """Whether clipping and noise are applied."""
        return self.mechanism == "dp-sgd"

    def clipping_norms(self, head: bool, adapter: bool) -> tuple[float, float]:
        """To what head and adapters are clipped in a round that moves the one, the other or both."""
        if not (head and adapter):
            return self.clipping_norm, self.clipping_norm
        return (
            self.clipping_norm * math.sqrt(1 - self.adapter_share),
            self.clipping_norm * math.sqrt(self.adapter_share),
        )

    @property
    def event(self) -> Event:
        """What a ledger books for this plan."""
        if self.private:
            return Event("poisson-gaussian", self.sampling_rate, self.noise_multiplier, self.steps)
        return Event("none", self.sampling_rate, 0.0, self.steps)

    def batches(self, units: int, randomness: Randomness) -> Iterator[np.ndarray]:
        """`steps` Poisson samples of `range(units)`: each unit independently, with `sampling_rate`.

        A sample may be empty; its noisy step is taken all the same.
        """
        for _ in range(self.steps):
            yield np.flatnonzero(randomness.uniform(units) < self.sampling_rate)
