"""ε against independent oracles: dp-accounting on a finer grid, and Opacus's own accountants."""

import math

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from opacus.accountants import RDPAccountant

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event


def event(rate: float, noise: float, steps: int) -> Event:
    return Event("poisson-gaussian", rate, noise, steps)


def oracle(events: list[Event], delta: float) -> float:
    pld = PLDAccountant(value_discretization_interval=2e-5)
    for e in events:
        pld.compose(
            dp_accounting.PoissonSampledDpEvent(
                e.sampling_rate, dp_accounting.GaussianDpEvent(e.noise_multiplier)
            ),
            e.steps,
        )
    return float(pld.get_epsilon(delta))


@pytest.mark.parametrize(
    "events",
    [
        [event(0.01, 1.0, 1000)],
        [event(0.1, 4.0, 100)],
        [event(0.2, 6.0, 30), event(0.05, 1.5, 20)],
    ],
)
def test_within_one_percent_of_the_oracle_and_never_below(events: list[Event]) -> None:
    ours, truth = accountant.epsilon(events, 1e-5), oracle(events, 1e-5)
    assert truth <= ours <= 1.01 * truth


def test_tighter_than_renyi_accounting() -> None:
    renyi = RDPAccountant()
    renyi.history = [(1.0, 0.01, 1000)]
    assert accountant.epsilon([event(0.01, 1.0, 1000)], 1e-5) <= 0.9 * renyi.get_epsilon(1e-5)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("rate", "noise", "steps", "at_least"),
    [
        (1.0, 1.0, 10**10, 5e9),  # T / 2σ²: no grid holds that
        (0.1, 1e4, 10**10, 1.0),  # one step's loss is far below any grid
        (0.5, 0.01, 1, 4000.0),
        (1e-9, 1e-4, 10, 1.0),
    ],
)
def test_a_schedule_beyond_any_use_still_gets_an_answer(
    rate: float, noise: float, steps: int, at_least: float
) -> None:
    assert at_least < accountant.epsilon([event(rate, noise, steps)], 1e-5) < math.inf


def test_where_the_renyi_bound_takes_over_it_is_the_larger() -> None:
    noise = 0.12
    below, above = (accountant.epsilon([event(1.0, n, 1)], 1e-5) for n in (noise, 0.8 * noise))
    assert 50 < below < accountant.RENYI_FROM_EPSILON <= above


def test_order_and_grouping_do_not_matter() -> None:
    a, b = event(0.1, 2.0, 5), event(0.2, 3.0, 4)
    parts = [b, event(0.1, 2.0, 2), event(0.1, 2.0, 3)]
    assert accountant.epsilon([a, b], 1e-5) == accountant.epsilon(parts, 1e-5)


def test_composition_costs_more_than_a_part_and_less_than_the_sum() -> None:
    one = accountant.epsilon([event(0.1, 2.0, 10)], 1e-5)
    two = accountant.epsilon([event(0.1, 2.0, 20)], 1e-5)
    assert one < two < 2 * one


def test_use_without_privacy_is_unbounded() -> None:
    assert accountant.epsilon([event(0.1, 2.0, 1), Event("none", 0.1, 0.0, 1)], 1e-5) == math.inf
    assert accountant.epsilon([], 1e-5) == 0


@pytest.mark.parametrize("target", [0.5, 1.0, 8.0])
def test_the_noise_found_meets_the_target_and_little_less_would_not(target: float) -> None:
    noise = accountant.noise_for(0.1, 50, target, 1e-5)
    assert accountant.epsilon([event(0.1, noise, 50)], 1e-5) <= target
    assert accountant.epsilon([event(0.1, 0.99 * noise, 50)], 1e-5) > target


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan])
def test_no_noise_is_found_for_a_target_that_cannot_be(target: float) -> None:
    with pytest.raises(PrivacyError):
        accountant.noise_for(0.1, 50, target, 1e-5)
