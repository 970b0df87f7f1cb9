"""What is booked for noise that several sites make is never cheaper than the integers that leave.

The oracle is the mechanism itself: the probabilities of what is drawn, convolved over the sites.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from shared.privacy.test_discrete import probabilities

from fedward_shared.errors import AdapterError, PrivacyError
from fedward_shared.privacy import accountant, discrete
from fedward_shared.privacy.distributed import (
    FINE,
    MARGIN,
    ROUNDING,
    SMOOTHING,
    WASTE,
    DistributedNoise,
    calibrated,
)
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.randomness import Randomness

Masses = tuple[int, np.ndarray]
"""The first integer, and the probabilities from there on."""


def masses(variance: Fraction, parts: int = 1, row: int = 0) -> Masses:
    found = probabilities(discrete.table(variance, parts), row)
    return min(found), np.array([float(p) for p in found.values()])


def added(*several: Masses) -> Masses:
    first, whole = several[0]
    for start, other in several[1:]:
        first, whole = first + start, np.convolve(whole, other)
    return first, whole


def released(noise: DistributedNoise, sums: list[float]) -> Masses:
    """The sum over the sites in one coordinate."""
    shares = []
    for value in sums:
        whole, rest = divmod(math.floor(value * FINE), FINE)
        first, rounded = masses(ROUNDING, FINE, rest)
        shares.append(added((first + whole, rounded), masses(Fraction(noise.variance))))
    return added(*shares)


def aligned(one: Masses, other: Masses) -> tuple[np.ndarray, np.ndarray, int]:
    first = min(one[0], other[0])
    last = max(start + len(mass) for start, mass in (one, other))
    padded = [np.pad(m, (s - first, last - s - len(m))) for s, m in (one, other)]
    return padded[0], padded[1], first


def gaussian_delta(epsilon: float, multiplier: float) -> float:
    """Balle and Wang 2018, theorem 8."""
    upper = norm.cdf(0.5 / multiplier - epsilon * multiplier)
    return float(upper - math.exp(epsilon) * norm.cdf(-0.5 / multiplier - epsilon * multiplier))


@settings(max_examples=25)
@given(
    st.sampled_from([1, 2, 5]),
    st.integers(7, 60),
    st.floats(0.5, 12.0),
    st.lists(st.floats(-5.0, 5.0), min_size=5, max_size=5),
)
def test_the_integers_cost_no_more_than_a_gaussian_of_that_multiplier(
    honest: int, variance: int, scale: float, sums: list[float]
) -> None:
    noise = DistributedNoise(scale, variance)
    multiplier = noise.multiplier(honest, 1, 2047)
    with_one_more = [sums[0] + scale, *sums[1:honest]]
    one, other, _ = aligned(released(noise, sums[:honest]), released(noise, with_one_more))
    for epsilon in np.linspace(0.0, 5.0, 21):
        bound = gaussian_delta(epsilon, multiplier)
        for p, q in ((one, other), (other, one)):
            delta = float(np.maximum(p - math.exp(epsilon) * q, 0).sum())
            assert delta <= bound * (1 + 1e-9) + 1e-14


def test_the_bound_is_no_more_than_what_was_left_out() -> None:
    """With as much noise as a study has, the integers cost what is booked to 1 %."""
    noise = calibrated(1.0, 3, 1, 8191, 25.0)
    one, other, _ = aligned(
        released(noise, [0.3, 0, 0]), released(noise, [0.3 + noise.scale, 0, 0])
    )
    for epsilon in (0.1, 0.5, 1.0, 2.0):
        delta = float(np.maximum(one - math.exp(epsilon) * other, 0).sum())
        assert delta >= 0.99 * gaussian_delta(epsilon, noise.multiplier(3, 1, 8191))


def test_two_coordinates_cost_no_more_than_one_of_their_length() -> None:
    noise = DistributedNoise(10.0, 20)
    multiplier = noise.multiplier(2, 2, 2047)
    start, moved = [(0.2, -1.0), (1.4, 0.3)], (6.0, 8.0)
    pairs = []
    for axis in range(2):
        sums = [site[axis] for site in start]
        after = [sums[0] + moved[axis], sums[1]]
        one, other, _ = aligned(released(noise, sums), released(noise, after))
        pairs.append((one, other))
    one, other = (np.outer(pairs[0][side], pairs[1][side]) for side in (0, 1))
    for epsilon in np.linspace(0.0, 4.0, 9):
        delta = float(np.maximum(one - math.exp(epsilon) * other, 0).sum())
        assert 0 < delta <= gaussian_delta(epsilon, multiplier) * (1 + 1e-9)


@pytest.mark.parametrize(("rate", "steps"), [(1.0, 4), (0.1, 60)])
def test_the_booked_event_is_never_below_the_integers_own_privacy_loss(
    rate: float, steps: int
) -> None:
    """dp-accounting composes the integers' true losses, discretised downwards."""
    wanted, honest = 1.5, 4
    noise = calibrated(wanted, honest, 1, 2047, 100.0)
    sums = [0.3, -1.7, 2.2, 0.0]
    one, other, first = aligned(
        released(noise, sums), released(noise, [sums[0] + noise.scale, *sums[1:]])
    )
    lower = {first + k: math.log(p) for k, p in enumerate(one) if p > 1e-18}
    mixed = (1 - rate) * one + rate * other
    upper = {first + k: math.log(p) for k, p in enumerate(mixed) if p > 1e-18}
    booked = accountant.epsilon([Event("poisson-gaussian", rate, wanted, steps)], 1e-5)
    found = []
    for p, q in ((lower, upper), (upper, lower)):
        loss = pld.from_two_probability_mass_functions(
            p, q, pessimistic_estimate=False, value_discretization_interval=1e-4
        )
        found.append(loss.self_compose(steps).get_epsilon_for_delta(1e-5))
    assert 0.97 * booked <= max(found) <= booked


