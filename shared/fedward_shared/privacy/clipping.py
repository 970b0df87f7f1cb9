"""A clipping norm that follows a quantile of the gradients' lengths (Andrew et al. 2021, "Differentially
Private Learning with Adaptive Clipping").

Each step also releases how many of the sampled units were shorter than the norm, as the sum of ±1/2 of
each, which one unit moves by 1/2. Sum of gradients and counts are one Gaussian mechanism: of 1/z², z the
noise multiplier that is booked, the counts take a share and the gradients the rest.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedward_shared import canonical
from fedward_shared.errors import PrivacyError

RANGE = 1e6
"""How far a norm may go from where it began, in either direction."""


@dataclass(frozen=True)
class AdaptiveClipping:
    """The norm at which a part `quantile` of the units is not clipped.

    A step multiplies it by at most exp(± `learning_rate`). `count_share` is the counts' part of 1/z².
    """

    quantile: float
    learning_rate: float
    count_share: float

    def __post_init__(self) -> None:
        """Raises PrivacyError for numbers that describe no mechanism."""
        for name in ("quantile", "count_share"):
            if not 0 < getattr(self, name) < 1:
                raise PrivacyError(f"{name} is {getattr(self, name)}, expected 0 < {name} < 1")
        if not 0 < self.learning_rate <= 1:
            raise PrivacyError(f"learning_rate is {self.learning_rate}, expected 0 < η ≤ 1")

    def gradient_noise(self, noise_multiplier: float) -> float:
        """z_Δ: the noise multiplier of the gradients where `noise_multiplier` is booked."""
        return noise_multiplier / math.sqrt(1 - self.count_share)

    def count_deviation(self, noise_multiplier: float, parts: int) -> float:
        """σ_b: the deviation, in units, of the noise in each of `parts` counts.

        With z_Δ it gives the booked z = (z_Δ⁻² + parts · (2σ_b)⁻²)^(-1/2).
        """
        return noise_multiplier * math.sqrt(parts / self.count_share) / 2

    def moved(self, norm: float, start: float, count: float, expected_batch: float) -> float:
        """The next step's norm after `norm`; both stay within RANGE of `start`.

        `count` is the noisy sum of +1/2 for each unit that was not clipped and -1/2 for each that was.
        """
        unclipped = min(1.0, max(0.0, 0.5 + count / expected_batch))
        found = norm * math.exp(-self.learning_rate * (unclipped - self.quantile))
        return min(start * RANGE, max(start / RANGE, found))


PARTS = ("head", "adapter")
MAX_TEXT = 200


def norms_text(norms: Mapping[str, float]) -> str:
    """The norm of each part as it is kept and handed on; empty where none moves."""
    content = {name: repr(float(norm)) for name, norm in norms.items()}
    return canonical.encode(content).decode() if content else ""


def read_norms(text: str) -> dict[str, float]:
    """What `norms_text` has written. Raises PrivacyError for anything else."""
    if not text:
        return {}
    found: dict[str, float] = {}
    try:
        found = {name: float(norm) for name, norm in canonical.decode(text.encode()).items()}
        good = norms_text(found) == text and len(text) <= MAX_TEXT
    except (ValueError, TypeError, AttributeError, RecursionError):
        good = False
    if not (good and all(name in PARTS and 0 < norm < math.inf for name, norm in found.items())):
        raise PrivacyError(f"not the clipping norms of a round: {text[:MAX_TEXT]}")
    return found
