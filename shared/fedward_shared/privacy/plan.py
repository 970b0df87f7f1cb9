"""One frozen object for what a private training does and what is claimed of it.

Sampler, clipping, noise, steps and the accounting event come from the same fields, so they cannot
disagree: whoever holds the plan draws its batches from it, takes σ and C from it, and books its event.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from fedward_shared import canonical
from fedward_shared.errors import PrivacyError, StateError
from fedward_shared.privacy.clipping import AdaptiveClipping
from fedward_shared.privacy.unit import UNITS, Unit

if TYPE_CHECKING:
    from fedward_shared.privacy.randomness import Randomness

Mechanism = Literal[
    "poisson-gaussian",
    "gaussian",
    "laplace",
    "randomized-response",
    "intersection",
    "none",
    "unknown",
]
MECHANISMS: tuple[Mechanism, ...] = get_args(Mechanism)
BOUNDED: tuple[Mechanism, ...] = (
    "poisson-gaussian",
    "gaussian",
    "laplace",
    "randomized-response",
)
"""The mechanisms whose ε has a bound."""

EVENT_VERSION = 2
SELECTION_VERSION = 3
"""Of a selection's text: an older release refuses it, and does not take it for one trial."""
LARGEST_MEAN = 1e6
CORRELATED_STEPS = 256
"""At most so many steps of a round have correlated noise: its strategy is found in a second or two."""


