"""Which noise a vertical study needs for an ε, and how the ε is best divided."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
from fedward_shared.vertical.terms import EveryBatchTerms, OnceTerms

ANSWERING = 0.8
"""The part of a passive party's ε that its answers take; its scorer learns with what is left, which is
more than a fifth, since ε is composed and not added."""
ROUNDING = 1e-3
"""The part of an ε that the accountant's grid may add to it."""
MOST_CELLS = 16
COUNT_NOISE, LEAST_COUNT_NOISE = 60.0, 10.0
"""Of the counts of scores, at ε = 1 and at any: little of the cost, and small beside thousands."""
MOST_SAMPLED, BATCH_OF_ROOT = 0.1, 8.0
FEW, FEWEST_STEPS, STEPS_GROW = 6500, 60, 0.75
"""Of a scorer: its batch has so many times the root of the records, and at most that part of them; its
steps are so many for `FEW` records, and grow with that power of them. Found on loans and census."""
TOLERANCE = 1e-3
MAX_NOISE = 1e4


def once(
    epsilon: float, delta: float, records: int = FEW, classes: int = 2, predictions: int = 0
) -> OnceTerms:
    """Terms under which each party spends at most `epsilon`, so many predictions included, where about
    so many records of so many classes train. Raises PrivacyError where none can be.

    The scorer's batches grow with the root of the records, and its steps nearly with the records: the
    noise is the same however many there are, and more of them afford more steps.

    The more an answer costs, the finer it may be: with K cells it is the true one with probability
    e^ε / (e^ε + K - 1), and at K = e^(ε/2) hardly ever another.
    """
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise PrivacyError(f"ε is {epsilon}, expected a finite number above 0")
    answering = _one_of(1 + predictions, ANSWERING * epsilon, delta)
    finest = min(MOST_CELLS, max(2, round(math.exp(min(answering, 20) / 2))))
    found: dict[str, Any] = {
        "epsilon": epsilon,
        "delta": delta,
        "label_epsilon": (1 - ROUNDING) * epsilon,
        "cell_epsilon": answering,
        "cells": finest if classes == 2 else classes,
        "sampling_rate": min(MOST_SAMPLED, BATCH_OF_ROOT / math.sqrt(max(1, records))),
        "steps": max(FEWEST_STEPS, round(FEWEST_STEPS * (records / FEW) ** STEPS_GROW)),
        "count_noise": max(LEAST_COUNT_NOISE, COUNT_NOISE / epsilon),
    }
    unchecked = OnceTerms.model_construct(None, **found)

    def events(noise: float) -> Sequence[Event]:
        terms = unchecked.model_copy(update={"noise_multiplier": noise})
        return [*terms.passive_events(1), *predictions * [terms.answer]]

    noise = _least_noise(events, epsilon, delta)
    return OnceTerms.model_validate({**found, "noise_multiplier": noise})


def every_batch(epsilon: float, delta: float, epochs: int, predictions: int = 0) -> EveryBatchTerms:
    """Terms under which each party spends at most `epsilon`, so many predictions included. Raises
    PrivacyError where none can be."""

    def events(noise: float) -> Sequence[Event]:
        return [Event("gaussian", 1.0, noise, 2 * epochs + predictions)]

    noise = _least_noise(events, epsilon, delta)
    return EveryBatchTerms(epsilon=epsilon, delta=delta, noise_multiplier=noise)


def _one_of(answers: int, epsilon: float, delta: float) -> float:
    """The ε of one answer where so many of them together cost `epsilon`."""
    if answers == 1:
        return epsilon
    return 1 / _least_noise(
        lambda noise: answers * [Event("randomized-response", 1.0, noise, 1)], epsilon, delta
    )


def _least_noise(events: Callable[[float], Sequence[Event]], epsilon: float, delta: float) -> float:
    """The least noise multiplier, to 0.1 %, with which `events` cost at most `epsilon`."""

    def fits(noise: float) -> bool:
        return accountant.epsilon(events(noise), delta) <= epsilon

    high = 1.0
    while not fits(high):
        high *= 2
        if high > MAX_NOISE:
            raise PrivacyError(f"no noise gives ε ≤ {epsilon} at δ = {delta}")
    low = high / 2
    while fits(low):
        low, high = low / 2, low
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return math.ceil(high * 1e4) / 1e4
