"""What the server does with the mean update (Reddi et al. 2021, "Adaptive Federated Optimization")."""

import torch

from fedward_shared import adapters
from fedward_shared.charter_terms import AggregationTerms
from fedward_shared.tensors import Tensors

SECOND_MOMENT = 0.99
FLOOR = 1e-3


def advance(
    method: str,
    start: Tensors,
    adapter: Tensors,
    mean: Tensors,
    state: Tensors,
    terms: AggregationTerms,
) -> tuple[Tensors, Tensors]:
    """What the next round hands out, and the optimiser's next state.

    `start` are all the study's tensors as they were, `adapter` those of them that the round has handed
    out, `mean` is the mean of the parts of the sites' updates (`adapters.Averaging`).
    """
    averaging = adapters.averaging(method)
    stepped, following = step(adapter, averaging.change(start, mean), state, terms)
    return averaging.close(start, mean, stepped, following)


def step(
    adapter: Tensors, mean: Tensors, state: Tensors, terms: AggregationTerms
) -> tuple[Tensors, Tensors]:
    """The next adapter and the optimiser's next state, from the mean update of a round.

    `state` is empty before the first round; a tensor that is not in `mean` rests, and its state too.
    fedavg: x + η·u; fedavgm: momentum on u; fedadam and fedyogi: theirs on u, without bias correction.
    """
    rate, beta, kind = terms.server_learning_rate, terms.server_momentum, terms.server_optimizer
    if kind == "fedavg":
        return adapter | {name: adapter[name] + rate * u for name, u in mean.items()}, {}
    first = {
        name: beta * state.get(f"first.{name}", torch.zeros_like(u))
        + (1 if kind == "fedavgm" else 1 - beta) * u
        for name, u in mean.items()
    }
    following = state | {f"first.{name}": value for name, value in first.items()}
    if kind == "fedavgm":
        return adapter | {name: adapter[name] + rate * m for name, m in first.items()}, following
    second = {
        name: _second(kind, state.get(f"second.{name}", torch.zeros_like(u)), u.square())
        for name, u in mean.items()
    }
    following |= {f"second.{name}": value for name, value in second.items()}
    moved = {
        name: adapter[name] + rate * m / (second[name].sqrt() + FLOOR) for name, m in first.items()
    }
    return adapter | moved, following


def _second(kind: str, before: torch.Tensor, squared: torch.Tensor) -> torch.Tensor:
    """The second moment: Yogi's changes by as much as u² says, whatever it was."""
    if kind == "fedadam":
        return SECOND_MOMENT * before + (1 - SECOND_MOMENT) * squared
    return before - (1 - SECOND_MOMENT) * squared * torch.sign(before - squared)