@dataclass(frozen=True)
class Event:
    """What a mechanism did to the data, `steps` times, in the terms its accounting needs.

    `poisson-gaussian`: each privacy unit enters with probability `sampling_rate`, the sum of the
    clipped contributions gets Gaussian noise of `noise_multiplier` × the clipping norm (Abadi et al.
    2016). `gaussian` and `laplace`: a number or a vector that one unit moves by at most 1, by the
    Euclidean norm and by the sum of absolute values, is released with Gaussian noise of deviation, or
    Laplace noise of scale, `noise_multiplier`; all units enter, so `sampling_rate` is 1.
    `randomized-response`: of each unit one answer is released that is almost as likely whatever the unit
    is, up to a factor of exp(1 / `noise_multiplier`). `intersection`: another party was told which of
    its own records are here too; no ε covers that, so it adds nothing to one, and is booked to be
    counted. `none`: the data was used without privacy,
    `unknown`: nobody knows what was done; no number bounds either.

    With `best_of` all `steps` were taken in each of a random number of independent trials, and nothing
    but the best one was released (`selection.py`): mean and shape of that number.

    Two datasets are neighbours if one has a `unit` more. Where a vector or an answer is released for
    each unit, who the units are is known, and one more is one that says something instead of nothing.
    """

    mechanism: Mechanism
    sampling_rate: float
    noise_multiplier: float
    steps: int
    unit: Unit = "record"
    best_of: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Raises PrivacyError for numbers that describe no mechanism."""
        if self.best_of is not None:
            self._check_selection(*self.best_of)
        if self.mechanism not in MECHANISMS or self.unit not in UNITS:
            raise PrivacyError(
                f"{self.mechanism} for one {self.unit}: this release knows no such event"
            )
        if not 0 < self.sampling_rate <= 1:
            raise PrivacyError(f"sampling_rate is {self.sampling_rate}, expected 0 < q ≤ 1")
        if type(self.steps) is not int or self.steps < 1:
            raise PrivacyError(f"steps is {self.steps}, expected a whole number from 1 on")
        if self.bounded and not (
            self.noise_multiplier > 0 and math.isfinite(self.noise_multiplier)
        ):
            raise PrivacyError(
                f"noise_multiplier is {self.noise_multiplier}, expected a finite number above 0"
            )
        if self.bounded and self.mechanism != "poisson-gaussian" and self.sampling_rate != 1:
            raise PrivacyError(
                f"sampling_rate is {self.sampling_rate}: {self.mechanism} takes all units"
            )

    def _check_selection(self, mean: float, shape: float) -> None:
        if self.mechanism != "poisson-gaussian" or not (1 < mean <= LARGEST_MEAN and shape >= 0):
            raise PrivacyError(
                f"best of {mean} {self.mechanism} on average, shape {shape}: expected trials of DP-SGD, "
                f"more than 1 on average and at most {LARGEST_MEAN:g}, and a shape of 0 or more"
            )

    @property
    def bounded(self) -> bool:
        """Whether any ε bounds it."""
        return self.mechanism in BOUNDED

    @property
    def counted(self) -> bool:
        """Whether it counts in an ε at all."""
        return self.mechanism != "intersection"

    def as_text(self) -> str:
        """The canonical JSON that is stored, chained and logged."""
        content = {
            "mechanism": self.mechanism,
            "noise_multiplier": repr(self.noise_multiplier),
            "sampling_rate": repr(self.sampling_rate),
            "steps": self.steps,
            "unit": self.unit,
            "version": EVENT_VERSION if self.best_of is None else SELECTION_VERSION,
        }
        if self.best_of is not None:
            content |= {"best_of": [repr(number) for number in self.best_of]}
        return canonical.encode(content).decode()

    @classmethod
    @lru_cache(maxsize=4096)
    def from_text(cls, text: str) -> "Event":
        """What `as_text` has written, in these versions or in the first, which had no other unit than
        the record. Raises StateError for anything else.
        """
        try:
            content = dict(canonical.decode(text.encode()))
            event = cls(
                content["mechanism"],
                float(content["sampling_rate"]),
                float(content["noise_multiplier"]),
                content["steps"],
                content.get("unit", "record"),
                _two(*content["best_of"]) if "best_of" in content else None,
            )
            written = (event.as_text(), event._as_first_text())
        except (LookupError, ValueError, TypeError, RecursionError, PrivacyError) as error:
            raise StateError(
                f"not an event that this release can account for: {text[:200]}"
            ) from error
        if text not in written:
            raise StateError(f"an event that is not written as it should be: {text[:200]}")
        return event

    def _as_first_text(self) -> str:
        content = canonical.decode(self.as_text().encode())
        del content["unit"], content["version"]
        first = self.unit == "record" and self.mechanism in ("poisson-gaussian", "none", "unknown")
        first = first and self.best_of is None
        return canonical.encode(content).decode() if first else ""


def _two(mean: str, shape: str) -> tuple[float, float]:
    return float(mean), float(shape)


UNKNOWN = Event("unknown", 1.0, 0.0, 1)
UNPROTECTED = Event("none", 1.0, 0.0, 1)
INTERSECTION = Event("intersection", 1.0, 0.0, 1)


@dataclass(frozen=True)
class TrainingPlan:
    """DP-SGD on one site for one round, or plain SGD where both sides agreed to no privacy.

    `expected_batch` is the public number that sums are divided by: sampling rate × the number of
    units which the charter declares for the site. The true number of units stays at the site.

    Head and adapters are clipped apart, so that neither crowds out the other: of the square of
    `clipping_norm` the adapters get `adapter_share` and the head the rest. A part that moves alone
    gets all of it. A unit's whole contribution is never longer than `clipping_norm`: where the unit is
    a patient or customer, that is the sum of the gradients of all their records, or of
    `records_per_unit` that are drawn anew for each training.

    With more than one of `bands` the noise of a round's steps is correlated (`matrix.py`): the units are
    in as many parts, a step samples from one of them with as many times the sampling rate, and as many
    fewer steps are booked.

    With `distributed` noise the site adds none in training, which is of one step: its share is added
    under the masks (`masked.py`), and what is booked is the noise of the sum over the sites.

    With `adaptive` clipping these norms are where the parts begin, and `noise_multiplier` is that of the
    gradients and of the counts that move the norms together.
    """

    mechanism: Literal["dp-sgd", "none"]
    sampling_rate: float
    noise_multiplier: float
    clipping_norm: float
    steps: int
    expected_batch: float
    adapter_share: float
    unit: Unit = "record"
    records_per_unit: int | None = None
    adaptive: AdaptiveClipping | None = None
    bands: int = 1
    noise: Literal["local", "distributed"] = "local"

    def __post_init__(self) -> None:
        """Raises PrivacyError for numbers that describe no mechanism."""
        if not 0 < self.sampling_rate <= 1:
            raise PrivacyError(f"sampling_rate is {self.sampling_rate}, expected 0 < q ≤ 1")
        if self.records_per_unit is not None and self.records_per_unit < 1:
            raise PrivacyError(f"records_per_unit is {self.records_per_unit}, expected at least 1")
        if self.steps < 1:
            raise PrivacyError(f"steps is {self.steps}, expected at least 1")
        if not self.expected_batch > 0:
            raise PrivacyError(f"expected_batch is {self.expected_batch}, expected more than 0")
        if not 0 < self.adapter_share < 1:
            raise PrivacyError(f"adapter_share is {self.adapter_share}, expected 0 < share < 1")
        if self.bands != 1:
            self._check_bands()
        if self.noise == "distributed" and (
            self.steps != 1 or self.adaptive is not None or not self.private
        ):
            raise PrivacyError(
                "noise is distributed: only for DP-SGD of one step a round, with a fixed clipping norm"
            )
        if self.mechanism == "dp-sgd":
            for name in ("noise_multiplier", "clipping_norm"):
                value = getattr(self, name)
                if not (value > 0 and math.isfinite(value)):
                    raise PrivacyError(f"{name} is {value}, expected a finite number above 0")

    def _check_bands(self) -> None:
        if self.bands < 1 or self.steps % self.bands or self.steps > CORRELATED_STEPS:
            raise PrivacyError(
                f"bands is {self.bands}, expected a divisor of the steps of a round, which are "
                f"{self.steps}, and may be {CORRELATED_STEPS}"
            )
        if self.bands * self.sampling_rate > 1:
            raise PrivacyError(
                f"bands is {self.bands}, expected at most 1/q = {1 / self.sampling_rate:g}"
            )
        if self.adaptive is not None or not self.private:
            raise PrivacyError(
                f"bands is {self.bands}: correlated is noise for clipping norms that stay as they are"
            )

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
    def gradient_noise(self) -> float:
        """Deviation of the noise in a part's sum of gradients, in lengths of the whole contribution."""
        if not self.private or self.noise == "distributed":
            return 0.0
        if self.adaptive is None:
            return self.noise_multiplier
        return self.adaptive.gradient_noise(self.noise_multiplier)

    @property
    def event(self) -> Event:
        """What a ledger books for this plan."""
        if self.private:
            rate, steps = self.bands * self.sampling_rate, self.steps // self.bands
            return Event("poisson-gaussian", rate, self.noise_multiplier, steps, self.unit)
        return Event("none", self.sampling_rate, 0.0, self.steps, self.unit)

    def batches(self, units: int, randomness: "Randomness") -> Iterator[np.ndarray]:
        """`steps` Poisson samples of `range(units)`: each unit independently, with `sampling_rate`.

        With several `bands` each unit is first put into one part at random, and step t samples from part
        t mod `bands`. A sample may be empty; its noisy step is taken all the same.
        """
        part = np.zeros(units)
        if self.bands > 1:
            part = np.floor(randomness.uniform(units) * self.bands)
        for step in range(self.steps):
            sampled = randomness.uniform(units) < self.bands * self.sampling_rate
            yield np.flatnonzero(sampled & (part == step % self.bands))
