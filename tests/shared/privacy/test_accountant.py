"""ε against independent oracles: closed forms, dp-accounting's own composition, Opacus's accountants."""

import math
from collections.abc import Sequence

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant
from scipy.optimize import brentq
from scipy.stats import norm

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import accountant, composition
from fedward_shared.privacy.plan import UNKNOWN, Event
from fedward_shared.privacy.unit import UNITS


def event(rate: float, noise: float, steps: int) -> Event:
    return Event("poisson-gaussian", rate, noise, steps)


def gaussian(noise: float, times: int = 1) -> Event:
    return Event("gaussian", 1.0, noise, times)


def laplace(scale: float, times: int = 1) -> Event:
    return Event("laplace", 1.0, scale, times)


def peer(events: Sequence[Event], delta: float, interval: float = 1e-4) -> float:
    """dp-accounting's own composition, one event after the other; 1e-4 is its default grid."""
    pld = PLDAccountant(value_discretization_interval=interval)
    for e in events:
        noise = dp_accounting.GaussianDpEvent(e.noise_multiplier)
        made = {
            "poisson-gaussian": dp_accounting.PoissonSampledDpEvent(e.sampling_rate, noise),
            "gaussian": noise,
            "laplace": dp_accounting.LaplaceDpEvent(e.noise_multiplier),
        }
        pld.compose(made[e.mechanism], e.steps)
    return float(pld.get_epsilon(delta))


def normal_epsilon(noise: float, delta: float) -> float:
    """The ε of one Gaussian release (Balle and Wang 2018, theorem 8)."""

    def excess(epsilon: float) -> float:
        upper = norm.logcdf(0.5 / noise - epsilon * noise)
        lower = epsilon + norm.logcdf(-0.5 / noise - epsilon * noise)
        return float(math.exp(upper) - math.exp(lower) - delta)

    return 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, 200.0, xtol=1e-12, rtol=1e-12))


