"""The sampling that ε describes is the sampling that happens."""

from dataclasses import replace

import numpy as np
import pytest

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness

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