@settings(max_examples=50)
@given(
    st.floats(0.3, 20.0),
    st.integers(1, 100),
    st.integers(1, 10**7),
    st.sampled_from([2047, 8191, 32767, 2**23 - 1]),
    st.floats(1.0, 500.0),
)
def test_what_is_calibrated_has_the_noise_that_is_booked_and_room_for_it(
    wanted: float, honest: int, coordinates: int, largest: int, reach: float
) -> None:
    try:
        noise = calibrated(wanted, honest, coordinates, largest, reach)
    except PrivacyError:
        return
    # By hand: h(v + r²) - t over the square of the clipping norm and its slack.
    counted = honest * (noise.variance + 6.25) - 3.125
    longest = noise.scale + math.sqrt(coordinates) * (1 / 4096 + largest / 2**22)
    assert math.sqrt(counted) / longest >= wanted * (1 + MARGIN / 2)
    assert math.sqrt(honest) * noise.deviation <= WASTE * wanted * noise.scale
    assert reach * noise.scale + noise.tail <= largest
    assert noise.variance >= ROUNDING


def test_what_the_approximations_leave_is_far_less_than_the_margin() -> None:
    g = 4 * math.exp(-2 * math.pi**2 * float(ROUNDING * ROUNDING / (2 * ROUNDING)))
    assert g == 4 * math.exp(-2 * math.pi**2 * float(SMOOTHING))
    assert g < 1e-26
    assert 2 * (10**6 * 2 * 100 * 10**4) * g < 1e-12


@pytest.mark.parametrize(
    ("largest", "reach", "honest"), [(2047, 1000.0, 8), (20, 1.0, 8), (2047, 25.0, 0)]
)
def test_terms_without_room_are_refused(largest: int, reach: float, honest: int) -> None:
    with pytest.raises(PrivacyError, match="noise of"):
        calibrated(1.0, honest, 1000, largest, reach)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.floats(0.1, 100.0))
def test_one_units_change_is_no_longer_than_what_is_calibrated_for(seed: int, scale: float) -> None:
    """Whatever was summed before: what is cut off to steps of 1/FINE, and at the edges, included."""
    drawn = np.random.default_rng(seed)
    before = drawn.normal(size=400) * drawn.choice([1.0, 50.0, 2000.0])
    unit = drawn.normal(size=400)
    unit *= scale / np.linalg.norm(unit)

    class Recorder:
        def __init__(self) -> None:
            self.centres: list[np.ndarray] = []

        def words64(self, count: int) -> np.ndarray:
            return np.full(count, 2**63, dtype=np.uint64)

    noise = DistributedNoise(scale, 40)
    seen = []
    for values in (before, (before + unit).astype(np.float32)):
        edge = 2047 - noise.tail
        seen.append(np.floor(np.clip(values.astype(np.float64), -edge, edge) * FINE) / FINE)
        whole = noise.encode(values, 2047, Recorder())
        # With the middle of each distribution drawn, the integers are next to the centres.
        assert np.abs(whole - seen[-1]).max() <= 1.5
    longest = math.sqrt(40 + 6.25 - 3.125) / noise.multiplier(1, 400, 2047)
    assert np.linalg.norm(seen[1] - seen[0]) <= longest


def test_a_share_has_its_mean_and_variance_and_stays_within_bounds() -> None:
    noise = DistributedNoise(30.0, 500)
    values = np.concatenate([np.full(20_000, 12.3456), np.array([1e9, -1e9])])
    made = noise.encode(values, 2047, Randomness.from_seed(0, "share"))
    assert np.abs(made).max() <= 2047
    inner = made[:-2]
    assert inner.mean() == pytest.approx(12.3456, abs=4 * noise.deviation / math.sqrt(20_000))
    assert inner.var() == pytest.approx(506.25, rel=4 * math.sqrt(2 / 20_000))
    assert made[-2] > 2047 - 2 * noise.tail
    assert made[-1] < 2 * noise.tail - 2047


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_number_is_not_taken_for_one(wrong: float) -> None:
    with pytest.raises(AdapterError, match="NaN"):
        DistributedNoise(30.0, 500).encode(np.array([wrong]), 2047, Randomness.from_seed(0, "x"))
