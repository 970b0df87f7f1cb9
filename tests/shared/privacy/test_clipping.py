"""The norm finds the quantile, and what is booked is what gradients and counts cost together."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import clipping
from fedward_shared.privacy.clipping import RANGE, AdaptiveClipping
from fedward_shared.privacy.plan import TrainingPlan

SHARES = st.floats(1e-4, 0.99)


@given(st.floats(0.1, 50.0), SHARES, st.floats(0.01, 0.99), st.sampled_from([1, 2]))
def test_the_booked_noise_is_that_of_gradients_and_counts_together(
    noise: float, share: float, adapter_share: float, parts: int
) -> None:
    """By hand (Andrew et al. 2021, theorem 1): what a unit moves, in deviations of the noise."""
    adaptive = AdaptiveClipping(0.5, 0.2, share)
    plan = TrainingPlan("dp-sgd", 0.1, noise, 3.0, 10, 50.0, adapter_share, adaptive=adaptive)
    z_gradients, sigma_count = plan.gradient_noise, adaptive.count_deviation(noise, parts)
    by_hand = (z_gradients**-2 + parts * (2 * sigma_count) ** -2) ** -0.5
    assert plan.event.noise_multiplier == pytest.approx(by_hand, rel=1e-12)
    # The same from each part: its norm against its own noise, and its count's 1/2 against the count's.
    both = plan.clipping_norms(head=True, adapter=True)
    norms = both if parts == 2 else both[:1]
    whole = math.hypot(*norms)
    moved = [norm / (plan.gradient_noise * whole) for norm in norms]
    moved += [0.5 / sigma_count] * parts
    assert plan.event.noise_multiplier == pytest.approx(1 / math.hypot(*moved), rel=1e-12)


def test_the_published_choice_of_the_counts_noise() -> None:
    """Andrew et al. take σ_b = m/20 for m in a batch: m = 100 and z = 1 are a share of 0.01."""
    adaptive = AdaptiveClipping(0.5, 0.2, 0.01)
    assert adaptive.count_deviation(1.0, 1) == pytest.approx(5.0)
    assert adaptive.gradient_noise(1.0) == pytest.approx((1 - (2 * 5.0) ** -2) ** -0.5)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("start", [0.01, 100.0])
def test_the_norm_finds_the_quantile(quantile: float, start: float) -> None:
    drawn = np.random.default_rng(0)
    adaptive = AdaptiveClipping(quantile, 0.2, 0.01)
    deviation = adaptive.count_deviation(1.0, 1)
    norm, seen = start, []
    for _ in range(400):
        lengths = drawn.lognormal(0.0, 1.0, drawn.poisson(200))
        count = float(np.where(lengths <= norm, 0.5, -0.5).sum()) + deviation * drawn.normal()
        norm = adaptive.moved(norm, start, count, 200.0)
        seen.append(norm)
    found = np.median(seen[200:])
    truth = np.exp({0.2: -0.8416, 0.5: 0.0, 0.9: 1.2816}[quantile])
    assert found == pytest.approx(truth, rel=0.1)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
def test_a_step_moves_the_norm_by_no_more_than_its_rate(
    count: float, norm: float, batch: float
) -> None:
    adaptive = AdaptiveClipping(0.5, 0.2, 0.01)
    assert abs(math.log(adaptive.moved(norm, norm, count, batch) / norm)) <= 0.2 + 1e-9


def test_the_norm_stays_within_a_range_of_where_it_began() -> None:
    adaptive = AdaptiveClipping(0.5, 1.0, 0.01)
    for sign in (1, -1):
        norm = 2.0
        for _ in range(200):
            norm = adaptive.moved(norm, 2.0, sign * 1e6, 10.0)
        assert norm == 2.0 * RANGE**-sign


@pytest.mark.parametrize(
    "fields", [(0.0, 0.2, 0.1), (1.0, 0.2, 0.1), (0.5, 0.0, 0.1), (0.5, 2.0, 0.1), (0.5, 0.2, 1.0)]
)
def test_numbers_that_describe_no_mechanism_are_refused(fields: tuple[float, ...]) -> None:
    with pytest.raises(PrivacyError, match="expected"):
        AdaptiveClipping(*fields)


@given(st.dictionaries(st.sampled_from(clipping.PARTS), st.floats(1e-12, 1e12)))
def test_norms_are_read_as_they_were_written(norms: dict[str, float]) -> None:
    assert clipping.read_norms(clipping.norms_text(norms)) == norms


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "1",
        "{",
        '{"head":0.5}',
        '{"head":"0.50"}',
        '{"head":"0.0"}',
        '{"head":"nan"}',
        '{"head":"inf"}',
        '{"neck":"0.5"}',
        '{"head": "0.5"}',
        "[" * 100_000,
    ],
)
def test_other_texts_are_no_norms(text: str) -> None:
    with pytest.raises(PrivacyError, match="not the clipping norms"):
        clipping.read_norms(text)
