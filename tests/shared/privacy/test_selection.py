"""The bound of a private selection against selections whose privacy loss is known exactly."""

import math
from dataclasses import replace
from pathlib import Path

import dp_accounting
import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import accountant, selection
from fedward_shared.privacy.plan import UNPROTECTED, Event
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.privacy.selection import Repetitions, Selection, divergences

ORDERS = np.asarray(RdpAccountant().orders)
SHAPES = (0.0, 0.5, 1.0, 3.0, math.inf)
EVENT = Event("poisson-gaussian", 0.02, 1.1, 500)


def generating(repetitions: Repetitions, x: np.ndarray) -> np.ndarray:
    """E[x^K], by the closed forms of the paper's section 3."""
    if repetitions.poisson:
        return np.exp(repetitions.mean * (x - 1))
    gamma, shape = repetitions.gamma, repetitions.shape
    if shape == 0:
        return np.log(1 - (1 - gamma) * x) / math.log(gamma)
    return ((1 - (1 - gamma) * x) ** -shape - 1) / (gamma**-shape - 1)


def selected(repetitions: Repetitions, p: np.ndarray) -> np.ndarray:
    """The exact distribution of the best of K outcomes, which are ordered; first that of none."""
    below = np.append(0.0, np.cumsum(p))
    below[-1] = 1.0
    at_most = generating(repetitions, below)
    return np.append(at_most[0], np.diff(at_most))


def renyi(p: np.ndarray, q: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Exact Rényi divergence of p from q at each order; of order 1 Kullback and Leibler's."""
    both = p > 0
    p, q = p[both], q[both]
    found = []
    for order in orders:
        if order == 1:
            found.append(float(np.sum(p * np.log(p / q))))
        else:
            terms = order * np.log(p) + (1 - order) * np.log(q)
            found.append(float(np.logaddexp.reduce(terms)) / (order - 1))
    return np.maximum(found, 0.0)


def worst(p: np.ndarray, q: np.ndarray, orders: np.ndarray) -> np.ndarray:
    return np.maximum(renyi(p, q, orders), renyi(q, p, orders))


DISTRIBUTIONS = st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6).map(np.asarray)


@given(DISTRIBUTIONS, st.data(), st.sampled_from(SHAPES), st.floats(1.1, 200))
@settings(max_examples=150, deadline=None)
def test_no_selection_of_a_discrete_mechanism_loses_more_than_the_bound(
    weights: np.ndarray, data: st.DataObject, shape: float, mean: float
) -> None:
    factors = data.draw(st.lists(st.floats(0.3, 3.0), min_size=len(weights), max_size=len(weights)))
    p, q = weights / weights.sum(), weights * factors / (weights * factors).sum()
    repetitions = Repetitions(mean, shape)
    bound = divergences(worst(p, q, ORDERS), repetitions, ORDERS)
    exact = worst(selected(repetitions, p), selected(repetitions, q), ORDERS)
    assert (exact <= bound + 1e-9).all()


def test_the_bound_is_of_use_and_would_be_missed_by_a_third_less() -> None:
    """Two answers with odds of e^0.1; a selection of many is close to what theorem 2 allows."""
    p = np.asarray([1 - 1e-3, 1e-3])
    q = np.asarray([1 - 1e-3 * math.exp(0.1), 1e-3 * math.exp(0.1)])
    repetitions = Repetitions(100.0, 0.0)
    bound = divergences(worst(p, q, ORDERS), repetitions, ORDERS)
    exact = worst(selected(repetitions, p), selected(repetitions, q), ORDERS)
    largest = int(np.argmax(ORDERS))
    assert 0.05 < exact[largest] <= bound[largest] < 0.35


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mean", [1.5, 20.0, 400.0])
def test_dp_accounting_gives_the_same(shape: float, mean: float) -> None:
    oracle = RdpAccountant()
    step = dp_accounting.PoissonSampledDpEvent(0.02, dp_accounting.GaussianDpEvent(1.1))
    trial = dp_accounting.SelfComposedDpEvent(step, 500)
    oracle.compose(dp_event.RepeatAndSelectDpEvent(trial, mean, shape))
    ours = selection.epsilon(Selection(EVENT, Repetitions(mean, shape)), 1e-6)
    assert ours == pytest.approx(oracle.get_epsilon(1e-6), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_account_with_a_selection_adds_the_divergences_of_all(shape: float) -> None:
    """Against the bound as it is written here, and what dp-accounting says of the rest."""
    repetitions = Repetitions(20.0, shape)
    rest = [Event("poisson-gaussian", 0.1, 2.0, 30), Event("laplace", 1.0, 50.0, 2)]
    others = RdpAccountant()
    step = dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(2.0))
    others.compose(step, 30).compose(dp_accounting.LaplaceDpEvent(50.0), 2)
    trial = RdpAccountant()
    step = dp_accounting.PoissonSampledDpEvent(0.02, dp_accounting.GaussianDpEvent(1.1))
    trial.compose(step, 500)
    one_A, other_A = np.asarray(trial.rdp), np.asarray(others.rdp)
    for times in (1, 2):
        total_A = times * divergences(one_A, repetitions, ORDERS) + other_A
        expected = compute_epsilon(ORDERS, total_A, 1e-6)[0]
        events = [*rest, *[Selection(EVENT, repetitions).booked] * times]
        for composed in (accountant.epsilon, accountant.filtered_epsilon):
            assert composed(events, 1e-6) == pytest.approx(expected, rel=1e-6)
    alone = accountant.epsilon([Selection(EVENT, repetitions).booked], 1e-6)
    assert alone == pytest.approx(selection.epsilon(Selection(EVENT, repetitions), 1e-6), rel=1e-6)


