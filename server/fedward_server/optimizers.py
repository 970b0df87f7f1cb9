"""What the server does with the mean update (Reddi et al. 2021, "Adaptive Federated Optimization")."""

import torch

from fedward_shared.charter import AggregationTerms
from fedward_shared.tensors import Tensors

ADAM_SECOND_MOMENT = 0.99
ADAM_FLOOR = 1e-3


def step(
    adapter: Tensors, mean: Tensors, state: Tensors, terms: AggregationTerms
) -> tuple[Tensors, Tensors]:
    """The next adapter and the optimiser's next state, from the mean update of a round.

    `state` is empty before the first round. fedavg: x + η·u; fedavgm: momentum on u; fedadam: Adam
    without bias correction on u.
    """
    rate, beta = terms.server_learning_rate, terms.server_momentum
    if terms.server_optimizer == "fedavg":
        return {name: adapter[name] + rate * mean[name] for name in adapter}, {}
    first = {
        name: beta * state.get(f"first.{name}", torch.zeros_like(value))
        + (1 - beta if terms.server_optimizer == "fedadam" else 1) * value
        for name, value in mean.items()
    }
    next_state = {f"first.{name}": value for name, value in first.items()}
    if terms.server_optimizer == "fedavgm":
        return {name: adapter[name] + rate * first[name] for name in adapter}, next_state
    second = {
        name: ADAM_SECOND_MOMENT * state.get(f"second.{name}", torch.zeros_like(value))
        + (1 - ADAM_SECOND_MOMENT) * value.square()
        for name, value in mean.items()
    }
    next_state |= {f"second.{name}": value for name, value in second.items()}
    return {
        name: adapter[name] + rate * first[name] / (second[name].sqrt() + ADAM_FLOOR)
        for name in adapter
    }, next_state