def logs(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(math.log(low), math.log(high)).map(math.exp)


MECHANISMS = st.one_of(
    st.builds(event, logs(1e-3, 1.0), logs(0.5, 20.0), st.integers(1, 3000)),
    st.builds(gaussian, logs(0.8, 100.0), st.integers(1, 10)),
    st.builds(laplace, logs(1.0, 100.0), st.integers(1, 10)),
)


@settings(max_examples=25, derandomize=True)
@given(st.lists(MECHANISMS, min_size=1, max_size=5), logs(1e-8, 1e-3))
def test_within_one_percent_of_dp_accounting_and_never_below(
    events: list[Event], delta: float
) -> None:
    ours = accountant.epsilon(events, delta)
    if accountant.filtered_epsilon(events, delta) >= composition.RENYI_FROM_EPSILON:
        assert ours == accountant.filtered_epsilon(events, delta)
        return
    theirs = peer(events, delta)
    assert theirs <= ours <= 1.01 * theirs


def test_within_one_percent_of_a_finer_grid() -> None:
    events = [event(0.2, 6.0, 30), event(0.05, 1.5, 20)]
    ours, truth = accountant.epsilon(events, 1e-5), peer(events, 1e-5, 2e-5)
    assert truth <= ours <= 1.01 * truth


@settings(max_examples=60)
@given(logs(0.2, 50.0), st.integers(1, 5000), logs(1e-10, 1e-3))
def test_gaussian_releases_are_the_closed_form(together: float, times: int, delta: float) -> None:
    """n of them with deviation σ are one with σ/√n."""
    releases = gaussian(together * math.sqrt(times), times)
    ours, truth = accountant.epsilon([releases], delta), normal_epsilon(together, delta)
    assert truth <= ours + 1e-12
    assert ours <= 1.01 * truth + 1e-4


@pytest.mark.parametrize("delta", [1e-5, 1e-9, 1e-11, 1e-13])
def test_rounding_is_not_taken_for_privacy(delta: float) -> None:
    """A transform to the power of 100,000 rounds away more probability than a small δ has."""
    truth = normal_epsilon(100 / math.sqrt(100_000), delta)
    assert truth <= accountant.epsilon([event(1.0, 100.0, 100_000)], delta) <= 1.1 * truth


@given(logs(0.5, 50.0), st.integers(1, 20), logs(1e-9, 1e-3))
def test_laplace_releases_cost_at_most_the_sum_of_their_pure_epsilons(
    scale: float, times: int, delta: float
) -> None:
    assert accountant.epsilon([laplace(scale, times)], delta) <= times / scale * 1.005 + 1e-4


@given(logs(0.5, 50.0), logs(1e-9, 1e-3))
def test_one_laplace_release_is_the_closed_form(scale: float, delta: float) -> None:
    """δ(ε) = 1 - exp((ε - 1/b)/2) for ε ≤ 1/b: with probability exp(-x/b)/2 the loss is below 1/b."""
    truth = max(0.0, 1 / scale + 2 * math.log1p(-delta))
    ours = accountant.epsilon([laplace(scale)], delta)
    assert truth <= ours + 1e-12
    assert ours <= truth * 1.01 + 1e-4


def test_pure_epsilon_stays_finite_where_delta_is_as_good_as_none() -> None:
    """Rounding would be seen in such a δ, so it is the Rényi bound."""
    assert 0.75 <= accountant.epsilon([laplace(4.0, 3)], 1e-15) <= 0.8


GOLDEN = [
    # Opacus 1.6, its own test of the PRV accountant, which adds an error of 0.01 to ε.
    ([event(0.04, 1.5, int(90 // 0.04))], 1e-5, 6.777395712150674, 0.02),
    # Balle and Wang 2018: the analytic calibration of ε = 1 at δ = 1e-5.
    ([gaussian(3.730632)], 1e-5, 1.0, 1e-4),
    # The same as ten releases.
    ([gaussian(3.730632 * math.sqrt(10), 10)], 1e-5, 1.0, 1e-4),
    # The closed form of one Laplace release.
    ([laplace(2.0)], 1e-5, 0.5 + 2 * math.log1p(-1e-5), 1e-4),
    # The three together, by dp-accounting 0.6 on a grid of 1e-5.
    ([event(0.01, 1.0, 1000), gaussian(10.0, 2), laplace(20.0)], 1e-5, 1.92102, 0.003),
]


@pytest.mark.parametrize(("events", "delta", "known", "within"), GOLDEN)
def test_known_numbers(events: list[Event], delta: float, known: float, within: float) -> None:
    assert accountant.epsilon(events, delta) == pytest.approx(known, abs=within)


def test_mechanisms_of_three_kinds_are_one_account() -> None:
    kinds = [event(0.01, 1.0, 1000), gaussian(3.0), laplace(2.0)]
    together = accountant.epsilon(kinds, 1e-5)
    alone = [accountant.epsilon([kind], 1e-5) for kind in kinds]
    assert max(alone) < together < sum(alone)
    filtered = accountant.filtered_epsilon(kinds, 1e-5)
    assert together < filtered < math.inf


def test_what_protects_different_units_is_not_composed() -> None:
    for unit in UNITS[1:]:
        other = Event("poisson-gaussian", 0.1, 2.0, 5, unit)
        assert accountant.epsilon([other], 1e-5) == accountant.epsilon([event(0.1, 2.0, 5)], 1e-5)
        for bound in (accountant.epsilon, accountant.filtered_epsilon):
            with pytest.raises(PrivacyError, match="keeps it"):
                bound([event(0.1, 2.0, 5), other], 1e-5)
        assert accountant.epsilon([other, UNKNOWN], 1e-5) == math.inf


@settings(max_examples=40)
@given(st.lists(MECHANISMS, max_size=2), st.lists(MECHANISMS, max_size=2), logs(1e-6, 1e-3))
def test_what_is_kept_is_only_taken_for_the_same_mechanisms(
    one: list[Event], other: list[Event], delta: float
) -> None:
    """Warm, the answers are those of an accountant that never saw anything else."""
    warm = [accountant.epsilon(events, delta) for events in (one, [*other, *one], other, one)]
    cold = []
    for events in (one, [*other, *one], other, one):
        composition.forget()
        cold.append(accountant.epsilon(events, delta))
    assert warm == cold


def test_tighter_than_renyi_accounting() -> None:
    renyi = RDPAccountant()
    renyi.history = [(1.0, 0.01, 1000)]
    assert accountant.epsilon([event(0.01, 1.0, 1000)], 1e-5) <= 0.9 * renyi.get_epsilon(1e-5)


@pytest.mark.timeout(120)
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
    assert 50 < below < composition.RENYI_FROM_EPSILON <= above


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
    assert accountant.filtered_epsilon([UNKNOWN], 1e-5) == math.inf
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