def test_a_selection_never_costs_less_than_one_trial_or_shifts_what_is_without_it() -> None:
    chosen = Selection(EVENT, Repetitions(1.0001, 1.0)).booked
    one, both = accountant.epsilon([EVENT], 1e-6), accountant.epsilon([EVENT, chosen], 1e-6)
    assert one < accountant.epsilon([chosen], 1e-6) < both
    assert accountant.epsilon([EVENT, EVENT], 1e-6) < both
    assert accountant.epsilon([UNPROTECTED, chosen], 1e-6) == math.inf
    patient = replace(EVENT, unit="patient")
    with pytest.raises(PrivacyError, match="no ε together"):
        accountant.epsilon([patient, chosen], 1e-6)
    with pytest.raises(PrivacyError, match="itself a selection"):
        Selection(chosen, Repetitions(5.0))
    with pytest.raises(PrivacyError, match="expected trials of DP-SGD"):
        _ = Selection(Event("laplace", 1.0, 5.0, 1), Repetitions(5.0)).booked


def test_figures_by_hand() -> None:
    """Theorem 2 with one trial of ρ-zCDP, ε(λ) = ρλ: at λ = 2, η = 1 and a mean of 10 (γ = 0.1)."""
    rho, orders = 0.1, np.asarray([1.0, 2.0, 5.0])
    found = divergences(rho * orders, Repetitions(10.0), orders)
    others = [(1 - 1 / a) * rho * a + math.log(10) / a for a in (1, 2, 5)]
    assert found[0] == math.inf
    assert found[1] == pytest.approx(0.2 + 2 * min(others) + math.log(10))
    assert Repetitions(10.0).gamma == pytest.approx(0.1, rel=1e-9)
    # Of a logarithmic distribution with γ = 1/2 the mean is 1 / ln 2.
    assert Repetitions(1 / math.log(2), 0.0).gamma == pytest.approx(0.5, rel=1e-9)


def test_a_selection_costs_less_than_its_trials_composed_and_more_than_one() -> None:
    one = accountant.filtered_epsilon([EVENT], 1e-6)
    composed = accountant.filtered_epsilon([EVENT] * 50, 1e-6)
    for shape in SHAPES:
        assert one < selection.epsilon(Selection(EVENT, Repetitions(50.0, shape)), 1e-6) < composed


@pytest.mark.parametrize("shape", SHAPES)
def test_the_number_of_trials_is_distributed_as_it_is_accounted_for(shape: float) -> None:
    repetitions = Repetitions(6.0, shape)
    randomness = Randomness.from_seed(1, "selection")
    drawn = np.asarray([repetitions.draw(randomness) for _ in range(4000)])
    for x in (0.3, 0.7, 0.95):
        values = x**drawn
        error = values.std() / math.sqrt(len(drawn))
        assert abs(values.mean() - generating(repetitions, np.asarray(x))) < 4 * error
    assert abs(drawn.mean() - 6) < 4 * drawn.std() / math.sqrt(len(drawn))
    assert (drawn == 0).any() == repetitions.poisson
    again = Randomness.from_seed(1, "selection")
    assert [repetitions.draw(again) for _ in range(20)] == drawn[:20].tolist()


def test_trials_without_a_bound_have_none_together() -> None:
    assert selection.epsilon(Selection(UNPROTECTED, Repetitions(5.0)), 1e-6) == math.inf


@pytest.mark.parametrize(
    "values", [(1.0, 1.0), (0.5, 1.0), (math.inf, 1.0), (5.0, -1.0), (5.0, math.nan)]
)
def test_distributions_that_cannot_be_are_refused(values: tuple[float, float]) -> None:
    with pytest.raises(PrivacyError, match=r"mean|shape"):
        Repetitions(*values)
    with pytest.raises(PrivacyError, match="δ"):
        selection.epsilon(Selection(EVENT, Repetitions(5.0)), 0.0)


def test_the_figures_of_the_explanation_are_what_is_computed() -> None:
    text = (Path(__file__).parents[3] / "docs/explanation/pretraining-search.md").read_text("utf-8")
    assert f"one trial has ε = {accountant.filtered_epsilon([EVENT], 1e-6):.2f}" in text
    composed = accountant.filtered_epsilon([EVENT] * 10, 1e-6)
    for name, shape in (
        ("logarithmic, η = 0", 0.0),
        ("geometric, η = 1", 1.0),
        ("Poisson", math.inf),
    ):
        ours = selection.epsilon(Selection(EVENT, Repetitions(10.0, shape)), 1e-6)
        assert f"| {name} | {ours:.2f} | {composed:.2f} |" in text
