"""The sampling that ε describes is the one that happens; a booked event is read as it was written."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared import canonical
from fedward_shared.errors import PrivacyError, StateError
from fedward_shared.privacy.clipping import AdaptiveClipping
from fedward_shared.privacy.plan import BOUNDED, MECHANISMS, UNKNOWN, Event, TrainingPlan
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.privacy.unit import UNITS

PLAN = TrainingPlan("dp-sgd", 0.1, 1.0, 1.0, 4000, 5.0, 0.2)


def test_each_unit_enters_each_step_independently_at_the_booked_rate() -> None:
    units = 50
    taken = np.zeros((PLAN.steps, units))
    for step, batch in enumerate(PLAN.batches(units, Randomness.from_seed(3, "sample"))):
        taken[step, batch] = 1
    assert len(taken) == PLAN.event.steps
    # Four standard deviations of a mean over 4,000 Bernoulli draws.
    bound = 4 * np.sqrt(0.1 * 0.9 / PLAN.steps)
    assert np.abs(taken.mean(axis=0) - PLAN.event.sampling_rate).max() < bound
    # A Poisson sample's size varies like a sum of independent draws; a fixed-size sample's does not.
    assert taken.sum(axis=1).var() == pytest.approx(units * 0.1 * 0.9, rel=0.1)
    correlation = np.corrcoef(taken[:, 0], taken[:, 1])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(PLAN.steps)


def test_samples_may_be_empty() -> None:
    sizes = [len(b) for b in PLAN.batches(2, Randomness.from_seed(0, "empty"))]
    assert sizes.count(0) / len(sizes) == pytest.approx(0.81, abs=0.03)


BANDED = replace(PLAN, sampling_rate=0.04, steps=20, bands=5)


def test_with_bands_a_unit_is_in_one_part_and_its_steps_lie_apart() -> None:
    plan, units, rounds = replace(BANDED, steps=10), 60, 400
    taken = np.zeros((rounds, plan.steps, units))
    for number in range(rounds):
        batches = plan.batches(units, Randomness.from_seed(number, "sample"))
        for step, batch in enumerate(batches):
            taken[number, step, batch] = 1
    for number in range(rounds):
        for unit in range(units):
            steps = np.flatnonzero(taken[number, :, unit])
            assert len(set(steps % plan.bands)) <= 1
    # In its part a unit has the booked rate; over all parts the plan's own, four deviations wide.
    draws = rounds * plan.steps
    assert np.abs(taken.mean(axis=(0, 1)) - 0.04).max() < 4 * np.sqrt(0.04 * 5 / draws)
    first, again = taken[:, 0], taken[:, plan.bands]
    rate = (first * again).sum() / first.sum()
    assert rate == pytest.approx(plan.event.sampling_rate, abs=4 * np.sqrt(0.16 / first.sum()))
    assert (taken[:, 0] * taken[:, 1]).sum() == 0
    # The parts are drawn anew in each round.
    parts = [taken[number, :: plan.bands].any(axis=0).tolist() for number in range(rounds)]
    assert len(set(map(tuple, parts))) > rounds / 2


def test_with_bands_fewer_steps_are_booked_at_a_higher_rate() -> None:
    assert BANDED.event == Event("poisson-gaussian", 0.2, 1.0, 4)
    assert replace(BANDED, bands=1).event == Event("poisson-gaussian", 0.04, 1.0, 20)


@pytest.mark.parametrize(
    "change",
    [
        {"bands": 0},
        {"bands": 3},
        {"bands": 40},
        {"bands": 20, "sampling_rate": 0.06},
        {"steps": 260, "bands": 5},
        {"adaptive": AdaptiveClipping(0.5, 0.2, 0.01)},
        {"mechanism": "none"},
    ],
    ids=str,
)
def test_bands_that_cannot_be_accounted_for_are_refused(change: dict[str, object]) -> None:
    fields = {**BANDED.__dict__, **change}
    with pytest.raises(PrivacyError, match="bands is"):
        TrainingPlan(**fields)


@pytest.mark.parametrize(
    "change",
    [
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.1},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": float("inf")},
        {"clipping_norm": -1.0},
        {"steps": 0},
        {"expected_batch": 0.0},
        {"adapter_share": 0.0},
        {"adapter_share": 1.0},
        {"records_per_unit": 0},
    ],
)
def test_numbers_that_describe_no_mechanism_are_refused(change: dict[str, float]) -> None:
    fields = {**PLAN.__dict__, **change}
    with pytest.raises(PrivacyError, match=next(iter(change))):
        TrainingPlan(**fields)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_the_parts_of_a_contribution_are_together_no_longer_than_the_clipping_norm(
    share: float,
) -> None:
    plan = replace(PLAN, clipping_norm=3.0, adapter_share=share)
    head, adapter = plan.clipping_norms(head=True, adapter=True)
    assert np.hypot(head, adapter) == pytest.approx(plan.clipping_norm, rel=1e-12)
    assert (adapter / plan.clipping_norm) ** 2 == pytest.approx(share)


def test_a_part_that_moves_alone_has_the_whole_clipping_norm() -> None:
    assert PLAN.clipping_norms(head=True, adapter=False)[0] == PLAN.clipping_norm
    assert PLAN.clipping_norms(head=False, adapter=True)[1] == PLAN.clipping_norm


@st.composite
def events(draw: st.DrawFn) -> Event:
    mechanism = draw(st.sampled_from(MECHANISMS))
    whole = mechanism in BOUNDED and mechanism != "poisson-gaussian"
    rate = 1.0 if whole else draw(st.floats(1e-9, 1.0))
    noise = draw(st.floats(1e-6, 1e6)) if mechanism in BOUNDED else 0.0
    best_of = None
    if mechanism == "poisson-gaussian":
        shape = st.one_of(st.floats(0, 100), st.just(float("inf")))
        best_of = draw(st.none() | st.tuples(st.floats(1.001, 1e6), shape))
    steps, unit = draw(st.integers(1, 10**9)), draw(st.sampled_from(UNITS))
    return Event(mechanism, rate, noise, steps, unit, best_of)


@given(events())
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    assert Event.from_text(event.as_text()) == event


GOLDEN = {
    '{"mechanism":"poisson-gaussian","noise_multiplier":"1.5","sampling_rate":"0.1","steps":10,'
    '"unit":"patient","version":2}': Event("poisson-gaussian", 0.1, 1.5, 10, "patient"),
    '{"best_of":["10.0","inf"],"mechanism":"poisson-gaussian","noise_multiplier":"1.5",'
    '"sampling_rate":"0.1","steps":10,"unit":"patient","version":3}': (
        Event("poisson-gaussian", 0.1, 1.5, 10, "patient", (10.0, float("inf")))
    ),
    '{"mechanism":"laplace","noise_multiplier":"20.0","sampling_rate":"1.0","steps":1,'
    '"unit":"record","version":2}': Event("laplace", 1.0, 20.0, 1),
}
FIRST = {
    '{"mechanism":"poisson-gaussian","noise_multiplier":"1.5","sampling_rate":"0.1","steps":10}': (
        Event("poisson-gaussian", 0.1, 1.5, 10)
    ),
    '{"mechanism":"unknown","noise_multiplier":"0.0","sampling_rate":"1.0","steps":1}': UNKNOWN,
}


def test_the_text_of_an_event_stays_as_it_is() -> None:
    for text, event in GOLDEN.items():
        assert event.as_text() == text
        assert Event.from_text(text) == event


def test_what_the_first_version_wrote_is_still_read() -> None:
    for text, event in FIRST.items():
        assert Event.from_text(text) == event


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version": None},
        {"mechanism": "exponential"},
        {"mechanism": "gaussian", "sampling_rate": "0.1"},
        {"unit": "household"},
        {"unit": None},
        {"steps": -10},
        {"steps": "10"},
        {"steps": True},
        {"steps": 2**53 - 1, "sampling_rate": "1e-01"},
        {"noise_multiplier": "0.0"},
        {"noise_multiplier": "nan"},
        {"noise_multiplier": "1.50"},
        {"sampling_rate": "0"},
        {"more": 1},
    ],
    ids=str,
)
def test_an_event_that_is_not_understood_is_refused(change: dict[str, object]) -> None:
    """Never skipped, and never taken for a cheaper one."""
    content = canonical.decode(next(iter(GOLDEN)).encode()) | change
    for key in [key for key, value in change.items() if value is None]:
        del content[key]
    with pytest.raises(StateError, match="event"):
        Event.from_text(canonical.encode(content).decode())


HUGE = next(iter(GOLDEN)).replace('"steps":10', f'"steps":{2**60}')


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 10_000, '{"mechanism":[]}', HUGE])
def test_text_that_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(StateError, match="event"):
        Event.from_text(text)


def test_a_gaussian_release_takes_everybody() -> None:
    with pytest.raises(PrivacyError, match="takes all units"):
        Event("gaussian", 0.5, 1.0, 1)


@pytest.mark.parametrize("unit", UNITS)
def test_a_plan_books_the_unit_that_it_samples(unit: str) -> None:
    plan = TrainingPlan(**{**PLAN.__dict__, "unit": unit})
    assert plan.event == Event("poisson-gaussian", 0.1, 1.0, 4000, plan.unit)
    assert plan.event.unit == unit
    assert TrainingPlan(**{**PLAN.__dict__, "unit": unit, "mechanism": "none"}).event.unit == unit


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ('"version":3', '"version":2'),
        ('["10.0","1.0"]', '["10.0"]'),
        ('["10.0","1.0"]', '["10.0","1.0","1.0"]'),
        ('["10.0","1.0"]', '["1.0","1.0"]'),
        ('["10.0","1.0"]', '["10.0","-1.0"]'),
        ('["10.0","1.0"]', '["10.0","nan"]'),
        ('["10.0","1.0"]', '["10","1.0"]'),
        ("poisson-gaussian", "laplace"),
        (',"unit":"record","version":3', ""),
    ],
)
def test_a_selection_that_cannot_be_is_not_read(text: str, changed: str) -> None:
    whole = Event("poisson-gaussian", 1.0, 1.5, 10, "record", (10.0, 1.0)).as_text()
    assert text in whole
    with pytest.raises(StateError, match=r"not an event|not written as it should be"):
        Event.from_text(whole.replace(text, changed))
