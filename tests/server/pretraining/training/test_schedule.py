"""Rates of a schedule, and what a doctor makes of it."""

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from fedward_server.pretraining.training.schedule import Course, ScheduleTerms, planned

TERMS = ScheduleTerms(steps=1_000, warm_up=100, rate=1e-4, final=0.0)


def test_the_rate_is_that_of_the_field_s_cosine_schedule() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    peer = get_cosine_schedule_with_warmup(optimizer, 100, 1_000)
    for step in range(1_000):
        # Theirs begins at 0, where a step does nothing: ours is one step ahead until it is warm.
        if step >= 100:
            assert planned(TERMS, step) == pytest.approx(peer.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        peer.step()
        if step < 99:
            assert planned(TERMS, step) == pytest.approx(peer.get_last_lr()[0], abs=1e-12)


def test_it_ends_at_its_final_share() -> None:
    terms = TERMS.model_copy(update={"final": 0.1})
    assert planned(terms, 999) == pytest.approx(1e-5, rel=1e-3)
    assert planned(terms, 5_000) == pytest.approx(1e-5)


def test_a_doctor_s_factor_warms_up_again_and_stays() -> None:
    course = Course().slower(500, 0.5, 10).slower(600, 0.5, 20)
    assert course.rate(TERMS, 600) == pytest.approx(0.25 * planned(TERMS, 600) / 20)
    assert course.rate(TERMS, 619) == pytest.approx(0.25 * planned(TERMS, 619))
    assert course.rate(TERMS, 900) == pytest.approx(0.25 * planned(TERMS, 900))
