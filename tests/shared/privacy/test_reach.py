"""The derived bound of a coordinate: SGD reaches it, and goes no further."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.reach import DEVIATIONS, reach

PLAN = TrainingPlan("dp-sgd", 0.5, 2.0, 1.0, 5, expected_batch=10.0, adapter_share=0.2)


@given(st.integers(1, 30), st.floats(0, 0.95), st.floats(0.01, 5), st.floats(0.01, 5))
def test_torchs_sgd_reaches_the_signals_bound(
    steps: int, momentum: float, rate: float, clipping_norm: float
) -> None:
    weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=rate, momentum=momentum)
    for _ in range(steps):
        weight.grad = torch.tensor(-clipping_norm, dtype=torch.float64)
        optimizer.step()
    quiet = replace(PLAN, steps=steps, mechanism="none", noise_multiplier=0.0)
    assert reach(quiet, clipping_norm, rate, momentum) == pytest.approx(weight.item(), rel=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_noise_alone_has_the_deviation_that_is_allowed_for(momentum: float) -> None:
    count, generator = 200_000, torch.Generator().manual_seed(0)
    weights = torch.nn.Parameter(torch.zeros(count))
    optimizer = torch.optim.SGD([weights], lr=0.3, momentum=momentum)
    for _ in range(PLAN.steps):
        noise = torch.randn(count, generator=generator)
        weights.grad = PLAN.noise_multiplier * PLAN.clipping_norm / PLAN.expected_batch * noise
        optimizer.step()
    bound = reach(PLAN, 0.0, 0.3, momentum)
    assert float(weights.std()) == pytest.approx(bound / DEVIATIONS, rel=0.01)
    assert float(weights.abs().max()) < bound
