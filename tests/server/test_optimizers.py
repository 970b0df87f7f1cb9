"""The server's step against a reckoning by hand in numpy, over several rounds."""

from typing import Literal

import numpy as np
import pytest
import torch

from fedward_server import optimizers
from fedward_shared.charter import AggregationTerms
from fedward_shared.tensors import Tensors

ROUNDS = 6
SHAPES = {"a": (3, 2), "b": (4,)}
UPDATES = [
    {n: np.random.default_rng(r).normal(size=s).astype("f") for n, s in SHAPES.items()}
    for r in range(ROUNDS)
]
START = {n: np.random.default_rng(99).normal(size=s).astype("f") for n, s in SHAPES.items()}


def terms(kind: Literal["fedavg", "fedavgm", "fedadam"], momentum: float) -> AggregationTerms:
    return AggregationTerms(
        server_optimizer=kind,
        server_learning_rate=0.3,
        server_momentum=momentum,
        minimum_cohort=1,
    )


def as_tensors(arrays: dict[str, np.ndarray]) -> Tensors:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def by_hand(kind: str, beta: float) -> list[dict[str, np.ndarray]]:
    """Reddi et al. 2021, Algorithm 2 without bias correction: β₂ = 0.99, τ = 1e-3."""
    x = {name: array.astype("d") for name, array in START.items()}
    m = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    v = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    history = []
    for update in UPDATES:
        for name, u in update.items():
            if kind == "fedavg":
                x[name] = x[name] + 0.3 * u
            elif kind == "fedavgm":
                m[name] = beta * m[name] + u
                x[name] = x[name] + 0.3 * m[name]
            else:
                m[name] = beta * m[name] + (1 - beta) * u
                v[name] = 0.99 * v[name] + 0.01 * u**2
                x[name] = x[name] + 0.3 * m[name] / (np.sqrt(v[name]) + 1e-3)
        history.append({name: array.copy() for name, array in x.items()})
    return history


@pytest.mark.parametrize("beta", [0.0, 0.9])
@pytest.mark.parametrize("kind", ["fedavg", "fedavgm", "fedadam"])
def test_several_rounds_are_those_by_hand(
    kind: Literal["fedavg", "fedavgm", "fedadam"], beta: float
) -> None:
    adapter, state = as_tensors(START), dict[str, torch.Tensor]()
    for update, expected in zip(UPDATES, by_hand(kind, beta), strict=True):
        adapter, state = optimizers.step(adapter, as_tensors(update), state, terms(kind, beta))
        for name, array in expected.items():
            np.testing.assert_allclose(adapter[name].numpy(), array, rtol=1e-5, atol=1e-5)
            assert adapter[name].dtype == torch.float32


def test_the_state_is_what_the_method_needs() -> None:
    names = {}
    for kind in ("fedavg", "fedavgm", "fedadam"):
        _, state = optimizers.step(as_tensors(START), as_tensors(UPDATES[0]), {}, terms(kind, 0.9))
        names[kind] = set(state)
    assert names == {
        "fedavg": set(),
        "fedavgm": {"first.a", "first.b"},
        "fedadam": {"first.a", "first.b", "second.a", "second.b"},
    }


@pytest.mark.parametrize("kind", ["fedavg", "fedavgm", "fedadam"])
def test_a_step_leaves_what_it_is_given(kind: Literal["fedavg", "fedavgm", "fedadam"]) -> None:
    adapter, mean = as_tensors(START), as_tensors(UPDATES[0])
    _, state = optimizers.step(adapter, mean, {}, terms(kind, 0.9))
    before = {name: tensor.clone() for name, tensor in state.items()}
    optimizers.step(adapter, mean, state, terms(kind, 0.9))
    assert all(np.array_equal(adapter[name].numpy(), START[name]) for name in SHAPES)
    assert all(np.array_equal(mean[name].numpy(), UPDATES[0][name]) for name in SHAPES)
    assert all(torch.equal(state[name], before[name]) for name in before)


def test_an_update_of_zero_moves_nothing() -> None:
    zero = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    for kind in ("fedavg", "fedavgm", "fedadam"):
        adapter, _ = optimizers.step(as_tensors(START), zero, {}, terms(kind, 0.9))
        assert all(np.array_equal(adapter[name].numpy(), START[name]) for name in SHAPES)
