"""The steps of one party's tensors: AdamW over one cycle of learning rates (Smith and Topin 2018)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from fedward_shared import tensors
from fedward_shared.privacy.bounded import BoundedNoise
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tensors import Tensors
from fedward_shared.vertical.models import generator
from fedward_shared.vertical.terms import FittingTerms

Made = TypeVar("Made", bound=nn.Module)
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of a module's output and the target of one record, as a batch of one."""

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a tensor that has had a gradient."""
RISING = 0.2
"""The part of all steps in which the learning rate rises."""


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The tensors of `module` that train: a base model's own do not."""
    return {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}


class Steps:
    """Of the tensors of some modules that train."""

    def __init__(self, modules: Iterable[nn.Module], terms: FittingTerms, records: int) -> None:
        tensors = [tensor for module in modules for tensor in trained(module).values()]
        self._tensors = tensors
        self._optimizer = torch.optim.AdamW(
            tensors, lr=terms.learning_rate, weight_decay=terms.weight_decay
        )
        self._cycle = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            terms.learning_rate,
            total_steps=terms.steps(records) + 1,
            pct_start=RISING,
        )

    def take(self) -> None:
        """One step by the gradients that are there, which are then gone."""
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._cycle.step()

    @property
    def taken(self) -> int:
        """How many steps were taken."""
        return self._cycle.last_epoch

    def state_dict(self) -> Tensors:
        """The tensors, and what the next step depends on."""
        found = {f"tensor {n}": tensor.detach() for n, tensor in enumerate(self._tensors)}
        for n, moments in self._optimizer.state_dict()["state"].items():
            found |= {f"{name} {n}": moment for name, moment in moments.items()}
        return found | {"taken": torch.tensor(self.taken)}

    @torch.no_grad()
    def load_state_dict(self, state: Tensors) -> None:
        """Goes on where steps over the same tensors were."""
        moments: dict[int, Tensors] = {}
        for n, tensor in enumerate(self._tensors):
            tensor.copy_(state[f"tensor {n}"])
            names = [name for name in MOMENTS if f"{name} {n}" in state]
            moments[n] = {name: state[f"{name} {n}"].clone() for name in names}
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        # The rate of a step follows from its number alone; where none seems taken, PyTorch warns.
        taken = int(state["taken"])
        self._cycle.load_state_dict({"last_epoch": taken - 1, "_step_count": taken + 1})
        self._cycle.step()


def kept(module: nn.Module) -> Tensors:
    """What a party keeps of a model that it has fitted: what trains. Base models are in folders of their
    own, and what begins at numbers that everybody could tell and stays so is begun again."""
    return {name: tensor.detach() for name, tensor in trained(module).items()}


def loaded(module: Made, model: Tensors) -> Made:
    """`module` with the tensors that were `kept` of such a one. Raises AdapterError for others."""
    own = kept(module)
    tensors.check(model, tensors.schema_of(own), "the kept model")
    for name, tensor in own.items():
        tensor.copy_(model[name])
    return module


def batches(terms: FittingTerms, records: int, session: str) -> Iterator[torch.Tensor]:
    """The training records of each batch of all epochs: what both parties can tell."""
    for epoch in range(terms.epochs):
        order = torch.randperm(records, generator=generator(session, "epoch", str(epoch)))
        yield from torch.split(order, terms.batch)


def gradients(
    module: nn.Module, inputs: Sequence[torch.Tensor], target_B: torch.Tensor, loss: Loss
) -> list[torch.Tensor]:
    """Of each tensor of `module` that trains its gradients, one for each record, [B, ...]."""
    tensors = {name: tensor.detach() for name, tensor in trained(module).items()}
    if not len(target_B):
        return [tensor.new_zeros(0, *tensor.shape) for tensor in tensors.values()]

    def one(own: dict[str, torch.Tensor], target: torch.Tensor, *row: torch.Tensor) -> torch.Tensor:
        made = functional_call(module, own, tuple(part.unsqueeze(0) for part in row))
        return loss(made, target.unsqueeze(0))

    by_name = vmap(grad(one), in_dims=(None, 0, *[0] * len(inputs)))(tensors, target_B, *inputs)
    return [by_name[name] for name in tensors]


def noised_gradients(
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    target_B: torch.Tensor,
    loss: Loss,
    noise: BoundedNoise,
    randomness: Randomness,
) -> None:
    """Gives the tensors of `module` that train the noised mean of the records' clipped gradients."""
    samples = gradients(module, inputs, target_B, loss)
    flat_BP = torch.cat([sample.flatten(1) for sample in samples], dim=1)
    mean_P = noise.total(flat_BP, randomness) / len(flat_BP)
    tensors = trained(module).values()
    sizes = [tensor.numel() for tensor in tensors]
    for tensor, part in zip(tensors, torch.split(mean_P, sizes), strict=True):
        tensor.grad = part.view_as(tensor).clone()
