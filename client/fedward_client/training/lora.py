"""Base and adapter as one function, and the gradient of each record by itself.

y = x Wᵀ + b + s·(x Aᵀ) Bᵀ is one autograd function. The base is frozen, so its backward pass has no
gradient of W; that of x is made in one pass; and every factor that trains gets the gradients of the B
records, [B, *shape], from one batched product. They are left as `grad_sample`, where the optimiser of
Opacus looks for them. A frozen factor costs nothing: `ffa-lora` and `lora-xs` need not keep x.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as AdaptedLinear
from torch import nn
from torch.autograd.function import once_differentiable

from fedward_client.training.remaking import remaking
from fedward_shared.errors import ModelError


class Gradients:
    """What a backward pass leaves of each trained tensor: `grad_sample` [B, *shape] where gradients are
    wanted `per_record`, and their sum as `grad` where they are not.
    """

    def __init__(self, per_record: bool) -> None:
        self._per_record = per_record
        self._records = 0

    def backward(self, losses_B: torch.Tensor) -> None:
        """Backpropagates the losses of B records.

        Raises ModelError for a layer of which the rows are not those of B records, in their order.
        """
        self._records = len(losses_B)
        torch.autograd.backward(losses_B.sum())

    def weight(
        self, parameter: nn.Parameter, grad: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor | None:
        """Takes the gradient gradᵀ·x of a `parameter` [O, I] that maps x [..., I] to [..., O].

        It is computed in the precision of the parameter. What is returned is for autograd.
        """
        grad, x = grad.to(parameter.dtype), x.to(parameter.dtype)
        if not self._per_record:
            return _rows(grad).T @ _rows(x)
        self._keep(parameter, torch.bmm(self._of_records(grad).mT, self._of_records(x)))
        return None

    def bias(self, parameter: nn.Parameter, grad: torch.Tensor) -> torch.Tensor | None:
        """Takes the gradient of a `parameter` [O] that is added to each row of [..., O]."""
        grad = grad.to(parameter.dtype)
        if not self._per_record:
            return _rows(grad).sum(dim=0)
        self._keep(parameter, self._of_records(grad).sum(dim=1))
        return None

    def table(
        self, parameter: nn.Parameter, grad: torch.Tensor, ids: torch.Tensor
    ) -> torch.Tensor | None:
        """Takes the gradient of a `parameter` [N, W] of which the rows `ids` [B, V] are read."""
        count = self._records if self._per_record else 1
        grad_BVW = grad.to(parameter.dtype).reshape(count, -1, grad.shape[-1])
        rows_BVW = ids.reshape(count, -1, 1).expand_as(grad_BVW)
        samples = grad_BVW.new_zeros(count, *parameter.shape).scatter_add_(1, rows_BVW, grad_BVW)
        if not self._per_record:
            return samples[0]
        self._keep(parameter, samples)
        return None

    def _of_records(self, x: torch.Tensor) -> torch.Tensor:
        """[B, ..., D], or all rows of B records one after the other [B·T, D], as [B, T, D]."""
        whole = x.shape[0] % max(1, self._records) == 0 if x.dim() == 2 else len(x) == self._records
        if not whole:
            raise ModelError(
                f"a trained layer reads {tuple(x.shape)} of {self._records} records: their gradients "
                "cannot be told apart"
            )
        return x.reshape(self._records, -1, x.shape[-1])

    @staticmethod
    def _keep(parameter: Any, samples: torch.Tensor) -> None:
        """A layer that is passed twice has the sum of both."""
        kept = getattr(parameter, "grad_sample", None)
        parameter.grad_sample = samples if kept is None else kept.add_(samples)


def _rows(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(-1, x.shape[-1])


class _Adapted(torch.autograd.Function):
    """x [..., I] → [..., O]: the frozen base, plus `scale` times x through a chain of factors.

    Each factor is [outputs, inputs]: A and B, or A, the core and the fixed directions of `lora-xs`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        scale: float,
        gradients: Gradients,
        remake: Callable[[], torch.Tensor] | None,
        *factors: nn.Parameter,
    ) -> torch.Tensor:
        y = F.linear(x, weight_OI, bias_O)
        states = [x]
        for factor in factors[:-1]:
            state = states[-1] @ factor.to(x.dtype).T
            states.append(state if len(states) > 1 else state.mul_(scale))
        _rows(y).addmm_(_rows(states[-1]), factors[-1].to(x.dtype).T)
        kept = [s if f.requires_grad else None for s, f in zip(states, factors, strict=True)]
        if remake is not None:
            kept[0] = None
        ctx.save_for_backward(weight_OI, *kept)
        ctx.scale, ctx.gradients, ctx.remake, ctx.factors = scale, gradients, remake, factors
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        weight_OI, *states = ctx.saved_tensors
        of_factors: list[torch.Tensor | None] = []
        below = grad
        for factor, state in zip(ctx.factors[:0:-1], states[:0:-1], strict=True):
            of_factors.append(
                ctx.gradients.weight(factor, below, state) if state is not None else None
            )
            below = below @ factor.to(grad.dtype)
        below.mul_(ctx.scale)
        first, x = ctx.factors[0], states[0]
        if x is None and first.requires_grad:
            x = ctx.remake()
        of_factors.append(ctx.gradients.weight(first, below, x) if x is not None else None)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = grad @ weight_OI
            _rows(of_x).addmm_(_rows(below), first.to(grad.dtype))
        return of_x, None, None, None, None, None, *reversed(of_factors)


