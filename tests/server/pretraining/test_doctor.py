"""What the doctor sees, and what it leaves alone."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_server.pretraining.doctor import (
    Doctor,
    DoctorTerms,
    GiveUp,
    GoBack,
    NewLoader,
    Reweight,
    SaveMemory,
    Treatment,
)

TERMS = DoctorTerms()


def course(steps: int, seed: int = 0, noise: float = 0.05) -> list[float]:
    """Losses of a training that goes well: a power law and the noise of batches."""
    drawn = np.random.default_rng(seed).normal(0, noise, steps)
    return [2 + 6 * (1 + step / 20) ** -0.5 + drawn[step] for step in range(steps)]


def treated(doctor: Doctor, losses: list[float], first: int = 0) -> list[tuple[int, Treatment]]:
    said = ((first + n, doctor.step(first + n, loss, 1.0)) for n, loss in enumerate(losses))
    return [(step, treatment) for step, treatment in said if treatment is not None]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.001, 0.2))
def test_a_training_that_goes_well_is_left_alone(seed: int, noise: float) -> None:
    assert treated(Doctor(TERMS), course(600, seed, noise)) == []


def test_a_loss_that_is_not_finite_goes_back_at_once() -> None:
    for loss, norm in ((math.nan, 1.0), (math.inf, 1.0), (3.0, math.nan), (3.0, math.inf)):
        doctor = Doctor(TERMS)
        assert treated(doctor, course(10)) == []
        treatment = doctor.step(10, loss, norm)
        assert isinstance(treatment, GoBack)
        assert treatment.to == 10
        assert treatment.factor == TERMS.slower
        assert "not finite" in treatment.reason


def test_a_spike_that_stays_goes_back_to_before_it_and_one_that_passes_does_not() -> None:
    losses = course(300)
    passing = [*losses[:200], 9.0, 9.0, *losses[202:]]
    assert treated(Doctor(TERMS), passing) == []
    ((step, treatment),) = treated(Doctor(TERMS), [*losses[:200], 9.0, 9.0, 9.0])
    assert step == 202
    assert isinstance(treatment, GoBack)
    assert treatment.to == 200
    assert "spike" in treatment.reason


def test_a_loss_that_oscillates_goes_back() -> None:
    waves = [loss + (0.4 if n % 2 else -0.4) for n, loss in enumerate(course(300, noise=0.01)) if n]
    said = treated(Doctor(TERMS), [*course(200, noise=0.01), *waves[200:]])
    assert isinstance(said[0][1], GoBack)
    assert "oscillates" in said[0][1].reason
    assert 200 <= said[0][0] < 220


def test_memory_is_saved_by_computing_again_and_then_by_fewer_rows() -> None:
    doctor = Doctor(TERMS)
    first = doctor.out_of_memory(5, recomputes=False, micro_batch=8)
    assert isinstance(first, SaveMemory)
    assert (first.recompute, first.micro_batch) == (True, 8)
    second = doctor.out_of_memory(5, recomputes=True, micro_batch=8)
    assert isinstance(second, SaveMemory)
    assert second.micro_batch == 4
    assert isinstance(doctor.out_of_memory(5, recomputes=True, micro_batch=1), GiveUp)


def test_a_source_that_is_starved_is_drawn_more_once_its_held_out_loss_stays() -> None:
    doctor, weights = Doctor(TERMS), {"en": 0.99, "zh": 0.01}
    losses = course(400)
    for part, held_out in enumerate((7.0, 7.1, 7.2)):
        assert treated(doctor, losses[100 * part : 100 * part + 100], 100 * part) == []
        said = doctor.evaluated(100 * part, {"en": 3.0 - 0.1 * part, "zh": held_out}, weights)
    assert isinstance(said, Reweight)
    assert said.weights["zh"] > 0.3
    assert math.isclose(sum(said.weights.values()), 1)


def test_held_out_losses_that_fall_are_left_alone() -> None:
    doctor, weights = Doctor(TERMS), {"en": 0.99, "zh": 0.01}
    losses = course(400)
    for part, held_out in enumerate((7.0, 6.5, 6.1)):
        treated(doctor, losses[100 * part : 100 * part + 100], 100 * part)
        assert doctor.evaluated(100 * part, {"en": 3.0, "zh": held_out}, weights) is None


def test_it_gives_up_when_nothing_helps_and_not_when_something_did() -> None:
    doctor = Doctor(TERMS)
    said = [doctor.step(n, math.nan, 1.0) for n in range(TERMS.most + 1)]
    assert [type(treatment) for treatment in said] == [GoBack] * TERMS.most + [GiveUp]
    assert "not helped" in said[-1].reason  # type: ignore[union-attr]
    doctor = Doctor(TERMS)
    for n in range(3 * TERMS.most):  # each time the loss comes to a new low in between
        assert treated(doctor, course(600)[20 * n : 20 * n + 20], 20 * n) == []
        assert isinstance(doctor.step(20 * n + 20, math.nan, 1.0), GoBack)
    assert isinstance(doctor.stalled(7, 300.0), NewLoader)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.1, 20), min_size=1, max_size=150), st.integers(0, 149))
def test_one_that_was_restored_says_the_same(losses: list[float], cut: int) -> None:
    cut = min(cut, len(losses))
    whole, begun = Doctor(TERMS), Doctor(TERMS)
    treated(whole, losses[:cut])
    treated(begun, losses[:cut])
    resumed = Doctor(TERMS)
    resumed.restore(begun.state())
    assert treated(resumed, losses[cut:], cut) == treated(whole, losses[cut:], cut)


def test_what_was_tried_stays_tried_after_going_back_and_after_a_kill() -> None:
    doctor = Doctor(TERMS)
    before = doctor.state()
    for step in range(TERMS.most):
        assert isinstance(doctor.step(step, math.nan, 1.0), GoBack)
        doctor.restore(before)
    resumed = Doctor(TERMS)
    resumed.restore(doctor.state())
    assert isinstance(doctor.step(9, math.nan, 1.0), GiveUp)
    assert isinstance(resumed.step(9, math.nan, 1.0), GiveUp)


@pytest.mark.parametrize("wrong", [{"window": 3}, {"slower": 1.5}, {"patience": 0}])
def test_terms_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        DoctorTerms.model_validate(wrong)
