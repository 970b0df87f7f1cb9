"""What an answer costs, and what comes out."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.randomized import RandomizedResponse
from fedward_shared.privacy.randomness import Randomness

DELTA = 1e-5


@pytest.mark.parametrize("choices", [2, 3, 16])
@pytest.mark.parametrize("epsilon", [0.5, 3.0, 8.0])
def test_the_odds_of_any_answer_are_at_most_e_to_the_epsilon(choices, epsilon):
    response = RandomizedResponse(choices, epsilon)
    true = np.repeat(np.arange(2), 200_000)
    seen = response.answer(true, Randomness.from_seed(1, "odds"))
    assert set(seen.tolist()) <= set(range(choices))
    kept = (seen == true).mean()
    assert kept == pytest.approx(response.truth, abs=4 * math.sqrt(0.25 / len(true)))
    other = (1 - response.truth) / (choices - 1)
    assert response.truth / other == pytest.approx(math.exp(epsilon))
    if choices > 2:
        wrong = seen[(seen != true) & (true == 0)]
        shares = np.bincount(wrong, minlength=choices)[1:] / len(wrong)
        assert np.abs(shares - 1 / (choices - 1)).max() < 6 * math.sqrt(1 / len(wrong))


def test_one_answer_costs_its_epsilon_and_not_more():
    event = RandomizedResponse(4, 2.5).event("record")
    found = accountant.epsilon([event], DELTA)
    assert 2.5 * (1 - 1e-3) <= found <= 2.5 * (1 + 1e-3)


def of_binary_answers(count, epsilon, delta):
    """ε of `count` binary answers together: their true ones are binomial, and the odds follow from how
    many there are (the hockey-stick divergence, summed term by term)."""
    truth = 1 / (1 + math.exp(-epsilon))
    number = np.arange(count + 1)
    losses = epsilon * (2 * number - count)
    chances = stats.binom.pmf(number, count, truth)

    def excess(bound):
        return float((chances * np.clip(1 - np.exp(bound - losses), 0, None)).sum()) - delta

    return optimize.brentq(excess, 0, count * epsilon)


@pytest.mark.parametrize("count", [1, 5, 30])
def test_several_cost_what_the_binomial_distribution_says(count):
    found = accountant.epsilon([RandomizedResponse(2, 0.4).event("record")] * count, DELTA)
    exact = of_binary_answers(count, 0.4, DELTA)
    assert exact <= found <= 1.01 * exact


def test_with_a_training_they_cost_less_than_both():
    answers = [RandomizedResponse(4, 2.5).event("record")]
    training = [Event("poisson-gaussian", 0.1, 2.0, 60)]
    apart = [accountant.epsilon(events, DELTA) for events in (answers, training)]
    assert max(apart) < accountant.epsilon(answers + training, DELTA) < sum(apart)


def test_the_filter_sums_the_divergences_of_two_answers():
    events = [RandomizedResponse(2, 0.4).event("record")] * 30
    truth = 1 / (1 + math.exp(-0.4))
    orders = np.array([1.5, 2, 4, 8, 16, 32])
    moments = truth**orders * (1 - truth) ** (1 - orders) + (1 - truth) ** orders * truth ** (
        1 - orders
    )
    # The conversion of Canonne, Kamath and Steinke 2020, proposition 12, at a few orders alone.
    bounds = 30 * np.log(moments) / (orders - 1) + np.log1p(-1 / orders)
    bounds -= np.log(DELTA * orders) / (orders - 1)
    found = accountant.filtered_epsilon(events, DELTA)
    assert of_binary_answers(30, 0.4, DELTA) <= found <= bounds.min()
    assert found >= 0.9 * bounds.min()


@pytest.mark.parametrize(("choices", "epsilon"), [(1, 1.0), (2, 0.0), (2, math.inf), (2, math.nan)])
def test_what_is_no_mechanism_is_refused(choices, epsilon):
    with pytest.raises(PrivacyError):
        RandomizedResponse(choices, epsilon)


def test_its_event_is_read_as_it_was_written():
    event = RandomizedResponse(4, 2.5).event("customer")
    assert Event.from_text(event.as_text()) == event