class _Trained(torch.autograd.Function):
    """x [..., I] → [..., O] by a linear layer that trains, which a head is."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight_OI: nn.Parameter, bias_O: Any, gradients: Gradients
    ) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.weight_OI, ctx.bias_O, ctx.gradients = weight_OI, bias_O, gradients
        return F.linear(x, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        return (
            grad @ ctx.weight_OI if needs_x else None,
            ctx.gradients.weight(ctx.weight_OI, grad, x) if needs_weight else None,
            ctx.gradients.bias(ctx.bias_O, grad) if needs_bias else None,
            None,
        )


class _Read(torch.autograd.Function):
    """Rows of a table that trains, which the prefix of `prefix-tuning` is: ids [B, V] → [B, V, W]."""

    @staticmethod
    def forward(
        ctx: Any, ids: torch.Tensor, table_NW: nn.Parameter, gradients: Gradients
    ) -> torch.Tensor:
        ctx.save_for_backward(ids)
        ctx.table_NW, ctx.gradients = table_NW, gradients
        return F.embedding(ids, table_NW)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        (ids,) = ctx.saved_tensors
        return None, ctx.gradients.table(ctx.table_NW, grad, ids), None


@contextmanager
def fused(
    model: nn.Module, trained: Mapping[str, nn.Parameter], per_record: bool
) -> Iterator[Gradients]:
    """While this is open, the layers of `model` that hold `trained` tensors compute as said above.

    Afterwards all is as it was, and inference the plain one of peft. Raises ModelError if one of
    `trained` is in no such layer.
    """
    gradients = Gradients(per_record)
    forwards = list(_forwards(model, gradients))
    covered = {id(tensor) for _, _, tensors in forwards for tensor in tensors}
    for name, tensor in trained.items():
        if id(tensor) not in covered:
            raise ModelError(
                f"{name} is in no layer of a known kind: its gradients cannot be told apart"
            )
    for layer, forward, _ in forwards:
        vars(layer)["forward"] = forward
    try:
        yield gradients
    finally:
        for layer, _, _ in forwards:
            del vars(layer)["forward"]


_Forward = Callable[[torch.Tensor], torch.Tensor]


def _forwards(
    model: nn.Module, gradients: Gradients
) -> Iterator[tuple[nn.Module, _Forward, list[nn.Parameter]]]:
    """Each layer with tensors that train, what it is to compute by, and its tensors."""
    inside: set[nn.Module] = set()
    for layer in model.modules():
        trains = any(tensor.requires_grad for tensor in layer.parameters())
        if isinstance(layer, AdaptedLinear):
            inside.update(layer.modules())
            yield layer, *_adapted(layer, gradients)
        elif isinstance(layer, nn.Linear) and layer not in inside and trains:
            yield layer, _trained(layer, gradients), list(layer.parameters())
        elif isinstance(layer, nn.Embedding) and trains:
            yield layer, _read(layer, gradients), list(layer.parameters())


def _adapted(layer: AdaptedLinear, gradients: Gradients) -> tuple[_Forward, list[nn.Parameter]]:
    base = layer.get_base_layer()
    # GPT-2's Conv1D, the other kind that peft adapts so, has its weight as [I, O].
    weight_OI = base.weight if isinstance(base, nn.Linear) else base.weight.T
    (name,) = layer.active_adapters
    # A chain of linear maps, A's and then B's, of which `lora-xs` has two.
    factors = [*layer.lora_A[name].parameters(), *layer.lora_B[name].parameters()]
    scale = layer.scaling[name]

    def forward(x: torch.Tensor) -> torch.Tensor:
        remake = remaking(x) if factors[0].requires_grad else None
        return _apply(_Adapted, x, weight_OI, base.bias, scale, gradients, remake, *factors)

    return forward, factors


def _trained(layer: nn.Linear, gradients: Gradients) -> _Forward:
    def forward(x: torch.Tensor) -> torch.Tensor:
        return _apply(_Trained, x, layer.weight, layer.bias, gradients)

    return forward


def _read(layer: nn.Embedding, gradients: Gradients) -> _Forward:
    def forward(ids: torch.Tensor) -> torch.Tensor:
        return _apply(_Read, ids, layer.weight, gradients)

    return forward


def _apply(function: Any, *inputs: Any) -> torch.Tensor:
    y: torch.Tensor = function.apply(*inputs)
    return y
