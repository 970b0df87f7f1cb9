"""What it costs to train with many settings on private data and to release the best one alone.

Papernot and Steinke 2022, "Hyperparameter Tuning with Renyi Differential Privacy" (arXiv:2110.03620):
if the number of trials is random, their settings are drawn independently of the data and of each other,
and nothing leaves but the winner, the whole costs little more than one trial, however many there were.
How many there were stays secret too. A search that learns from its trials has no such bound: each is
composed with the others, as whatever a ledger books.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_delta, compute_epsilon
from scipy import optimize, stats

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import composition
from fedward_shared.privacy.plan import LARGEST_MEAN, Event
from fedward_shared.privacy.randomness import Randomness

SMALLEST = 1e-12
"""A divergence below this is taken as this: dp-accounting's δ cannot be computed of less."""


@dataclass(frozen=True)
class Repetitions:
    """The distribution of the number of trials K, of which `mean` is the expectation.

    `shape` η: 1 is the geometric distribution, 0 the logarithmic one, between and above them the
    truncated negative binomial (definition 1; at least one trial), infinity Poisson's, whose K may be 0.
    The smaller η, the less a selection costs and the more K varies.
    """

    mean: float
    shape: float = 1.0

    def __post_init__(self) -> None:
        """Raises PrivacyError for numbers that describe no distribution."""
        if not 1 < self.mean <= LARGEST_MEAN:
            raise PrivacyError(
                f"mean is {self.mean}, expected more than 1 trial and at most {LARGEST_MEAN:g}"
            )
        if not self.shape >= 0:
            raise PrivacyError(f"shape is {self.shape}, expected 0 or more")

    @property
    def poisson(self) -> bool:
        return math.isinf(self.shape)

    @cached_property
    def gamma(self) -> float:
        """γ of the truncated negative binomial with this mean, in (0, 1)."""

        def excess(log_gamma: float) -> float:
            return math.log(_mean(math.exp(log_gamma), self.shape) / self.mean)

        return math.exp(optimize.brentq(excess, -40.0, -1e-12, xtol=1e-15, rtol=1e-14))

    def draw(self, randomness: Randomness) -> int:
        """K, from 53 random bits: where they fall in the distribution function."""
        [place] = randomness.uniform(1)
        if self.poisson:
            return int(stats.poisson.ppf(place, self.mean))
        if self.shape == 0:
            return max(1, int(stats.logser.ppf(place, 1 - self.gamma)))
        none = self.gamma**self.shape
        found = stats.nbinom.ppf(none + place * (1 - none), self.shape, self.gamma)
        return max(1, int(found))


def _mean(gamma: float, shape: float) -> float:
    odds = (1 - gamma) / gamma
    if shape == 0:
        return odds / -math.log(gamma)
    return shape * odds / -math.expm1(shape * math.log(gamma))


@dataclass(frozen=True)
class Selection:
    """The best of `repetitions` independent trials, each of which is `event`."""

    event: Event
    repetitions: Repetitions

    def __post_init__(self) -> None:
        """Raises PrivacyError for trials that are selections themselves."""
        if self.event.best_of is not None:
            raise PrivacyError("a trial that is itself a selection has no bound here")

    @property
    def booked(self) -> Event:
        """What a ledger books for the whole. Raises PrivacyError for other trials than DP-SGD."""
        return replace(self.event, best_of=(self.repetitions.mean, self.repetitions.shape))


def epsilon(selection: Selection, delta: float) -> float:
    """ε at `delta` of all trials together, if nothing but the winner is released.

    Infinite for trials without a bound of their own. Raises PrivacyError for a δ that is none.
    """
    if not 0 < delta < 1:
        raise PrivacyError(f"δ is {delta}, expected 0 < δ < 1")
    event = selection.event
    if not event.bounded:
        return math.inf
    one_A = event.steps * composition.divergences(
        (event.mechanism, event.sampling_rate, event.noise_multiplier, ())
    )
    order_A = np.asarray(RdpAccountant().orders)
    whole_A = divergences(one_A, selection.repetitions, order_A)
    known = np.isfinite(whole_A)
    if not known.any():
        return math.inf
    return float(compute_epsilon(order_A[known], whole_A[known], delta)[0])


def divergences(one_A: np.ndarray, repetitions: Repetitions, order_A: np.ndarray) -> np.ndarray:
    """Rényi divergence of the selection at each order, from that of one trial; infinity where unknown.

    Theorem 2 for the truncated negative binomial, with the best of the orders as its λ̂; theorem 6 for
    Poisson, with the δ̂ that one trial has at its ε̂ = log(1 + 1/(λ - 1)).
    """
    above = order_A > 1
    gap_A = np.where(above, order_A - 1, np.nan)
    chosen_A = math.log(repetitions.mean) / gap_A
    if repetitions.poisson:
        larger_A = np.maximum(one_A, SMALLEST)
        delta_A = [
            compute_delta(order_A, larger_A, math.log1p(1 / gap))[0] if gap > 0 else math.nan
            for gap in gap_A
        ]
        more_A = repetitions.mean * np.asarray(delta_A)
    else:
        shape, gamma = repetitions.shape, repetitions.gamma
        other_A = (1 - 1 / order_A) * one_A - math.log(gamma) / order_A
        more_A = np.full_like(chosen_A, (1 + shape) * np.min(other_A[order_A >= 1]))
    return np.where(above, one_A + more_A + chosen_A, np.inf)
