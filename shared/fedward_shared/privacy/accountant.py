"""ε of a sequence of mechanisms, by composing privacy-loss distributions (dp-accounting).

ε is composed, never added. The discretisation is pessimistic: what is reported is never below the
true value. Neighbouring datasets differ by adding or removing one privacy unit.

Where no PLD can be computed in reasonable time and memory, for an ε beyond any use or steps without
number, the Rényi bound is reported (Mironov 2017): looser, and never below the true value either.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

import dp_accounting
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.plan import Event

MAX_NOISE = 1e4
RENYI_FROM_EPSILON = 100.0
RENYI_FROM_STEPS = 100_000
TOLERANCE = 1e-3

RELATION = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE

# It warns of each Rényi order that it leaves out, which makes a bound looser and never wrong.
logging.getLogger("absl").setLevel(logging.ERROR)

Mechanisms = tuple[tuple[float, float, int], ...]
"""(sampling rate, noise multiplier, steps), one entry per distinct pair, sorted."""


def epsilon(events: Iterable[Event], delta: float) -> float:
    """ε at `delta` of all `events` together; 0 for none, infinity if one of them was not private."""
    mechanisms = _mechanisms(events, delta)
    return math.inf if mechanisms is None else _compose(mechanisms, delta)


def filtered_epsilon(events: Iterable[Event], delta: float) -> float:
    """ε at `delta` of `events` by the Rényi bound, whose sum may be stopped at any limit.

    Composition of privacy-loss distributions takes mechanisms that were fixed beforehand. Where a
    later study is chosen in the light of earlier results, a Rényi filter still bounds the whole: going
    on for as long as this is at most ε gives (ε, δ) (Feldman and Zrnic 2021; Lécuyer 2021).
    """
    mechanisms = _mechanisms(events, delta)
    return math.inf if mechanisms is None else _renyi(mechanisms, delta)


def _mechanisms(events: Iterable[Event], delta: float) -> Mechanisms | None:
    """Equal mechanisms drawn together; None if one was not private or is not known."""
    if not 0 < delta < 1:
        raise PrivacyError(f"δ is {delta}, expected 0 < δ < 1")
    steps: Counter[tuple[float, float]] = Counter()
    for event in events:
        if event.mechanism in ("none", "unknown"):
            return None
        steps[(event.sampling_rate, event.noise_multiplier)] += event.steps
    return tuple(sorted((*pair, count) for pair, count in steps.items()))


@lru_cache(maxsize=4096)
def _renyi(mechanisms: Mechanisms, delta: float) -> float:
    if not mechanisms:
        return 0.0
    return _epsilon_by(RdpAccountant(neighboring_relation=RELATION), mechanisms, delta)


@lru_cache(maxsize=4096)
def _compose(mechanisms: Mechanisms, delta: float) -> float:
    if not mechanisms:
        return 0.0
    renyi = _renyi(mechanisms, delta)
    steps = sum(count for _, _, count in mechanisms)
    if renyi >= RENYI_FROM_EPSILON or steps >= RENYI_FROM_STEPS:
        return renyi
    # A privacy loss grows like 1/σ²: a finer grid than its size needs would only cost time.
    smallest = min(noise for _, noise, _ in mechanisms)
    interval = 1e-4 if smallest >= 0.7 else 1e-3
    return _epsilon_by(
        PLDAccountant(RELATION, value_discretization_interval=interval), mechanisms, delta
    )


def _epsilon_by(
    accountant: dp_accounting.PrivacyAccountant, mechanisms: Mechanisms, delta: float
) -> float:
    for sampling_rate, noise_multiplier, count in mechanisms:
        accountant.compose(
            dp_accounting.PoissonSampledDpEvent(
                sampling_rate, dp_accounting.GaussianDpEvent(noise_multiplier)
            ),
            count,
        )
    return float(accountant.get_epsilon(delta))


def noise_for(sampling_rate: float, steps: int, target_epsilon: float, delta: float) -> float:
    """The smallest noise multiplier σ (to 0.1 %) at which `steps` steps cost at most `target_epsilon`.

    Raises PrivacyError for terms that no noise can meet.
    """
    if not (target_epsilon > 0 and math.isfinite(target_epsilon)):
        raise PrivacyError(f"ε is {target_epsilon}, expected a finite number above 0")

    def cost(noise: float) -> float:
        return epsilon([Event("poisson-gaussian", sampling_rate, noise, steps)], delta)

    high = 1.0
    while cost(high) > target_epsilon:
        high *= 2
        if high > MAX_NOISE:
            raise PrivacyError(
                f"no σ up to {MAX_NOISE:g} gives ε ≤ {target_epsilon} at δ = {delta} over {steps} "
                f"steps of q = {sampling_rate}: take fewer steps or a smaller sampling rate"
            )
    low = high / 2
    while cost(low) <= target_epsilon:
        low, high = low / 2, low
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) > target_epsilon else (low, middle)
    return math.ceil(high * 1e4) / 1e4
