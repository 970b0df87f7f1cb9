"""The planner says what the accountant says, and does not hide what cannot be."""

import math
import re

import pytest

from fedward_shared import planner
from fedward_shared.errors import PrivacyError, UsageError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.matrix import BandedNoise
from fedward_shared.privacy.plan import Event

# 5,000 records, batches of 256, three epochs, δ = 1e-5.
ADVICE = [(0.5, 15), (0.3, 52)]


@pytest.mark.parametrize(("sigma", "cost"), ADVICE)
def test_the_advice_that_circulates_costs_what_it_costs(sigma: float, cost: float) -> None:
    found = planner.plan(5000, 256, 3, 1e-5, noise=sigma)
    assert found.epsilon == pytest.approx(cost, rel=0.05)
    assert found.possible


def test_a_tenth_of_the_clipping_norm_is_no_protection() -> None:
    assert planner.plan(5000, 256, 3, 1e-5, noise=0.1).epsilon > 500


def test_a_small_noise_and_a_small_epsilon_cannot_both_be() -> None:
    found = planner.plan(5000, 256, 3, 1e-5, epsilon=1.0, noise=0.3)
    assert not found.possible
    with pytest.raises(
        PrivacyError, match=r"σ = 0\.3 costs ε = 5\d\.\d+, not 1, .* needs σ = 1\.8"
    ):
        planner.check(found)
    enough = planner.plan(5000, 256, 3, 1e-5, epsilon=1.0, noise=2.0)
    planner.check(enough)


@pytest.mark.parametrize("rounds", [1, 7, 30])
def test_noise_for_an_epsilon_and_back(rounds: int) -> None:
    found = planner.plan(5000, 250, 3, 1e-5, rounds=rounds, epsilon=2.0)
    assert found.sampling_rate == 0.05
    assert found.steps >= 60
    assert found.steps - found.rounds < 60
    event = Event("poisson-gaussian", 0.05, found.noise, found.steps)
    assert found.epsilon == accountant.epsilon([event], 1e-5) <= 2.0
    back = planner.plan(5000, 250, 3, 1e-5, rounds=rounds, noise=found.noise)
    assert back.epsilon == found.epsilon
    assert math.isclose(found.level_dimensions, (250 / found.noise) ** 2)
    assert math.isclose(found.noise_per_coordinate, found.noise / 250)


def test_what_is_asked_wrongly() -> None:
    with pytest.raises(UsageError, match="give one of them"):
        planner.plan(100, 10, 1, 1e-5)
    with pytest.raises(UsageError, match="--batch: 200 of 100 records"):
        planner.plan(100, 200, 1, 1e-5, epsilon=1.0)
    with pytest.raises(PrivacyError):
        planner.plan(10, 10, 10_000, 1e-9, epsilon=1e-6)


def test_a_delta_that_allows_to_publish_a_record_is_warned_of() -> None:
    told = dict(planner.sentences(planner.plan(1000, 10, 1, 1e-2, noise=3.0)))
    assert "would allow to publish a record" in told["warning"]
    assert "warning" not in dict(planner.sentences(planner.plan(1000, 10, 1, 1e-5, noise=3.0)))


def test_the_plot_shows_every_noise_and_the_limit() -> None:
    found = planner.plan(5000, 250, 3, 1e-5, rounds=30, epsilon=2.0)
    page = planner.plot(found)
    assert page.count('class="curve dp"') == len(planner.FACTORS)
    assert f"σ = {found.noise:.3g}" in page
    assert "level limit" in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", page)


def test_patients_are_planned_like_records_and_called_patients() -> None:
    found = planner.plan(5000, 256, 3, 1e-2, epsilon=0.001, noise=0.3, unit="patient")
    assert found.epsilon == planner.plan(5000, 256, 3, 1e-2, noise=0.3).epsilon
    told = dict(planner.sentences(found))
    assert told["patients"] == "5,000"
    assert "publish a patient as it is" in told["warning"]
    with pytest.raises(PrivacyError, match="or more patients"):
        planner.check(found)
    with pytest.raises(UsageError, match="of 100 customers"):
        planner.plan(100, 200, 1, 1e-5, epsilon=1.0, unit="customer")


def told(found: planner.Plan) -> dict[str, str]:
    return dict(planner.sentences(found))


def test_correlated_noise_is_named_where_it_leaves_less_in_the_model() -> None:
    large = planner.plan(50_000, 500, 2, 1e-6, rounds=20, epsilon=3.0)
    assert large.local_steps == 10
    line = told(large)["correlated noise"]
    bands, part = re.match(r"privacy\.bands = (\d+) with σ = \S+ leaves (0\.\d\d)", line).groups()  # type: ignore[union-attr]
    # By hand: both plans at the same ε, each with the error of its strategy.
    noise = accountant.noise_for(0.01 * int(bands), 200 // int(bands), large.epsilon, 1e-6)
    ratio = noise * BandedNoise(int(bands), 10, 20).error / BandedNoise(1, 10, 20).error
    assert float(part) == pytest.approx(ratio / large.noise, abs=0.02)
    assert float(part) < 0.8


def test_where_sampling_protects_more_than_correlation_it_is_not_named() -> None:
    small = planner.plan(5000, 250, 10, 1e-5, rounds=20, epsilon=1.0)
    assert small.steps_apart == [5, 10]
    assert "correlated noise" not in told(small)
    assert "distributed noise" not in told(small)


def test_one_step_a_round_can_share_its_noise() -> None:
    assert (
        "1/√h"
        in told(planner.plan(5000, 250, 1, 1e-5, rounds=20, epsilon=1.0))["distributed noise"]
    )
