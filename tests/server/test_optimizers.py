"""The server's step against a reckoning by hand in numpy, over several rounds."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedYogi
from flwr.supercore.task_identity import TaskIdentity

from fedward_server import optimizers
from fedward_shared.charter_terms import AggregationTerms
from fedward_shared.tensors import Tensors

Kind = Literal["fedavg", "fedavgm", "fedadam", "fedyogi"]
KINDS = get_args(Kind)

ROUNDS = 6
SHAPES = {"a": (3, 2), "b": (4,)}
UPDATES = [
    {n: np.random.default_rng(r).normal(size=s).astype("f") for n, s in SHAPES.items()}
    for r in range(ROUNDS)
]
START = {n: np.random.default_rng(99).normal(size=s).astype("f") for n, s in SHAPES.items()}


def terms(kind: Kind, momentum: float) -> AggregationTerms:
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
                by = u**2 - v[name] if kind == "fedadam" else u**2 * np.sign(u**2 - v[name])
                v[name] = v[name] + 0.01 * by
                x[name] = x[name] + 0.3 * m[name] / (np.sqrt(v[name]) + 1e-3)
        history.append({name: array.copy() for name, array in x.items()})
    return history


@pytest.mark.parametrize("beta", [0.0, 0.9])
@pytest.mark.parametrize("kind", KINDS)
def test_several_rounds_are_those_by_hand(kind: Kind, beta: float) -> None:
    adapter, state = as_tensors(START), dict[str, torch.Tensor]()
    for update, expected in zip(UPDATES, by_hand(kind, beta), strict=True):
        adapter, state = optimizers.step(adapter, as_tensors(update), state, terms(kind, beta))
        for name, array in expected.items():
            np.testing.assert_allclose(adapter[name].numpy(), array, rtol=1e-5, atol=1e-5)
            assert adapter[name].dtype == torch.float32


def test_the_state_is_what_the_method_needs() -> None:
    names = {}
    for kind in KINDS:
        _, state = optimizers.step(as_tensors(START), as_tensors(UPDATES[0]), {}, terms(kind, 0.9))
        names[kind] = set(state)
    assert names == {
        "fedavg": set(),
        "fedavgm": {"first.a", "first.b"},
        "fedadam": {"first.a", "first.b", "second.a", "second.b"},
        "fedyogi": {"first.a", "first.b", "second.a", "second.b"},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_leaves_what_it_is_given(kind: Kind) -> None:
    adapter, mean = as_tensors(START), as_tensors(UPDATES[0])
    _, state = optimizers.step(adapter, mean, {}, terms(kind, 0.9))
    before = {name: tensor.clone() for name, tensor in state.items()}
    optimizers.step(adapter, mean, state, terms(kind, 0.9))
    assert all(np.array_equal(adapter[name].numpy(), START[name]) for name in SHAPES)
    assert all(np.array_equal(mean[name].numpy(), UPDATES[0][name]) for name in SHAPES)
    assert all(torch.equal(state[name], before[name]) for name in before)


def test_an_update_of_zero_moves_nothing() -> None:
    zero = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    for kind in KINDS:
        adapter, _ = optimizers.step(as_tensors(START), zero, {}, terms(kind, 0.9))
        assert all(np.array_equal(adapter[name].numpy(), START[name]) for name in SHAPES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_that_rests_keeps_its_place_and_its_state(kind: Kind) -> None:
    adapter, state = as_tensors(START), dict[str, torch.Tensor]()
    for number, update in enumerate(UPDATES):
        moving = "a" if number % 2 else "b"
        before, kept = adapter, state
        mean = {moving: as_tensors(update)[moving]}
        adapter, state = optimizers.step(adapter, mean, state, terms(kind, 0.9))
        resting = "b" if moving == "a" else "a"
        assert torch.equal(adapter[resting], before[resting])
        assert not torch.equal(adapter[moving], before[moving])
        for name in (f"first.{resting}", f"second.{resting}"):
            assert (name in state) == (name in kept)
            assert name not in kept or torch.equal(state[name], kept[name])


PEERS: dict[str, Callable[[], FedAvg]] = {
    "fedavg": FedAvg,
    "fedavgm": lambda: FedAvgM(server_learning_rate=0.3, server_momentum=0.9),
    "fedadam": lambda: FedAdam(eta=0.3, beta_1=0.9, beta_2=0.99, tau=1e-3),
    "fedyogi": lambda: FedYogi(eta=0.3, beta_1=0.9, beta_2=0.99, tau=1e-3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_several_rounds_are_those_of_flowers_strategies(kind: Kind) -> None:
    """Its FedAdam corrects the bias of its moments, which Reddi et al. and we do not; its FedAvg has no
    rate."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
    strategy, peer = PEERS[kind](), {n: array.astype("d") for n, array in START.items()}
    adapter, state = as_tensors(START), dict[str, torch.Tensor]()
    for number, update in enumerate(UPDATES, start=1):
        rate = 1.0 if kind == "fedavg" else 0.3
        if kind == "fedadam":
            rate *= float(np.sqrt(1 - 0.99 ** (number + 1)) / (1 - 0.9 ** (number + 1)))
        wanted = terms(kind, 0.9).model_copy(update={"server_learning_rate": rate})
        adapter, state = optimizers.step(adapter, as_tensors(update), state, wanted)
        peer = flowers(strategy, number, peer, update)
        for name, array in peer.items():
            np.testing.assert_allclose(adapter[name].numpy(), array, rtol=1e-4, atol=1e-4)


def flowers(
    strategy: Any, number: int, start: dict[str, np.ndarray], update: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What a strategy of Flower makes of one site's update."""
    # As `configure_train` would do; FedAvgM keeps the array record, the others the arrays.
    strategy.current_arrays = record(start) if isinstance(strategy, FedAvgM) else start
    content = RecordDict(
        {
            "arrays": record({name: start[name] + u for name, u in update.items()}),
            "metrics": MetricRecord({"num-examples": 1}),
        }
    )
    reply = Message(content=content, dst_node_id=1, message_type="train", group_id="")
    arrays, _ = strategy.aggregate_train(number, [reply])
    assert arrays is not None
    return {name: array.numpy() for name, array in arrays.items()}


def record(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})
