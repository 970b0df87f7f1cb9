"""What is drawn is what is booked, and only counts that a unit moves by no more are noised."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from shared.privacy.test_discrete import probabilities
from shared.privacy.test_distributed import gaussian_delta
from shared.statistics.made import exact, terms

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import discrete
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.statistics.answer import Layout

ASKED = terms()
GOOD = exact(ASKED, {1: 3, 12: 1}, {0: 2, 2: 2})


@settings(max_examples=12)
@given(st.floats(0.3, 8.0), st.integers(1, 4))
def test_the_integers_cost_no_more_than_the_gaussian_that_is_booked(
    epsilon: float, most: int
) -> None:
    """The probabilities that are drawn from, of a count that one unit has moved as far as it can."""
    layout = Layout(terms(epsilon, unit="patient", most_records=most))
    for question in layout.questions[:3]:
        found = probabilities(discrete.table(layout.variance(question)))
        one = np.array([float(p) for p in found.values()])
        moved = np.concatenate([np.zeros(question.reach), one])
        still = np.concatenate([one, np.zeros(question.reach)])
        share = layout.terms.noise_multiplier * math.sqrt(len(layout.questions))
        for at in np.linspace(0.0, 3.0, 7):
            delta = float(np.maximum(moved - math.exp(at) * still, 0).sum())
            assert delta <= gaussian_delta(at, share) * (1 + 1e-9) + 1e-14


def test_the_noise_has_the_distribution_that_is_promised() -> None:
    """20,000 draws against the probabilities of N_Z(7, V), in cells of 50 or more."""
    values = [f"ward {n}" for n in range(4000)]
    ward = {"kind": "category", "name": "ward", "values": values}
    layout, draws = Layout(terms(4.0, columns=(ward,))), 20_000
    counts, stream = np.full(layout.size, 7), Randomness.from_seed(1)
    drawn = np.array([layout.noised(counts, stream)[1:4001] for _ in range(5)]).ravel()
    variance = float(layout.variance(layout.questions[1]))
    value = np.arange(-40, 55)
    weight = np.exp(-((value - 7) ** 2) / (2 * variance))
    expected = draws * weight / weight.sum()
    kept = expected >= 50
    seen = np.array([(drawn == one).sum() for one in value[kept]])
    rest = draws - seen.sum(), draws - expected[kept].sum()
    assert chisquare([*seen, rest[0]], [*expected[kept], rest[1]]).pvalue > 1e-4


def test_every_question_gets_noise_of_its_own_size() -> None:
    layout, stream = Layout(terms(0.5)), Randomness.from_seed(2)
    zero = np.zeros(layout.size, dtype=np.int64)
    drawn = np.array([layout.noised(zero, stream) for _ in range(400)], dtype=np.float64)
    for question in layout.questions:
        cells = drawn[:, question.place]
        many = cells.size
        spread = cells.std() / layout.deviation(question)
        assert abs(spread - 1) < 5 / math.sqrt(2 * many)
        assert abs(cells.mean()) < 5 * layout.deviation(question) / math.sqrt(many)
    together = np.corrcoef(drawn.T) - np.eye(layout.size)
    assert np.abs(together).max() < 5 / math.sqrt(400)


def test_counts_that_fit_are_let_through() -> None:
    layout = Layout(ASKED)
    layout.check(GOOD, 4)
    assert len(layout.noised(GOOD, Randomness.from_seed(0))) == layout.size


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("records", 5),
        ("records", -1),
        ("age", 4),
        ("age", -1),
        ("ward", 3),
        ("sum", 4 * 512 + 1),
        ("sum", -4 * 512 - 1),
    ],
)
def test_counts_that_one_unit_could_move_farther_are_refused(place: str, value: int) -> None:
    layout, counts = Layout(ASKED), GOOD.copy()
    assert layout.steps == 512
    places = {"records": 0, "sum": layout.sum("age").start}
    counts[places.get(place, layout.counts(place).start if place not in places else 0)] = value
    with pytest.raises(PrivacyError, match="counts: "):
        layout.check(counts, 4)


def test_more_records_than_there_are_and_other_sizes_are_refused() -> None:
    layout = Layout(ASKED)
    for counts, records in ((GOOD, 3), (GOOD[:-1], 4), (GOOD[None], 4)):
        with pytest.raises(PrivacyError, match="counts: "):
            layout.check(counts, records)


def test_of_one_patient_no_more_records_count_than_were_booked() -> None:
    asked = terms(unit="patient", most_records=2)
    layout, counts = Layout(asked), exact(asked, {1: 4}, {0: 4})
    counts[layout.unit_count.start] = 2
    layout.check(counts, 4)
    counts[layout.unit_count.start] = 1
    with pytest.raises(PrivacyError, match="of one unit too many"):
        layout.check(counts, 4)
