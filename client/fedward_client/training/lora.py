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

from fedward_client.training.gradients import Gradients
from fedward_shared.errors import ModelError


def _rows(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(-1, x.shape[-1])


class _Adapted(torch.autograd.Function):
    """x [..., I] → [..., O]: the frozen base, plus `scale` times x through a chain of factors.

    Each factor is [outputs, inputs]: A and B, or A, the core and the fixed directions of `lora-xs`. What
    goes from one to the next has R numbers for each of the P rows, and is [R, P].
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        scale: float,
        gradients: Gradients,
        *factors: nn.Parameter,
    ) -> torch.Tensor:
        x_PI = _rows(x)
        y_PO = F.linear(x_PI, weight_OI, bias_O)
        states = [(factors[0].to(x.dtype) @ x_PI.T).mul_(scale)]
        for factor in factors[1:-1]:
            states.append(factor.to(x.dtype) @ states[-1])
        y_PO.addmm_(states[-1].T, factors[-1].to(x.dtype).T)
        remade = gradients.remade(x) if factors[0].requires_grad else None
        inputs = [x_PI if remade is None else None, *states]
        kept = [i if f.requires_grad else None for i, f in zip(inputs, factors, strict=True)]
        ctx.save_for_backward(weight_OI, *kept)
        ctx.scale, ctx.gradients, ctx.factors = scale, gradients, factors
        ctx.shape, ctx.remade = x.shape, remade
        return y_PO.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        weight_OI, x_PI, *states = ctx.saved_tensors
        gradients, (first, *others) = ctx.gradients, ctx.factors
        gradients.check(ctx.shape)
        grad_PO = _rows(grad)
        of_factors: list[torch.Tensor | None] = []
        below_RP = grad_PO.T
        for factor, state_RP in zip(reversed(others), reversed(states), strict=True):
            of_factor = None
            if state_RP is not None:
                of_factor = gradients.product(factor, state_RP, below_RP.T, turned=True)
            of_factors.append(of_factor)
            below_RP = factor.to(grad.dtype).T @ below_RP
        below_RP.mul_(ctx.scale)
        of_first = of_x = None
        if first.requires_grad:
            x_PI = _rows(ctx.remade.read()) if x_PI is None else x_PI
            of_first = gradients.product(first, below_RP, x_PI)
        if ctx.needs_input_grad[0]:
            of_x = (grad_PO @ weight_OI).addmm_(below_RP.T, first.to(grad.dtype)).view(ctx.shape)
        return of_x, None, None, None, None, of_first, *reversed(of_factors)


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
        gradients, grad_PO = ctx.gradients, _rows(grad)
        gradients.check(x.shape)
        return (
            grad @ ctx.weight_OI if needs_x else None,
            gradients.product(ctx.weight_OI, grad_PO.T, _rows(x)) if needs_weight else None,
            gradients.total(ctx.bias_O, grad_PO) if needs_bias else None,
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
        return _apply(_Adapted, x, weight_OI, base.bias, scale, gradients, *factors)

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
