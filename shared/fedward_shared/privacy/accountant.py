"""ε of a sequence of mechanisms, by composing privacy-loss distributions (`composition.py`).

ε is composed, never added. The discretisation is pessimistic: what is reported is never below the
true value. Neighbouring datasets differ by adding or removing one privacy unit.

What composes is imported where there is something to compose: dp-accounting takes a second, and most
processes that read a charter or open a ledger never ask for an ε.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.plan import Event

if TYPE_CHECKING:
    from fedward_shared.privacy.composition import Kind, Mechanisms

MAX_NOISE = 1e4
TOLERANCE = 1e-3


def epsilon(events: Iterable[Event], delta: float) -> float:
    """ε at `delta` of all `events` together; 0 for none, infinity if one of them was not private.

    Raises PrivacyError for a δ that is none, and for events that protect different units.
    """
    mechanisms = _mechanisms(events, delta)
    if not mechanisms:
        return math.inf if mechanisms is None else 0.0
    from fedward_shared.privacy import composition

    return composition.epsilon(mechanisms, delta)


def filtered_epsilon(events: Iterable[Event], delta: float) -> float:
    """ε at `delta` of `events` by the Rényi bound, whose sum may be stopped at any limit.

    Composition of privacy-loss distributions takes mechanisms that were fixed beforehand. Where a
    later study is chosen in the light of earlier results, a Rényi filter still bounds the whole: going
    on for as long as this is at most ε gives (ε, δ) (Feldman and Zrnic 2021; Lécuyer 2021).
    Raises as `epsilon` does.
    """
    mechanisms = _mechanisms(events, delta)
    if not mechanisms:
        return math.inf if mechanisms is None else 0.0
    from fedward_shared.privacy import composition

    return composition.renyi(mechanisms, delta)


def _mechanisms(events: Iterable[Event], delta: float) -> "Mechanisms | None":
    """Equal mechanisms drawn together, but for what no ε covers; None if one was not private or is not
    known."""
    counts = Counter(event for event in events if event.counted)
    if not counts:
        return ()
    if not 0 < delta < 1:
        raise PrivacyError(f"δ is {delta}, expected 0 < δ < 1")
    if not all(event.bounded for event in counts):
        return None
    units = sorted({event.unit for event in counts})
    if len(units) > 1:
        raise PrivacyError(
            f"what protects one {units[0]} and what protects one {units[1]} have no ε together: an "
            "account has one privacy unit, and keeps it"
        )
    steps: Counter[Kind] = Counter()
    for event, times in counts.items():
        kind = (event.mechanism, event.sampling_rate, event.noise_multiplier)
        if event.best_of is None:
            steps[*kind, ()] += times * event.steps
        else:
            steps[*kind, (event.steps, *event.best_of)] += times
    return tuple(sorted(steps.items()))


def noise_for(
    sampling_rate: float,
    steps: int,
    target_epsilon: float,
    delta: float,
    near: float = 1.0,
    tolerance: float = TOLERANCE,
) -> float:
    """The smallest noise multiplier σ (to 0.1 %) at which `steps` steps cost at most `target_epsilon`.

    It is found the sooner the closer it is to `near`, and the larger the relative `tolerance`. Raises
    PrivacyError for terms that no noise can meet.
    """
    if not (target_epsilon > 0 and math.isfinite(target_epsilon)):
        raise PrivacyError(f"ε is {target_epsilon}, expected a finite number above 0")

    def cost(noise: float) -> float:
        return epsilon([Event("poisson-gaussian", sampling_rate, noise, steps)], delta)

    high = near
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
    while high - low > tolerance * high:
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) > target_epsilon else (low, middle)
    return math.ceil(high * 1e4) / 1e4
