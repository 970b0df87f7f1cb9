"""Privacy-loss distributions and Rényi divergences of mechanisms, composed (dp-accounting).

Equal mechanisms are counted and composed with themselves in one transform. The grid is as coarse as
the whole loss allows (`_interval`), a multiple of dp-accounting's own, and so never below what that
gives; the rounding of the transforms is charged to δ. Where no PLD can be computed in reasonable time
and memory, for an ε beyond any use or steps without number, or where rounding would be seen in δ, the
Rényi bound is reported (Mironov 2017): looser, and never below the true value either.
"""

import logging
import math
from functools import lru_cache
from statistics import NormalDist

import dp_accounting
import numpy as np
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.pld.common import DifferentialPrivacyParameters
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

RENYI_FROM_EPSILON = 100.0
RENYI_FROM_STEPS = 1_000_000

INTERVALS = tuple(n * 1e-4 for n in (1, 2, 5, 10, 20, 50, 100))
"""Grids of privacy loss. The finest is dp-accounting's default, of which all are multiples."""
WIDENING = 0.002
"""How much of its variance, and of ε, a grid may add to the whole privacy loss."""
RENYI_EXCESS = 0.8
"""What is left of the Rényi bound, as a rule: the grid is first chosen for that ε."""
ROUNDING = 1e-15
"""Probability that the transforms may lose in a step: seen are 1e-16, against closed forms."""
SEEN_ROUNDING = 0.05
"""The part of δ that rounding may take before the Rényi bound is the better one."""

PURE = ("laplace", "randomized-response")
"""The mechanisms whose loss has a largest value."""

RELATION = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE

# It warns of each Rényi order that it leaves out, which makes a bound looser and never wrong.
logging.getLogger("absl").setLevel(logging.ERROR)

Kind = tuple[str, float, float, tuple[()] | tuple[int, float, float]]
"""(mechanism, sampling rate, noise multiplier, and of a selection: steps of a trial, mean and shape of
how many trials there are)."""
Mechanisms = tuple[tuple[Kind, int], ...]
"""How often each kind was applied, sorted."""


@lru_cache(maxsize=4096)
def epsilon(mechanisms: Mechanisms, delta: float) -> float:
    """ε at `delta` of all of them."""
    bound = renyi(mechanisms, delta)
    if any(selected for (*_, selected), _ in mechanisms):
        return bound  # of a selection there is no other: its divergences are added to all others'
    losses = sum(_losses(kind, count) for kind, count in mechanisms)
    rounding = ROUNDING * (1000 + losses)
    if (
        bound >= RENYI_FROM_EPSILON
        or losses >= RENYI_FROM_STEPS
        or rounding > SEEN_ROUNDING * delta
    ):
        return bound
    interval = _interval(mechanisms, delta, RENYI_EXCESS * bound)
    while True:
        found = float(_loss(mechanisms, interval).get_epsilon_for_delta(delta - rounding))
        needed = _interval(mechanisms, delta, found)
        if needed >= interval:
            return found
        interval = needed


def _losses(kind: Kind, count: int) -> int:
    """How many discretised losses are added up: Gaussians are added before that, in closed form."""
    return 1 if kind[0] == "gaussian" else count


def _interval(mechanisms: Mechanisms, delta: float, expected: float) -> float:
    """The coarsest grid of which the whole loss is widened by `WIDENING`, if its ε is as `expected`.

    A grid of h adds at most h²/4 to the variance of each loss. The whole has about the variance of a
    normal loss with the same ε at δ: V/2 + z·√V = ε. Of few losses ε itself moves by up to h, of
    those that are `PURE` by h for each: they have a largest value, with probability 1/2 or more. That
    matters as far as ε is made of them.
    """
    losses = sum(_losses(kind, count) for kind, count in mechanisms)
    z = -NormalDist().inv_cdf(delta)
    variance = (math.sqrt(z * z + 2 * expected) - z) ** 2
    pure = [(noise, count) for (mechanism, _, noise, _), count in mechanisms if mechanism in PURE]
    share = min(1.0, sum(count / scale for scale, count in pure) / max(expected, 1e-9))
    largest = share * min(sum(count for _, count in pure), math.log2(1 / delta))
    coarsest = min(
        math.sqrt(4 * WIDENING * variance / losses), WIDENING * expected / max(1.0, largest)
    )
    return max((h for h in INTERVALS if h <= coarsest), default=INTERVALS[0])


@lru_cache(maxsize=64)
def _loss(mechanisms: Mechanisms, interval: float) -> pld.PrivacyLossDistribution:
    """The privacy loss of all `mechanisms`: of one half and of the other, so that what is kept of the
    half that stays as it is need not be composed again after the next booking.
    """
    middle = len(mechanisms) // 2
    if middle:
        return _loss(mechanisms[:middle], interval).compose(_loss(mechanisms[middle:], interval))
    (((mechanism, rate, noise, _), count),) = mechanisms
    if mechanism == "gaussian":
        return _once((mechanism, rate, noise / math.sqrt(count), ()), interval)
    return _once((mechanism, rate, noise, ()), interval).self_compose(count)


@lru_cache(maxsize=32)
def _once(kind: Kind, interval: float) -> pld.PrivacyLossDistribution:
    mechanism, rate, noise, _ = kind
    if mechanism == "laplace":
        return pld.from_laplace_mechanism(noise, value_discretization_interval=interval)
    if mechanism == "randomized-response":
        return pld.from_privacy_parameters(
            DifferentialPrivacyParameters(1 / noise), value_discretization_interval=interval
        )
    return pld.from_gaussian_mechanism(
        noise, value_discretization_interval=interval, sampling_prob=rate
    )


@lru_cache(maxsize=4096)
def renyi(mechanisms: Mechanisms, delta: float) -> float:
    """ε at `delta` by the Rényi bound."""
    total = sum(count * divergences(kind) for kind, count in mechanisms)
    return float(compute_epsilon(RdpAccountant().orders, total, delta)[0])


@lru_cache(maxsize=1024)
def divergences(kind: Kind) -> np.ndarray:
    """Rényi divergence of one mechanism at each of dp-accounting's orders."""
    mechanism, rate, noise, selected = kind
    accountant = RdpAccountant(neighboring_relation=RELATION)
    if mechanism == "randomized-response":
        return _of_two_answers(1 / noise, np.asarray(accountant.orders))
    if mechanism == "laplace":
        accountant.compose(dp_accounting.LaplaceDpEvent(noise))
    else:
        gaussian = dp_accounting.GaussianDpEvent(noise)
        step = dp_accounting.PoissonSampledDpEvent(rate, gaussian)
        if selected:
            steps, mean, shape = selected
            trial = dp_accounting.SelfComposedDpEvent(step, steps)
            step = dp_accounting.dp_event.RepeatAndSelectDpEvent(trial, mean, shape)
        accountant.compose(step)
    return np.asarray(accountant.rdp)


def _of_two_answers(epsilon: float, order_A: np.ndarray) -> np.ndarray:
    """Rényi divergence of two answers of which the odds are exp(`epsilon`) and its inverse, the most
    that a mechanism with that ε and without δ can have (Mironov 2017, proposition 5), at each order."""
    true, other = -np.log1p(np.exp(-epsilon)), -np.log1p(np.exp(epsilon))
    terms = (order_A * true + (1 - order_A) * other, order_A * other + (1 - order_A) * true)
    found: np.ndarray = np.logaddexp(*terms) / (order_A - 1)
    return found


def forget() -> None:
    """Drops all that is kept between calls: for whoever measures what an answer costs."""
    for kept in (epsilon, _loss, _once, renyi, divergences):
        kept.cache_clear()
